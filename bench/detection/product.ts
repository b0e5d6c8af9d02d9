import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Announcement } from '../../application/ports/detection.ts';
import { configFrom } from '../../infrastructure/config/config.ts';
import { pinoLog } from '../../infrastructure/pino-log.ts';
import { openContainer } from '../../interfaces/composition/container.ts';
import { supervisedProjections } from '../../interfaces/composition/projectors.ts';
import { services as s } from '../../interfaces/composition/services.ts';
import { superviseProjectors } from '../../interfaces/workers/projector-supervisor.ts';
import type { Alarm, Alarms, Series } from './nab.ts';

const context = { correlationId: 'bench', actor: 'bench' };
const log = pinoLog('warn', 'bench');
const perRequest = 1000;

/** The alarms of each series when its values come in as readings of a device, by ingest, log and projector. */
export async function alarmsByProduct(series: readonly Series[]): Promise<Alarms> {
  const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-nab-'));
  const container = await openContainer(configFrom({ DATA_DIR: folder, DETECTION: 'all' }), log);
  try {
    const commands = await container.getAsync(s.commands);
    const ingest = await container.getAsync(s.ingest);
    for (const [i, one] of series.entries()) {
      const deviceId = `nab-${i}`;
      const details = { name: one.file, type: 'nab', labels: {} };
      await commands.handle({ type: 'RegisterDevice', deviceId, details }, context);
      for (let from = 0; from < one.values.length; from += perRequest)
        await ingest(
          one.values.slice(from, from + perRequest).map((value, index) => ({
            index,
            deviceId,
            timestamp: one.times[from + index] as number,
            metrics: { value },
          })),
          context,
        );
    }
    const stop = new AbortController();
    const projections = await supervisedProjections(container, ['detection']);
    const running = superviseProjectors(projections, await container.getAsync(s.control), stop.signal, log);
    const end = (await (await container.getAsync(s.telemetrySource)).ends()).get(0);
    const readModels = await container.getAsync(s.readModels);
    while ((await readModels.checkpoint({ projection: 'detection', generation: 1 }, 0)) !== end)
      await new Promise((resolve) => setTimeout(resolve, 50));
    stop.abort();
    await running;
    const announced = await (await container.getAsync(s.alarmRecords)).announcements(1_000_000);
    const byDevice = Map.groupBy(announced, ({ announcement }) => announcement.deviceId);
    return new Map(
      series.map((one, i) => [one.file, alarmsOf(one, byDevice.get(`nab-${i}`) ?? [])] as const),
    );
  } finally {
    await container.unbindAllAsync();
    await rm(folder, { recursive: true });
  }
}

function alarmsOf(
  { times }: Series,
  announced: readonly { readonly announcement: Announcement }[],
): readonly Alarm[] {
  return announced.flatMap(({ announcement: { change, at, magnitude } }) =>
    change === 'cleared' ? [] : [{ index: times.indexOf(at), score: magnitude }],
  );
}
