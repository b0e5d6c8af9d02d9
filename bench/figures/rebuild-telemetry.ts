import type { Bench } from '../harness/bench.ts';
import { fleet, registerFleet, removeReadModels, startLoad, untilProjected } from '../harness/embedded.ts';
import { startPeer } from '../harness/peer.ts';
import { startFieldlog } from '../harness/process.ts';
import { memoryRow, type Row } from '../harness/row.ts';
import { type HeldMemory, type Usage, watchingMemory, watchUsage } from '../harness/usage.ts';
import type { SessionPeer } from '../peers/session.ts';

/** The telemetry projection from its first reading on, to the rate at which it keeps up with the same readings live. */
export async function rebuildTelemetry(bench: Bench): Promise<Row[]> {
  const readings = bench.size(1_000_000, 50_000);
  const load = startLoad(bench);
  const projector = bench.keep(startPeer<SessionPeer>('projector', 'session.ts'));
  const values: number[] = [];
  const lives: number[] = [];
  const held: HeldMemory[] = [];
  let usage: readonly Usage[] = [];

  for (let round = 0; round < bench.options.rounds; round += 1) {
    const folder = await bench.folder();
    const serve = await startFieldlog('serve', { DATA_DIR: folder });
    await registerFleet(serve.url);
    const watchServe = watchUsage(serve.role, serve.pid);
    const began = performance.now();
    const workload = { format: 'fieldlog', devices: fleet, perRequest: 100 } as const;
    const url = `${serve.url}/api/v1/telemetry`;
    const sent = await load.call('run', { url, workload, connections: 8, seconds: 600, readings });
    await untilProjected(serve.url);
    lives.push((sent.readings * 1000) / (performance.now() - began));
    const usageLive = watchServe();
    await serve.end();

    await removeReadModels(folder);
    await projector.call('open', { DATA_DIR: folder });
    const watch = watchUsage(projector.role, projector.pid);
    const { result, held: now } = await watchingMemory(projector.pid, () =>
      projector.call('project', { projection: 'telemetry', events: readings }),
    );
    values.push(result);
    held.push(now);
    usage = [watch(), usageLive];
    await projector.call('close', undefined);
  }
  return [
    {
      figure: `rebuild of telemetry from ${readings.toLocaleString('en-US')} readings`,
      unit: 'readings/s',
      values,
      against: { what: 'the same live, with ingest', values: lives },
      target: { ratioAtLeast: 1.5 },
      usage,
    },
    memoryRow('memory of the projector, second half of the rebuild of telemetry', held),
  ];
}
