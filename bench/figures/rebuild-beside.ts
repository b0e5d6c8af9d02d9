import type { Bench } from '../harness/bench.ts';
import { fleet } from '../harness/embedded.ts';
import { startPeer } from '../harness/peer.ts';
import { bin, startProcess, unset } from '../harness/process.ts';
import type { Row } from '../harness/row.ts';
import { memoryOf, type Usage, watchUsage } from '../harness/usage.ts';
import { deviceIds } from '../harness/workload.ts';
import type { SessionPeer } from '../peers/session.ts';

const lookEvery = 100;
const within = 600_000;

/**
 * What an operator's rebuild takes from its start to the switch, comparison included, and that its memory does not
 * grow with the log: the most it holds in the second half of its time, to the most in the first.
 */
export async function rebuildBeside(bench: Bench): Promise<Row[]> {
  const readings = bench.size(1_000_000, 50_000);
  const folder = await bench.folder();
  const session = bench.keep(startPeer<SessionPeer>('session', 'session.ts'));
  await session.call('open', { DATA_DIR: folder });
  await session.call('register', { ids: deviceIds(fleet), atOnce: 64 });
  await session.call('fill', { readings, devices: fleet, perRequest: 100 });
  await session.call('project', { projection: 'telemetry', events: readings });
  await session.call('close', undefined);

  const seconds: number[] = [];
  const [firstHalf, secondHalf]: [number[], number[]] = [[], []];
  let usage: readonly Usage[] = [];
  for (let round = 0; round < bench.options.rounds; round += 1) {
    const words = [bin, 'projections', 'rebuild', 'telemetry', '--json'];
    const rebuild = bench.keep(
      startProcess('rebuild', process.execPath, words, { ...unset, DATA_DIR: folder }),
    );
    const watch = watchUsage(rebuild.role, rebuild.pid);
    const held: number[] = [];
    const looking = setInterval(() => {
      const memory = memoryOf(rebuild.pid, 'VmRSS');
      if (memory === undefined) return;
      held.push(memory);
      usage = [watch()];
    }, lookEvery);
    const began = performance.now();
    await rebuild.said(/"switched":true/, within);
    clearInterval(looking);
    seconds.push((performance.now() - began) / 1000);
    const half = held.length >> 1;
    firstHalf.push(Math.max(...held.slice(0, half)));
    secondHalf.push(Math.max(...held.slice(half)));
  }
  const what = `rebuild beside the live generation, ${readings.toLocaleString('en-US')} readings`;
  return [
    { figure: what, unit: 's', values: seconds, target: { atMost: (60 * readings) / 1_000_000 }, usage },
    {
      figure: `${what}: memory`,
      unit: 'MiB',
      values: secondHalf,
      against: { what: 'its first half', values: firstHalf },
      target: { ratioAtMost: 1.25 },
      usage: [],
    },
  ];
}
