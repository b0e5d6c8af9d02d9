import type { Bench } from '../harness/bench.ts';
import { fleet, type Server, startEmbedded, startLoad, untilProjected } from '../harness/embedded.ts';
import { type Peer, startPeer } from '../harness/peer.ts';
import type { Row } from '../harness/row.ts';
import { memoryOf } from '../harness/usage.ts';
import { deviceId, metricsOf, metricsPerReading } from '../harness/workload.ts';
import type { HttpGet } from '../peers/http-get.ts';
import type { HttpLoad } from '../peers/http-load.ts';

const workload = { format: 'fieldlog', devices: fleet, perRequest: 100 } as const;
/** A hundred readings, however many there are. */
const range = 'from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z&limit=400';
const year = 'interval=1d&from=2025-01-01T00:00:00Z&to=2026-01-01T00:00:00Z&limit=1000';
const hoursOfYear = 8760;
const readingsAtOnce = 4380;

/** What things cost with ten million points stored, to what they cost with a hundred thousand; and memory over the way. */
export async function scale(bench: Bench): Promise<Row[]> {
  const load = startLoad(bench);
  const client = bench.keep(startPeer<HttpGet>('client', 'http-get.ts'));
  const small = await startEmbedded(bench);
  const large = await startEmbedded(bench);
  await fill(small, load, 100_000 / metricsPerReading);
  const points = bench.size(10_000_000, 400_000);
  const memory = await fillWatched(large, load, points / metricsPerReading);
  await sendYear(large);

  const get = (server: Server, path: string) => async () =>
    (await client.call('get', { url: `${server.url}${path}`, times: bench.size(100, 5) })).milliseconds;
  const ingest = (server: Server) => async () =>
    (await load.call('run', { ...target(server), connections: 4, seconds: bench.size(3, 1) })).latency.p50;

  const device = deviceId(7);
  const rows: Row[] = [];
  for (const [figure, costOf] of [
    ['latest of a device', (server: Server) => get(server, `/api/v1/devices/${device}/telemetry/latest`)],
    [
      'a range of an hour, 400 points',
      (server: Server) => get(server, `/api/v1/devices/${device}/telemetry?${range}`),
    ],
    ['ingest of 100 readings', ingest],
  ] as const) {
    const settle = async () => {
      await untilProjected(small.url);
      await untilProjected(large.url);
    };
    const { values, againstValues, usage } = await bench.inTurn(
      { run: costOf(large), settle, processes: [large] },
      { run: costOf(small), settle, processes: [] },
    );
    const against = { what: 'with 100,000 stored', values: againstValues };
    rows.push({
      figure: `${figure}, ${points.toLocaleString('en-US')} points stored`,
      unit: 'ms',
      values,
      against,
      target: { ratioAtMost: 1.3 },
      usage,
    });
  }
  rows.push({
    figure: 'a year of one device by day',
    unit: 'ms',
    values: [await get(large, `/api/v1/devices/${device}/telemetry?${year}`)()],
    target: { atMost: 50 },
    usage: [],
  });
  rows.push({
    figure: 'memory of serve, second half of the fill',
    unit: 'MiB',
    values: [memory.atEnd],
    against: { what: 'half-way', values: [memory.halfWay] },
    target: { ratioAtMost: 1.2 },
    usage: [],
  });
  return rows;
}

const target = (server: Server) => ({ url: `${server.url}/api/v1/telemetry`, workload });

/** The year before the fleet's time, hour by hour, of one device. */
async function sendYear(server: Server): Promise<void> {
  const began = Date.UTC(2025, 0, 1);
  for (let from = 0; from < hoursOfYear; from += readingsAtOnce) {
    const readings = Array.from({ length: readingsAtOnce }, (_, i) => ({
      deviceId: deviceId(7),
      timestamp: began + (from + i) * 3_600_000,
      metrics: metricsOf(from + i),
    }));
    const answer = await fetch(`${server.url}/api/v1/telemetry`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(readings),
    });
    if (answer.status !== 202) throw new Error(`The year was not taken: ${await answer.text()}`);
    await answer.body?.cancel();
  }
  await untilProjected(server.url);
}

async function fill(server: Server, load: Peer<HttpLoad>, readings: number): Promise<void> {
  await load.call('run', { ...target(server), connections: 4, seconds: 600, readings });
  await untilProjected(server.url);
}

/** Fills in steps, and reports what the process held at most in each half. */
async function fillWatched(server: Server, load: Peer<HttpLoad>, readings: number) {
  const steps = 10;
  const held: number[] = [];
  for (let step = 0; step < steps; step += 1) {
    await fill(server, load, readings / steps);
    held.push(memoryOf(server.pid, 'VmRSS') ?? Number.NaN);
  }
  return { halfWay: Math.max(...held.slice(0, steps / 2)), atEnd: Math.max(...held.slice(steps / 2)) };
}
