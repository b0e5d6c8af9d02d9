import type { Bench } from '../harness/bench.ts';
import { newDatabase, openStores, withNewReadModels } from '../harness/distributed.ts';
import { startPeer } from '../harness/peer.ts';
import type { Row } from '../harness/row.ts';
import { deviceIds } from '../harness/workload.ts';
import type { BareLoadData } from '../peers/bare-load-data.ts';
import type { SessionPeer } from '../peers/session.ts';

const devices = 1000;
const connections = 4;

/** From Kafka to points, latest, rollups, ledger and checkpoint in MariaDB, to loading the points alone. */
export async function projectKafka(bench: Bench): Promise<Row[]> {
  const readings = bench.size(1_000_000, 40_000);
  const stores = await openStores(bench);
  const projector = bench.keep(startPeer<SessionPeer>('projector', 'session.ts'));
  const bare = bench.keep(startPeer<BareLoadData>('bare LOAD DATA', 'bare-load-data.ts'));
  await projector.call('open', stores);
  await projector.call('register', { ids: deviceIds(devices), atOnce: 64 });
  await projector.call('fill', { readings, devices, perRequest: 100 });
  await projector.call('close', undefined);
  const url = await newDatabase(bench);

  const { values, againstValues, usage } = await bench.inTurn(
    {
      async prepare() {
        const anew = await withNewReadModels(bench, stores);
        await projector.call('open', { ...anew, CONCURRENCY: String(connections) });
      },
      run: () => projector.call('project', { projection: 'telemetry', events: readings }),
      settle: () => projector.call('close', undefined),
      processes: [projector],
    },
    {
      run: () => bare.call('load', { url, readings, devices, connections, rowsAtOnce: 10_000 }),
      processes: [bare],
    },
  );
  return [
    {
      figure: 'telemetry projector, Kafka to MariaDB',
      unit: 'readings/s',
      values,
      against: { what: 'bare LOAD DATA LOCAL', values: againstValues },
      target: { ratioAtLeast: 0.5 },
      usage,
    },
  ];
}
