import type { Container } from 'inversify';
import { withDeadLetterFeed } from '../../application/parking.ts';
import type { DeadLetterFeed } from '../../application/ports/dead-letters.ts';
import type { EventSource, Positioned } from '../../application/ports/event-source.ts';
import type { RecordedEvent } from '../../application/ports/event-store.ts';
import { RebuildUnderWay } from '../../application/ports/generations.ts';
import type { TelemetryRecord } from '../../application/ports/telemetry-log.ts';
import { deviceHistoryProjection, devicesProjection } from '../../application/projections/devices.ts';
import type { Projection, ProjectionName } from '../../application/projections/projection.ts';
import { carriedReadings, telemetryProjection } from '../../application/projections/telemetry.ts';
import {
  type ProjectionPipeline,
  projectionPipeline,
  type ReplayPorts,
} from '../../application/rebuild/projection-pipeline.ts';
import { SwitchedMeanwhile, upgrade } from '../../application/rebuild/rebuild.ts';
import { retentionAlongside } from '../../application/retention/generation-sweep.ts';
import { measureStalls, type TakenAt } from '../../infrastructure/metrics/projector-metrics.ts';
import { withConsumedLog } from '../../infrastructure/pino-log.ts';
import { type Supervised, superviseProjectors } from '../workers/projector-supervisor.ts';
import { type ProjectorWatch, stallDetector } from '../workers/stall-detector.ts';
import { leaseOwner } from './process.ts';
import { keepRetention, sweepPorts } from './retention.ts';
import { services as s } from './services.ts';

/** What an event tells of the request that caused it, where it does. */
type Told<Event> = {
  readonly takenAt: TakenAt<Event>;
  readonly traceparent: (event: Event) => string | undefined;
};

const ofDevices: Told<RecordedEvent> = {
  takenAt: recordedAt,
  traceparent: ({ metadata }) => metadata?.traceparent,
};

const ofTelemetry: Told<TelemetryRecord> = {
  takenAt: ({ receivedAt }) => receivedAt,
  traceparent: ({ traceparent }) => traceparent,
};

/** A projection with its log and the way to project it, whatever its events are. */
export async function rebuildable(container: Container, name: ProjectionName): Promise<ProjectionPipeline> {
  const registry = await container.getAsync(s.registry);
  const config = await container.getAsync(s.config);
  const clock = await container.getAsync(s.clock);
  const log = await container.getAsync(s.log);
  const metrics = await container.getAsync(s.projectorMetrics);
  const tracing = container.isBound(s.tracing) ? await container.getAsync(s.tracing) : undefined;

  switch (name) {
    case 'devices':
      return over(devicesProjection(registry), await container.getAsync(s.deviceSource), name, ofDevices);
    case 'device_history':
      return over(
        deviceHistoryProjection(registry),
        await container.getAsync(s.deviceSource),
        name,
        ofDevices,
      );
    case 'telemetry': {
      const projection = telemetryProjection(
        registry,
        await container.getAsync(s.directory),
        await container.getAsync(s.retention),
      );
      const source = await container.getAsync(s.telemetrySource);
      const feed = container.isBound(s.deadLetterFeed)
        ? await container.getAsync(s.deadLetterFeed)
        : undefined;
      return {
        ...over(projection, source, config.KAFKA_GROUP, ofTelemetry, feed),
        async carry({ rows, letters }, tables) {
          const worker = projection.forPartition();
          await worker.apply(carriedReadings(rows), tables);
          await tables.deadLetters.park(letters);
          const events = letters.map(({ event }) => event as TelemetryRecord);
          await worker.onParked?.(events, tables);
        },
        retention: retentionAlongside(await sweepPorts(container), clock.now),
      };
    }
  }

  function over<Event extends Positioned, Decoded>(
    projection: Projection<Event, Decoded>,
    source: EventSource<Event>,
    group: string,
    { takenAt, traceparent }: Told<Event>,
    feed?: DeadLetterFeed,
  ): ProjectionPipeline {
    const measured = metrics.observer(projection.name, takenAt);
    const counted = feed ? withDeadLetterFeed(measured, feed, log) : measured;
    // What nobody reads is not to be gathered from every batch either.
    const observer =
      config.LOG_LEVEL === 'debug' || config.LOG_LEVEL === 'trace'
        ? withConsumedLog(counted, projection.name, projection.describe, log)
        : counted;
    const around = tracing?.consumer(projection.name, source.name, traceparent);
    return projectionPipeline(projection, source, group, { clock, log, observer, around });
  }
}

export async function replayPorts(container: Container): Promise<ReplayPorts> {
  const [control, readModels, letters, gap, clock] = await Promise.all([
    container.getAsync(s.control),
    container.getAsync(s.readModels),
    container.getAsync(s.deadLetters),
    container.getAsync(s.historyGap),
    container.getAsync(s.clock),
  ]);
  return { control, readModels, letters, gap, clock };
}

export type Projectors = {
  /** Resolves once the signal is aborted and the batches under way are done. */
  readonly running: Promise<void>;
  /** What stands still although it should move, one sentence each. */
  stalled(): readonly string[];
};

/** Keeps projections going until `signal` is aborted, and an eye on whether they do. */
export async function startProjectors(
  container: Container,
  names: readonly ProjectionName[],
  signal: AbortSignal,
): Promise<Projectors> {
  const [config, clock, log, control, metrics] = await Promise.all([
    container.getAsync(s.config),
    container.getAsync(s.clock),
    container.getAsync(s.log),
    container.getAsync(s.control),
    container.getAsync(s.metrics),
  ]);
  const watch = stallDetector(config.PROJECTOR_STALL_MS, clock, log);
  const supervised = await supervisedProjections(container, names, watch);
  measureStalls(metrics, watch.stalls);
  // Not waited for at the end: it may be asking a server that does not answer.
  void watch.follow(signal);
  const supervising = superviseProjectors(supervised, control, signal, log, watch);
  const keeping = names.includes('telemetry') ? keepRetention(container, signal) : undefined;
  return {
    running: Promise.all([supervising, keeping]).then(() => undefined),
    stalled: () =>
      [...watch.stalls()].flatMap(([name, stall]) => (stall === null ? [] : [`${name}: ${stall}`])),
  };
}

/** The projections of a worker, ready to be supervised. */
export async function supervisedProjections(
  container: Container,
  names: readonly ProjectionName[],
  watch?: Pick<ProjectorWatch, 'over'>,
): Promise<readonly Supervised[]> {
  const ports = await replayPorts(container);
  const log = await container.getAsync(s.log);
  const ids = await container.getAsync(s.ids);
  const upgrader = leaseOwner('a worker of a newer release', ids.uuidV7());

  return Promise.all(
    names.map(async (name): Promise<Supervised> => {
      const what = await rebuildable(container, name);
      return {
        name,
        version: what.version,
        run(of, signal) {
          const consumer = what.consumer(of, ports.readModels);
          return what.run(watch?.over(name, consumer, what) ?? consumer, of, signal);
        },
        async upgrade(signal) {
          log.info({ projection: name, version: what.version }, 'building the generation of this release');
          await upgrade(what, ports, { builder: upgrader, signal }).catch((error) => {
            if (!(error instanceof RebuildUnderWay || error instanceof SwitchedMeanwhile)) throw error;
            log.info({ projection: name, reason: error.message }, 'another node builds it');
          });
        },
      };
    }),
  );
}

function recordedAt({ metadata }: RecordedEvent): number | undefined {
  const at = Date.parse(metadata?.recordedAt ?? '');
  return Number.isNaN(at) ? undefined : at;
}
