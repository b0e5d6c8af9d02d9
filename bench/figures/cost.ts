import { createConnection } from 'mysql2/promise';
import type { Bench } from '../harness/bench.ts';
import { openStores, startRoles } from '../harness/distributed.ts';
import { fleet, registerFleet, startLoad, untilProjected } from '../harness/embedded.ts';
import type { Row } from '../harness/row.ts';
import { cpuSeconds } from '../harness/usage.ts';

const connections = 16;
const variants = [
  { perRequest: 100, full: 500_000, quick: 10_000 },
  { perRequest: 1, full: 60_000, quick: 2000 },
] as const;

/** Microseconds of CPU at most: twice what the other figures gave where they gave any. */
const atMost: Readonly<Record<string, Readonly<Record<number, number>>>> = {
  api: { 100: 10, 1: 200 },
  'telemetry-projector': { 100: 12, 1: 30 },
  Kafka: { 100: 2, 1: 30 },
  MariaDB: { 100: 8, 1: 12 },
};

/** What a reading costs each process of the distributed profile, from the request until it is stored. */
export async function cost(bench: Bench): Promise<Row[]> {
  const stores = await openStores(bench);
  const { api, telemetry } = await startRoles(bench, stores);
  const load = startLoad(bench);
  await registerFleet(api.url);
  const processes = [api, telemetry, ...(bench.options.serverProcesses ?? [])];

  const rows: Row[] = [];
  let sentInAll = 0;
  for (const { perRequest, full, quick } of variants) {
    const readings = bench.size(full, quick);
    const send = async () => {
      const workload = { format: 'fieldlog', devices: fleet, perRequest } as const;
      const url = `${api.url}/api/v1/telemetry`;
      const sent = await load.call('run', { url, workload, connections, seconds: 300, readings });
      if (sent.errors > 0) throw new Error(`${sent.errors} requests failed`);
      sentInAll += sent.readings;
      await untilProjected(api.url);
    };
    await send();
    const taken = processes.map((): number[] => []);
    for (let round = 0; round < bench.options.rounds; round += 1) {
      const before = processes.map(({ pid }) => cpuSeconds(pid) ?? Number.NaN);
      await send();
      for (const [i, { pid }] of processes.entries())
        taken[i]?.push((((cpuSeconds(pid) ?? Number.NaN) - (before[i] as number)) * 1e6) / readings);
    }
    for (const [i, { role }] of processes.entries())
      rows.push({
        figure: `CPU of ${role} for a reading, ${perRequest} a request`,
        unit: 'µs',
        values: taken[i] ?? [],
        target: { atMost: atMost[role]?.[perRequest] ?? Number.POSITIVE_INFINITY },
        usage: [],
      });
  }
  rows.push({
    figure: 'bytes in MariaDB for a reading of 4 metrics, with all that is derived from it',
    unit: 'bytes',
    values: [(await bytesIn(stores.MYSQL_URL)) / sentInAll],
    target: { atMost: 400 },
    usage: [],
  });
  return rows;
}

/** As InnoDB reckons it. */
async function bytesIn(database: string): Promise<number> {
  const connection = await createConnection(database);
  const [rows] = await connection.query(
    `SELECT SUM(data_length + index_length) AS bytes FROM information_schema.tables
     WHERE table_schema = DATABASE()`,
  );
  await connection.end();
  return Number((rows as { bytes: number | string }[])[0]?.bytes);
}
