import { execFile } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Bench } from '../harness/bench.ts';
import { openStores, startRoles } from '../harness/distributed.ts';
import { lagOf, registerFleet, startLoad, untilProjected } from '../harness/embedded.ts';
import { startPeer } from '../harness/peer.ts';
import { bin, unset } from '../harness/process.ts';
import type { Row } from '../harness/row.ts';
import { memoryOf } from '../harness/usage.ts';
import { deviceId } from '../harness/workload.ts';
import type { HttpGet } from '../peers/http-get.ts';

const run = promisify(execFile);
const mostMinutes = 180;
/** Each look counts how far the projector is behind. */
const lookEvery = 1000;

/** A million devices with ten readings each, every role a process: what it holds, and how long operators wait. */
export async function fleet(bench: Bench): Promise<Row[]> {
  const devices = bench.size(1_000_000, 5_000);
  const readings = 10 * devices;
  const stores = await openStores(bench);
  // A device that is not remembered costs a read of the event store with each of its readings.
  const env = { ...stores, DIRECTORY_SIZE: String(devices) };
  const roles = await startRoles(bench, env);
  const { api } = roles;

  const row = (figure: string, unit: string, value: number, atMost: number): Row => ({
    figure: `${devices.toLocaleString('en-US')} devices, ${readings.toLocaleString('en-US')} readings: ${figure}`,
    unit,
    values: [value],
    target: { atMost },
    usage: [],
  });
  const seconds = async (what: string, work: () => Promise<unknown>) => {
    const began = performance.now();
    await work();
    const took = (performance.now() - began) / 1000;
    // The whole takes an hour.
    console.error(`  ${what}: ${took.toFixed(1)} s`);
    return took;
  };

  const registered = await seconds('registered', () => registerFleet(api.url, devices));
  const listed = await seconds('listed', () => untilListed(api.url, deviceId(devices - 1)));
  const load = startLoad(bench);
  const lag = watchLag(api.url);
  const sent = await load.call('run', {
    url: `${api.url}/api/v1/telemetry`,
    workload: { format: 'fieldlog', devices, perRequest: 500 },
    connections: 4,
    seconds: mostMinutes * 60,
    readings,
  });
  const caughtUp = await seconds('caught up', () => untilProjected(api.url, lookEvery));
  const greatestLag = await lag.end();

  const client = bench.keep(startPeer<HttpGet>('client', 'http-get.ts'));
  const get = async (path: string) =>
    (await client.call('get', { url: `${api.url}/api/v1/${path}`, times: bench.size(100, 20) })).milliseconds;
  const middle = deviceId(Math.floor(devices / 2));
  const rows = [
    row('registered after', 's', registered, 1800),
    row('all of them listed, after that', 's', listed, 300),
    row('readings taken after', 's', sent.seconds, 3600),
    row('requests refused', 'requests', sent.errors, 0),
    row('greatest consumer lag', 'readings', greatestLag, readings),
    row('caught up after the last reading', 's', caughtUp, 7200),
    row('GET /status', 'ms', await get('status'), 50),
    row('first page of the device list', 'ms', await get('devices?limit=100'), 50),
    row('device list of a type', 'ms', await get('devices?limit=100&type=bench'), 50),
    row('devices whose id begins alike', 'ms', await get(`devices?limit=100&q=${middle}`), 2000),
    row('newest values of a device', 'ms', await get(`devices/${middle}/telemetry/latest`), 50),
    row('audit of a sample of 1%', 's', await seconds('audited', () => audit(env)), 1200),
  ];
  for (const { role, pid } of Object.values(roles))
    rows.push(row(`memory of ${role}, at most`, 'MiB', memoryOf(pid, 'VmHWM') ?? Number.NaN, 1024));
  return rows;
}

/** Exits with 1, which throws, on any difference. */
async function audit(env: Readonly<Record<string, string>>): Promise<void> {
  await run(process.execPath, [bin, 'audit', '--sample', '1%', '--devices', '1000', '--json'], {
    env: { ...process.env, ...unset, ...env },
    maxBuffer: 64 * 1024 * 1024,
  });
}

async function untilListed(url: string, last: string): Promise<void> {
  for (;;) {
    const answer = await fetch(`${url}/api/v1/devices?limit=1&q=${last}`);
    const { devices } = (await answer.json()) as { readonly devices: readonly unknown[] };
    if (devices.length > 0 && answer.headers.get('fieldlog-lag') === '0') return;
    await pause(500);
  }
}

function watchLag(url: string): { end(): Promise<number> } {
  const stop = new AbortController();
  let greatest = 0;
  const watching = (async () => {
    while (!stop.signal.aborted) {
      const now = await lagOf(url);
      // Not a number while it is unknown.
      if (now > greatest) greatest = now;
      await pause(lookEvery, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  })();
  return {
    async end() {
      stop.abort();
      await watching;
      return greatest;
    },
  };
}
