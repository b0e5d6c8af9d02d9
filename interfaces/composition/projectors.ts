import type { Container } from 'inversify';
import type { BatchConsumer, EventSource, Positioned } from '../../application/ports/event-source.ts';
import type { RecordedEvent } from '../../application/ports/event-store.ts';
import type { Generation, ReadModels } from '../../application/ports/read-models.ts';
import { deviceHistoryProjection } from '../../application/projections/device-history.ts';
import { devicesProjection } from '../../application/projections/devices.ts';
import type { Projection, ProjectionName } from '../../application/projections/projection.ts';
import { telemetryProjection } from '../../application/projections/telemetry.ts';
import { projector } from '../../application/projector.ts';
import { type Rebuildable, rebuild } from '../../application/replay/rebuild.ts';
import type { Supervised } from '../workers/projector-supervisor.ts';
import { services as s } from './services.ts';

/** A projection with its log and the way to project it, whatever its events are. */
export async function rebuildable(container: Container, name: ProjectionName): Promise<Rebuildable> {
  const registry = await container.getAsync(s.registry);
  const config = await container.getAsync(s.config);
  const clock = await container.getAsync(s.clock);
  const log = await container.getAsync(s.log);
  const metrics = await container.getAsync(s.projectorMetrics);

  switch (name) {
    case 'devices':
      return over(devicesProjection(registry), await container.getAsync(s.deviceSource), name, recordedAt);
    case 'device_history':
      return over(
        deviceHistoryProjection(registry),
        await container.getAsync(s.deviceSource),
        name,
        recordedAt,
      );
    case 'telemetry':
      return over(
        telemetryProjection(registry, await container.getAsync(s.directory)),
        await container.getAsync(s.telemetrySource),
        config.KAFKA_GROUP,
        (event) => event.receivedAt,
      );
  }

  function over<Event extends Positioned, Decoded>(
    projection: Projection<Event, Decoded>,
    source: EventSource<Event>,
    group: string,
    takenAt: (event: Event) => number | undefined,
  ): Rebuildable {
    return {
      name: projection.name,
      version: projection.version,
      ends: () => source.ends(),
      expired: () => source.expired(),
      countAfter: (partition, position) => source.countAfter(partition, position),
      consumer(of: Generation, readModels: ReadModels) {
        const observer = metrics.observer(projection.name, takenAt);
        return projector(projection, of, readModels, clock, log, observer) as BatchConsumer<Positioned>;
      },
      run: (consumer, { generation }, signal) =>
        source.run(consumer as BatchConsumer<Event>, {
          group: generation === 1 ? group : `${group}-g${generation}`,
          signal,
        }),
    };
  }
}

/** The projections of a worker, ready to be supervised. */
export async function supervisedProjections(
  container: Container,
  names: readonly ProjectionName[],
): Promise<readonly Supervised[]> {
  const readModels = await container.getAsync(s.readModels);
  const control = await container.getAsync(s.control);
  const clock = await container.getAsync(s.clock);
  const log = await container.getAsync(s.log);
  const ids = await container.getAsync(s.ids);
  const runner = `worker ${ids.fresh()}`;

  return Promise.all(
    names.map(async (name): Promise<Supervised> => {
      const what = await rebuildable(container, name);
      return {
        name,
        version: what.version,
        run: (of, signal) => what.run(what.consumer(of, readModels), of, signal),
        async upgrade(signal) {
          log.info({ projection: name, version: what.version }, 'building the generation of this release');
          await rebuild(what, control, readModels, clock, { runner, signal, acceptDifferences: true });
        },
      };
    }),
  );
}

function recordedAt({ metadata }: RecordedEvent): number | undefined {
  const at = Date.parse(metadata?.recordedAt ?? '');
  return Number.isNaN(at) ? undefined : at;
}
