import type { Bench } from '../harness/bench.ts';
import { removeReadModels } from '../harness/embedded.ts';
import { startPeer } from '../harness/peer.ts';
import type { Row } from '../harness/row.ts';
import { deviceIds, metricsPerReading } from '../harness/workload.ts';
import type { SessionPeer } from '../peers/session.ts';

const devices = 1000;

/** Telemetry and detection from the embedded log, novelty on every metric, to telemetry without detection. */
export async function projectDetection(bench: Bench): Promise<Row[]> {
  const readings = bench.size(1_000_000, 200_000);
  const folder = await bench.folder();
  const projector = bench.keep(startPeer<SessionPeer>('projector', 'session.ts'));
  await projector.call('open', { DATA_DIR: folder });
  await projector.call('register', { ids: deviceIds(devices), atOnce: 64 });
  await projector.call('fill', { readings, devices, perRequest: 100, vary: true });
  await projector.call('close', undefined);

  const bytes: number[] = [];
  const side = (detection: 'all' | 'off') => ({
    async prepare() {
      await removeReadModels(folder);
      await projector.call('open', { DATA_DIR: folder, DETECTION: detection });
    },
    run: () =>
      projector.call('project', {
        projection: detection === 'all' ? ['telemetry', 'detection'] : 'telemetry',
        events: readings,
      }),
    async settle() {
      if (detection === 'all') {
        const found = await projector.call('series', undefined);
        if (found.series !== devices * metricsPerReading)
          throw new Error(`${found.series} series are watched instead of ${devices * metricsPerReading}`);
        bytes.push(found.bytes);
      }
      await projector.call('close', undefined);
    },
    processes: detection === 'all' ? [projector] : [],
  });
  const { values, againstValues, usage } = await bench.inTurn(side('all'), side('off'));
  return [
    {
      figure: 'telemetry projector and detection, novelty on every metric',
      unit: 'readings/s',
      values,
      against: { what: 'DETECTION=off', values: againstValues },
      target: { ratioAtLeast: 0.6 },
      usage,
    },
    {
      figure: 'what detection remembers of a series',
      unit: 'bytes',
      values: bytes,
      target: { atMost: 2300 },
      usage: [],
    },
  ];
}
