import { setTimeout as pause } from 'node:timers/promises';
import type { Bench } from '../harness/bench.ts';
import { openStores, startRoles } from '../harness/distributed.ts';
import { fleet, lagOf, registerFleet, startLoad, untilProjected } from '../harness/embedded.ts';
import { storedWithin } from '../harness/prometheus.ts';
import type { Row } from '../harness/row.ts';
import { watchUsage } from '../harness/usage.ts';

/** Readings a second; each device sends its own. */
const rate = 2000;

/** What users feel under a steady load, every role in a process of its own. */
export async function slo(bench: Bench): Promise<Row[]> {
  const { api, devices, telemetry } = await startRoles(bench, await openStores(bench));
  const load = startLoad(bench);
  await registerFleet(api.url);
  const run = (seconds: number) =>
    load.call('run', {
      url: `${api.url}/api/v1/telemetry`,
      workload: { format: 'fieldlog', devices: fleet, perRequest: 1 },
      connections: 256,
      seconds,
      rate,
    });
  await run(bench.size(10, 3));
  await untilProjected(api.url);

  const before = await metricsOf(telemetry.url);
  const watches = [api, devices, telemetry, load].map(({ role, pid }) => watchUsage(role, pid));
  const lags: number[] = [];
  const running = new AbortController();
  const watchingLag = watchLag(api.url, lags, running.signal);
  const { latency, errors } = await run(bench.size(120, 5));
  running.abort();
  await watchingLag;
  const usage = watches.map((watch) => watch());
  await untilProjected(api.url);

  const row = (figure: string, unit: string, value: number, atMost: number): Row => ({
    figure: `${rate} readings/s, distributed: ${figure}`,
    unit,
    values: [value],
    target: { atMost },
    usage,
  });
  const stored = storedWithin(before, await metricsOf(telemetry.url), 0.99) * 1000;
  return [
    row('ingest P95', 'ms', latency.p95, 20),
    row('ingest P99', 'ms', latency.p99, 50),
    row('ingestion to storage P99', 'ms', stored, 250),
    row('greatest consumer lag', 'readings', Math.max(...lags), 1000),
    row('errors', 'requests', errors, 0),
  ];
}

async function metricsOf(url: string): Promise<string> {
  return (await fetch(`${url}/metrics`)).text();
}

async function watchLag(url: string, lags: number[], signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    lags.push(await lagOf(url));
    await pause(250);
  }
}
