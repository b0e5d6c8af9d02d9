import path from 'node:path';
import type { Bench } from '../harness/bench.ts';
import { removeReadModels } from '../harness/embedded.ts';
import { startPeer } from '../harness/peer.ts';
import type { Row } from '../harness/row.ts';
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

  const { values, againstValues, usage } = await bench.inTurn(
    {
      async prepare() {
        await removeReadModels(folder);
        await projector.call('open', { DATA_DIR: folder });
      },
      run: () => projector.call('project', { projection: 'devices', events: devices * eventsEach }),
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
  ];
}
