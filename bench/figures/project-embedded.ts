import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { Bench } from '../harness/bench.ts';
import { startPeer } from '../harness/peer.ts';
import type { Row } from '../harness/row.ts';
import type { BareInsert } from '../peers/bare-insert.ts';
import type { SessionPeer } from '../peers/session.ts';

const devices = 1000;

/** From the embedded log to points, latest, rollups, ledger and checkpoint, to inserting the points alone. */
export async function projectEmbedded(bench: Bench): Promise<Row[]> {
  const readings = bench.size(400_000, 40_000);
  const folder = await bench.folder();
  const projector = bench.keep(startPeer<SessionPeer>('projector', 'session.ts'));
  const bare = bench.keep(startPeer<BareInsert>('bare insert', 'bare-insert.ts'));
  await projector.call('open', { DATA_DIR: folder });
  await projector.call('register', { devices, inFlight: 64 });
  await projector.call('fill', { readings, devices, perRequest: 100 });
  await projector.call('close', undefined);

  const { values, againstValues, usage } = await bench.inTurn(
    {
      async prepare() {
        await Promise.all(
          ['', '-wal', '-shm'].map((suffix) =>
            rm(path.join(folder, `read-models.db${suffix}`), { force: true }),
          ),
        );
        await projector.call('open', { DATA_DIR: folder });
      },
      run: () => projector.call('project', undefined),
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
