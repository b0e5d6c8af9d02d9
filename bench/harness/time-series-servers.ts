import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import type { Bench } from './bench.ts';
import { type Process, startProcess } from './process.ts';

export const isInstalled = (program: string): boolean => spawnSync(program, ['-version']).error === undefined;

/** A server of its own, with its own configuration; the package's service is left alone. */
export async function startInflux(bench: Bench): Promise<Process & { readonly url: string }> {
  const folder = await bench.folder();
  const [http, rpc] = [await freePort(), await freePort()];
  const config = path.join(folder, 'influxdb.conf');
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
  return { ...started, url };
}

/** VictoriaMetrics with a folder of its own. */
export async function startVictoriaMetrics(bench: Bench): Promise<Process & { readonly url: string }> {
  const address = `127.0.0.1:${await freePort()}`;
  const folder = await bench.folder();
  const args = [`-storageDataPath=${folder}`, `-httpListenAddr=${address}`, '-retentionPeriod=100y'];
  const started = bench.keep(startProcess('victoria-metrics', 'victoria-metrics', args));
  await started.said(/started server at|started VictoriaMetrics/);
  return { ...started, url: `http://${address}` };
}

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
