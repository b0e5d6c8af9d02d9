import http, { type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Server-sent events with nothing around them: what is posted is written to the streams of its device. Stores nothing. */
const streams = new Map<string, Set<ServerResponse>>();
const server = http.createServer(async (req, res) => {
  if (req.method === 'GET') {
    const deviceId = new URL(req.url ?? '', 'http://localhost').searchParams.get('deviceId') ?? '';
    const those = streams.get(deviceId) ?? new Set();
    streams.set(deviceId, those.add(res));
    res.on('close', () => those.delete(res));
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    res.write(': open\n\n');
    return;
  }
  let body = '';
  for await (const part of req.setEncoding('utf8')) body += part;
  for (const reading of JSON.parse(body) as { deviceId: string }[])
    for (const stream of streams.get(reading.deviceId) ?? [])
      stream.write(`id: 1\nevent: reading\ndata: ${JSON.stringify(reading)}\n\n`);
  res.writeHead(202, { 'Content-Length': 0 }).end();
});
server.listen(0, '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
process.on('SIGTERM', () => process.exit(0));
