import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import type { Bench } from '../harness/bench.ts';
import { lagOf, startEmbedded, startLoad, untilProjected } from '../harness/embedded.ts';
import { type Process, startProcess } from '../harness/process.ts';
import type { Pending, Row } from '../harness/row.ts';
import type { Workload } from '../harness/workload.ts';

const workload = { devices: 1000, perRequest: 100 };
const connections = 32;
const acknowledged = 'embedded ingest, 100 a request, acknowledged';
const queryable = 'embedded ingest, 100 a request, queryable, sustained';

/** The same readings to Fieldlog and to InfluxDB 1.6: until they are acknowledged, and until they can be queried. */
export async function influx(bench: Bench): Promise<(Row | Pending)[]> {
  if (spawnSync('influxd', ['version']).status !== 0) {
    const pending = 'influxd is not installed: apt-get install influxdb';
    return [acknowledged, queryable].map((figure) => ({ figure, pending }));
  }
  const load = startLoad(bench);
  const serve = await startEmbedded(bench);
  const influxd = await startInflux(bench);
  const targets = {
    fieldlog: { url: `${serve.url}/api/v1/telemetry`, format: 'fieldlog' },
    influx: { url: `${influxd.url}/write?db=bench&precision=ms`, format: 'influx' },
  } as const;

  const post = async (to: keyof typeof targets, seconds: number): Promise<number> => {
    const { url, format } = targets[to];
    const result = await load.call('run', {
      url,
      workload: { ...workload, format } as Workload,
      connections,
      seconds,
    });
    if (result.errors > 0) throw new Error(`${result.errors} requests to ${to} failed`);
    return result.readings;
  };
  const rate =
    (to: keyof typeof targets, seconds: number, after = async () => 0) =>
    async () => {
      const began = performance.now();
      const readings = await post(to, seconds);
      const missing = await after();
      return ((readings - missing) * 1000) / (performance.now() - began);
    };

  const rows: Row[] = [];
  const burst = bench.size(5, 1);
  await post('influx', 1);
  const acked = await bench.inTurn(
    { run: rate('fieldlog', burst), settle: () => untilProjected(serve.url), processes: [serve, load] },
    { run: rate('influx', burst), processes: [influxd] },
  );
  rows.push(rowOf(acknowledged, acked, 1.3));

  // What is behind when the time is up is waited for, and that time counts.
  const sustained = bench.size(60, 3);
  const untilQueryable = async () => {
    await untilProjected(serve.url);
    return lagOf(serve.url);
  };
  const kept = await bench.inTurn(
    { run: rate('fieldlog', sustained, untilQueryable), processes: [serve, load] },
    { run: rate('influx', sustained), processes: [influxd] },
  );
  rows.push(rowOf(queryable, kept, 0.6));
  return rows;
}

function rowOf(figure: string, taken: Awaited<ReturnType<Bench['inTurn']>>, ratio: number): Row {
  const { values, againstValues, usage } = taken;
  const against = { what: 'InfluxDB 1.6', values: againstValues };
  return { figure, unit: 'readings/s', values, against, target: { ratioAtLeast: ratio }, usage };
}

/** A server of its own, with its own configuration; the package's service is left alone. */
async function startInflux(bench: Bench): Promise<Process & { readonly url: string }> {
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

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
