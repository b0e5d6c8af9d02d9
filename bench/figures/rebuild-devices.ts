import path from 'node:path';
import type { Bench } from '../harness/bench.ts';
import { removeReadModels } from '../harness/embedded.ts';
import { startPeer } from '../harness/peer.ts';
import { memoryRow, type Row } from '../harness/row.ts';
import { type HeldMemory, watchingMemory } from '../harness/usage.ts';
import type { Scan } from '../peers/scan.ts';
import type { SessionPeer } from '../peers/session.ts';

const eventsEach = 5;

/** The device projection from its first event on, to reading and parsing the same events. */
export async function rebuildDevices(bench: Bench): Promise<Row[]> {
  const devices = bench.size(200_000, 10_000);
  const folder = await bench.folder();
  const projector = bench.keep(startPeer<SessionPeer>('projector', 'session.ts'));
  const scan = bench.keep(startPeer<Scan>('scan', 'scan.ts'));
  await projector.call('open', { DATA_DIR: folder });
  await projector.call('live', { devices, eventsEach });
  await projector.call('close', undefined);

  const held: HeldMemory[] = [];
  const { values, againstValues, usage } = await bench.inTurn(
    {
      async prepare() {
        await removeReadModels(folder);
        await projector.call('open', { DATA_DIR: folder });
      },
      async run() {
        const { result, held: now } = await watchingMemory(projector.pid, () =>
          projector.call('project', { projection: 'devices', events: devices * eventsEach }),
        );
        held.push(now);
        return result;
      },
      settle: () => projector.call('close', undefined),
      processes: [projector],
    },
    { run: () => scan.call('scan', { file: path.join(folder, 'events.db') }), processes: [scan] },
  );
  return [
    {
      figure: `rebuild of devices from ${(devices * eventsEach).toLocaleString('en-US')} events, embedded`,
      unit: 'events/s',
      values,
      against: { what: 'scan with JSON.parse', values: againstValues },
      target: { ratioAtLeast: 0.5 },
      usage,
    },
    memoryRow('memory of the projector, second half of the rebuild of devices', held),
  ];
}
