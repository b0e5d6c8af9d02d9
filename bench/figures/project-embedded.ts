import type { Bench } from '../harness/bench.ts';
import { removeReadModels } from '../harness/embedded.ts';
import { startPeer } from '../harness/peer.ts';
import type { Row } from '../harness/row.ts';
import { deviceIds } from '../harness/workload.ts';
import type { BareInsert } from '../peers/bare-insert.ts';
import type { SessionPeer } from '../peers/session.ts';

const devices = 1000;

/** From the embedded log to points, latest, rollups, ledger and checkpoint, to inserting the points alone. */
export async function projectEmbedded(bench: Bench): Promise<Row[]> {
  const readings = bench.size(1_000_000, 40_000);
  const folder = await bench.folder();
  const projector = bench.keep(startPeer<SessionPeer>('projector', 'session.ts'));
  const bare = bench.keep(startPeer<BareInsert>('bare insert', 'bare-insert.ts'));
  await projector.call('open', { DATA_DIR: folder });
  await projector.call('register', { ids: deviceIds(devices), atOnce: 64 });
  await projector.call('fill', { readings, devices, perRequest: 100 });
  await projector.call('close', undefined);

  const { values, againstValues, usage } = await bench.inTurn(
    {
      async prepare() {
        await removeReadModels(folder);
        await projector.call('open', { DATA_DIR: folder });
      },
      run: () => projector.call('project', { projection: 'telemetry', events: readings }),
      settle: () => projector.call('close', undefined),
      processes: [projector],
    },
    { run: () => bare.call('insert', { folder, readings, devices }), processes: [bare] },
  );
  return [
    {
      figure: 'telemetry projector, embedded',
      unit: 'readings/s',
      values,
      against: { what: 'bare multi-row insert', values: againstValues },
      target: { ratioAtLeast: 0.5 },
      usage,
    },
  ];
}
