import type { Container } from 'inversify';
import type { EventSource, Positioned } from '../../application/ports/event-source.ts';
import type { RecordedEvent } from '../../application/ports/event-store.ts';
import type { LoggedTelemetry } from '../../application/ports/telemetry-log.ts';
import { deviceHistoryProjection } from '../../application/projections/device-history.ts';
import { devicesProjection } from '../../application/projections/devices.ts';
import {
  isProjectionName,
  type Projection,
  type ProjectionName,
} from '../../application/projections/projection.ts';
import { telemetryProjection } from '../../application/projections/telemetry.ts';
import { projector } from '../../application/projector.ts';
import type { ProjectorRun } from '../workers/run-projectors.ts';
import { services as s } from './services.ts';

/** The projectors of the active generations of those projections, ready to run. */
export async function projectorRuns(
  container: Container,
  names: readonly ProjectionName[],
): Promise<readonly ProjectorRun[]> {
  const [config, log, clock, registry, metrics, readModels, progress] = await Promise.all([
    container.getAsync(s.config),
    container.getAsync(s.log),
    container.getAsync(s.clock),
    container.getAsync(s.registry),
    container.getAsync(s.projectorMetrics),
    container.getAsync(s.readModels),
    container.getAsync(s.progressQueries),
  ]);

  const runs: ProjectorRun[] = [];
  for (const { projection: name, generation } of await progress.progress())
    if (isProjectionName(name) && names.includes(name)) runs.push(await runOf(name, generation));
  return runs;

  async function runOf(name: ProjectionName, generation: number): Promise<ProjectorRun> {
    switch (name) {
      case 'devices':
        return deviceRun(devicesProjection(registry), generation);
      case 'device_history':
        return deviceRun(deviceHistoryProjection(registry), generation);
      case 'telemetry':
        return run(
          telemetryProjection(registry, await container.getAsync(s.directory)),
          generation,
          await container.getAsync(s.telemetrySource),
          (event: LoggedTelemetry) => event.receivedAt,
          config.KAFKA_GROUP,
        );
    }
  }

  async function deviceRun<Decoded>(
    projection: Projection<RecordedEvent, Decoded>,
    generation: number,
  ): Promise<ProjectorRun> {
    const takenAt = ({ metadata }: RecordedEvent) => {
      const at = Date.parse(metadata?.recordedAt ?? '');
      return Number.isNaN(at) ? undefined : at;
    };
    return run(projection, generation, await container.getAsync(s.deviceSource), takenAt, projection.name);
  }

  function run<Event extends Positioned, Decoded>(
    projection: Projection<Event, Decoded>,
    generation: number,
    source: EventSource<Event>,
    takenAt: (event: Event) => number | undefined,
    group: string,
  ): ProjectorRun {
    const of = { projection: projection.name, generation };
    const observer = metrics.observer(projection.name, takenAt);
    const consumer = projector(projection, of, readModels, clock, log, observer);
    const sharedGroup = generation === 1 ? group : `${group}-g${generation}`;
    return { generation: of, run: (signal) => source.run(consumer, { group: sharedGroup, signal }) };
  }
}
