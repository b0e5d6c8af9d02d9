import { setTimeout as pause } from 'node:timers/promises';
import type { Bench } from '../harness/bench.ts';
import { openStores } from '../harness/distributed.ts';
import { fleet, registerFleet, startEmbedded, startLoad, untilProjected } from '../harness/embedded.ts';
import { type Process, startFieldlog } from '../harness/process.ts';
import type { Row } from '../harness/row.ts';
import { type Usage, watchUsage } from '../harness/usage.ts';

/** What every role takes of a core while nobody asks anything of it; each has worked before. */
export async function idle(bench: Bench): Promise<Row[]> {
  const serve = await startEmbedded(bench);
  await send(bench, serve.url);
  const roles: Process[] = [serve];
  if (bench.options.servers) {
    const stores = await openStores(bench);
    const api = bench.keep(await startFieldlog('api', stores));
    roles.push(
      api,
      bench.keep(await startFieldlog('device-projector', stores)),
      bench.keep(await startFieldlog('telemetry-projector', stores)),
    );
    await registerFleet(api.url);
    await send(bench, api.url);
  }
  // What was compiled, collected and connected for the load is over by then.
  await pause(bench.size(15_000, 2_000));

  const rounds: Usage[][] = [];
  while (rounds.length < bench.options.rounds) {
    const watches = roles.map(({ role, pid }) => watchUsage(role, pid));
    await pause(bench.size(30_000, 3_000));
    rounds.push(watches.map((watch) => watch()));
  }
  return roles.map(({ role }, i) => ({
    figure: `idle: ${role}`,
    unit: '% of a core',
    values: rounds.map((usages) => 100 * (usages[i]?.cores ?? Number.NaN)),
    target: { atMost: 1 },
    usage: rounds.at(-1)?.slice(i, i + 1) ?? [],
  }));
}

async function send(bench: Bench, url: string): Promise<void> {
  const load = startLoad(bench);
  const { errors } = await load.call('run', {
    url: `${url}/api/v1/telemetry`,
    workload: { format: 'fieldlog', devices: fleet, perRequest: 100 },
    connections: 4,
    seconds: bench.size(5, 1),
    rate: 2000,
  });
  if (errors > 0) throw new Error(`${errors} requests failed`);
  await untilProjected(url);
  await load.end();
}
