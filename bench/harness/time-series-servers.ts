import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import type { Bench } from './bench.ts';
import { type Process, startProcess } from './process.ts';
import type { Pending } from './row.ts';

export const isInstalled = (program: string): boolean => spawnSync(program, ['-version']).error === undefined;

/** A database that takes the line protocol. */
export type TimeSeriesPeer = {
  readonly program: string;
  readonly what: string;
  readonly start: (bench: Bench) => Promise<TimeSeriesServer>;
};

export type TimeSeriesServer = Pick<Process, 'role' | 'pid'> & {
  /** Where lines are posted to, with times in milliseconds. */
  readonly writeUrl: string;
  /** Resolves once all that was acknowledged can be queried. */
  readonly untilQueryable: () => Promise<void>;
};

/** In its configuration: nothing waits to be compacted for longer than a second after the last write, instead of hours. */
export const compactingSoon = `cache-snapshot-write-cold-duration = "1s"
  compact-full-write-cold-duration = "1s"`;

/** A server of its own, with its own configuration, to which `settings` of its data are added. */
export async function startInflux(
  bench: Bench,
  settings = '',
): Promise<TimeSeriesServer & { readonly folder: string }> {
  const folder = await bench.folder();
  const [http, rpc] = [await freePort(), await freePort()];
  const config = path.join(await bench.folder(), 'influxdb.conf');
  await writeFile(
    config,
    `reporting-disabled = true
bind-address = "127.0.0.1:${rpc}"
[meta]
  dir = "${folder}/meta"
[data]
  dir = "${folder}/data"
  wal-dir = "${folder}/wal"
  query-log-enabled = false
  ${settings}
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:${http}"
  log-enabled = false
`,
  );
  const started = bench.keep(startProcess('influxd', 'influxd', ['-config', config]));
  await started.said(/Listening on HTTP/);
  const url = `http://127.0.0.1:${http}`;
  const answer = await fetch(`${url}/query?q=CREATE%20DATABASE%20bench`, { method: 'POST' });
  if (!answer.ok) throw new Error(`InfluxDB did not make a database: ${await answer.text()}`);
  return {
    ...started,
    folder,
    writeUrl: `${url}/write?db=bench&precision=ms`,
    untilQueryable: async () => {},
  };
}

/** VictoriaMetrics with a folder of its own. */
async function startVictoriaMetrics(bench: Bench): Promise<TimeSeriesServer> {
  const address = `127.0.0.1:${await freePort()}`;
  const folder = await bench.folder();
  const args = [`-storageDataPath=${folder}`, `-httpListenAddr=${address}`, '-retentionPeriod=100y'];
  const started = bench.keep(startProcess('victoria-metrics', 'victoria-metrics', args));
  await started.said(/started server at|started VictoriaMetrics/);
  return {
    ...started,
    writeUrl: `http://${address}/write?precision=ms`,
    // What came within the last second cannot be queried yet.
    async untilQueryable() {
      const answer = await fetch(`http://${address}/internal/force_flush`);
      if (!answer.ok) throw new Error(`VictoriaMetrics did not flush: ${answer.status}`);
    },
  };
}

export const timeSeriesPeers: readonly TimeSeriesPeer[] = [
  { program: 'influxd', what: 'InfluxDB 1.6', start: (bench) => startInflux(bench) },
  { program: 'victoria-metrics', what: 'VictoriaMetrics 1.79', start: startVictoriaMetrics },
];

/** The figures of a peer that is not there. */
export const notInstalled = (program: string, figures: readonly string[]): Pending[] =>
  figures.map((figure) => ({ figure, pending: `${program} is not installed: apt-get install it` }));

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
