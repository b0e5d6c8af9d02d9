import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DatabaseSync } from 'node:sqlite';

/** The driver alone: reads a device's rows, makes points of their documents and answers with one JSON.stringify. */
const [file, table, device] = process.argv.slice(2) as [string, string, string];
const db = new DatabaseSync(file, { readOnly: true, timeout: 5000 });
const select = db.prepare(`SELECT device_id, ts, metrics FROM ${table} WHERE device_id = ? ORDER BY ts`);
select.setReturnArrays(true);

const server = createServer((_, res) => {
  const points: unknown[] = [];
  for (const [deviceId, ts, document] of select.all(device) as unknown as [string, number, string][]) {
    const timestamp = new Date(ts).toISOString();
    for (const [metric, value] of Object.entries(JSON.parse(document) as Record<string, number>))
      points.push({ deviceId, timestamp, metric, value });
  }
  res.setHeader('Content-Type', 'application/json');
  res.end(JSON.stringify({ points }));
});
server.listen(0, '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
process.on('SIGTERM', () => process.exit(0));
