import { Readable } from 'node:stream';
import { createConnection } from 'mysql2';
import { serveCalls } from '../harness/peer.ts';
import { correlationId, fleetReadings } from '../harness/workload.ts';

export type BareLoadData = typeof calls;
const calls = { load };
serveCalls(calls);

type LoadDataRun = {
  readonly url: string;
  readonly readings: number;
  readonly devices: number;
  readonly connections: number;
  readonly rowsAtOnce: number;
};

/**
 * LOAD DATA LOCAL of the same readings, sorted and written as text before the clock starts, into an equal table, each
 * connection with devices of its own: rows a second.
 */
async function load({ url, readings, devices, connections, rowsAtOnce }: LoadDataRun): Promise<number> {
  const open = Array.from({ length: connections }, () => createConnection(url));
  const run = (n: number, sql: string, file?: Buffer) =>
    new Promise<void>((resolve, reject) => {
      const options = file ? { sql, infileStreamFactory: () => Readable.from([file]) } : { sql };
      open[n]?.query(options, (error) => (error ? reject(error) : resolve()));
    });
  await run(0, 'DROP TABLE IF EXISTS bare');
  await run(
    0,
    `CREATE TABLE bare (device_id VARCHAR(128) NOT NULL, ts BIGINT NOT NULL, metrics MEDIUMTEXT NOT NULL,
     received_at BIGINT NOT NULL, correlation_id VARCHAR(160) NOT NULL, position VARCHAR(64) NOT NULL,
     corrected_by VARCHAR(160), PRIMARY KEY (device_id, ts))
     ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`,
  );
  const files = Array.from({ length: connections }, (_, n) =>
    filesOf(n, readings, devices, connections, rowsAtOnce),
  );

  const began = performance.now();
  await Promise.all(
    files.map(async (ofConnection, n) => {
      for (const file of ofConnection)
        await run(n, `LOAD DATA LOCAL INFILE 'rows' INTO TABLE bare CHARACTER SET utf8mb4`, file);
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  for (const connection of open) connection.destroy();
  return readings / seconds;
}

function filesOf(
  n: number,
  readings: number,
  devices: number,
  connections: number,
  rowsAtOnce: number,
): Buffer[] {
  const mine = fleetReadings(0, readings, devices)
    .map((reading, i) => ({ ...reading, i }))
    .filter(({ i }) => (i % devices) % connections === n);
  const files: Buffer[] = [];
  for (let from = 0; from < mine.length; from += rowsAtOnce) {
    const rows = mine.slice(from, from + rowsAtOnce);
    rows.sort((a, b) =>
      a.deviceId === b.deviceId ? a.timestamp - b.timestamp : a.deviceId < b.deviceId ? -1 : 1,
    );
    const lines = rows.map(
      ({ deviceId, timestamp, metrics, i }) =>
        `${deviceId}\t${timestamp}\t${JSON.stringify(metrics)}\t${timestamp}\t${correlationId}\t${i}\t\\N\n`,
    );
    files.push(Buffer.from(lines.join('')));
  }
  return files;
}
