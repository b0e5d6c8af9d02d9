import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Bench } from '../harness/bench.ts';
import { registerFleet, startLoad, untilProjected } from '../harness/embedded.ts';
import { startFieldlog } from '../harness/process.ts';
import type { Pending, Row } from '../harness/row.ts';
import { compactingSoon, isInstalled, notInstalled, startInflux } from '../harness/time-series-servers.ts';

const figure = 'bytes on disk for a reading of 4 metrics, log and read models';
const devices = 1000;
const connections = 4;
/** Milliseconds without a change after which InfluxDB has compacted what it will. */
const atRestAfter = 5000;

/** What the same readings, once a second of each device, take on disk when nothing is left to be moved or compacted. */
export async function disk(bench: Bench): Promise<(Row | Pending)[]> {
  if (!isInstalled('influxd')) return notInstalled('influxd', [figure]);
  const readings = bench.size(1_000_000, 50_000);
  const load = startLoad(bench);
  const send = async (url: string, format: 'fieldlog' | 'influx') => {
    const workload = { format, devices, perRequest: 1000, varies: true } as const;
    const sent = await load.call('run', { url, workload, connections, seconds: 600, readings });
    if (sent.errors > 0 || sent.readings < readings) throw new Error(`${url} did not take all readings`);
  };

  const folder = await bench.folder();
  const serve = bench.keep(await startFieldlog('serve', { DATA_DIR: folder }));
  await registerFleet(serve.url, devices);
  await send(`${serve.url}/api/v1/telemetry`, 'fieldlog');
  await untilProjected(serve.url);
  await serve.end();

  const influx = await startInflux(bench, compactingSoon);
  await send(influx.writeUrl, 'influx');
  return [
    {
      figure,
      unit: 'bytes',
      values: [(await bytesIn(folder)) / readings],
      against: { what: 'InfluxDB 1.6', values: [(await bytesAtRest(influx.folder)) / readings] },
      target: { ratioAtMost: 2 },
      usage: [],
    },
  ];
}

async function bytesAtRest(folder: string): Promise<number> {
  let bytes = await bytesIn(folder);
  for (let since = performance.now(); performance.now() - since < atRestAfter; ) {
    await pause(500);
    const now = await bytesIn(folder);
    if (now !== bytes) since = performance.now();
    bytes = now;
  }
  return bytes;
}

async function bytesIn(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    // What is compacted meanwhile may be gone by now.
    bytes += (await stat(path.join(entry.parentPath, entry.name)).catch(() => undefined))?.size ?? 0;
  }
  return bytes;
}
