import type { Bench } from '../harness/bench.ts';
import { startEmbedded, startLoad, untilProjected } from '../harness/embedded.ts';
import type { Row } from '../harness/row.ts';
import { memoryOf, watchUsage } from '../harness/usage.ts';

const connections = 32;
const workload = { format: 'fieldlog', devices: 1000, perRequest: 100 } as const;

/** What a new `serve` has held at most after a minute of all that it can take, and all of that is projected. */
export async function memory(bench: Bench): Promise<Row[]> {
  const held: number[] = [];
  let usage: Row['usage'] = [];
  for (let round = 0; round < bench.options.rounds; round += 1) {
    const load = startLoad(bench);
    const serve = await startEmbedded(bench);
    const watch = watchUsage(serve.role, serve.pid);
    const { errors } = await load.call('run', {
      url: `${serve.url}/api/v1/telemetry`,
      workload,
      connections,
      seconds: bench.size(60, 2),
    });
    if (errors > 0) throw new Error(`${errors} requests failed`);
    await untilProjected(serve.url);
    usage = [watch()];
    held.push(memoryOf(serve.pid, 'VmHWM') ?? Number.NaN);
    await bench.close();
  }
  return [
    {
      figure: 'memory of serve at most, a minute of all it can take',
      unit: 'MiB',
      values: held,
      target: { atMost: 512 },
      usage,
    },
  ];
}
