import type { Container } from 'inversify';
import { withDeadLetterFeed } from '../../application/dead-letter-feed.ts';
import { skipWhileIdle } from '../../application/detection/idle.ts';
import { pause } from '../../application/pause.ts';
import type { DeadLetterFeed } from '../../application/ports/dead-letters.ts';
import type { EventSource, Positioned } from '../../application/ports/event-source.ts';
import type { RecordedEvent } from '../../application/ports/event-store.ts';
import { RebuildUnderWay } from '../../application/ports/generations.ts';
import type { TelemetryRecord } from '../../application/ports/telemetry-log.ts';
import { detectionProjection } from '../../application/projections/detection.ts';
import { deviceHistoryProjection, devicesProjection } from '../../application/projections/devices.ts';
import type { Projection, ProjectionName } from '../../application/projections/projection.ts';
import { carriedReadings, telemetryProjection } from '../../application/projections/telemetry.ts';
import { SwitchedMeanwhile } from '../../application/rebuild/claim.ts';
import {
  type ProjectionPipeline,
  projectionPipeline,
  type RebuildPorts,
  unobserved,
} from '../../application/rebuild/projection-pipeline.ts';
import { upgrade } from '../../application/rebuild/upgrade.ts';
import { retentionAlongside } from '../../application/retention/generation-sweep.ts';
import { toleranceMilliseconds } from '../../infrastructure/config/variable-forms.ts';
import type { TakenAt } from '../../infrastructure/metrics/projector-metrics.ts';
import { withConsumedLog } from '../../infrastructure/pino-log.ts';
import type { Supervised } from '../workers/projector-supervisor.ts';
import type { StallDetector } from '../workers/stall-detector.ts';
import { leaseOwner } from './process.ts';
import { sweepPorts } from './retention.ts';
import { services as s } from './services.ts';

/** How to read from an event when it was accepted, and the trace it belongs to. */
type EventMetadata<Event> = {
  readonly takenAt: TakenAt<Event>;
  readonly traceparent: (event: Event) => string | undefined;
};

const deviceMetadata: EventMetadata<RecordedEvent> = {
  takenAt: recordedAt,
  traceparent: ({ metadata }) => metadata?.traceparent,
};

const telemetryMetadata: EventMetadata<TelemetryRecord> = {
  takenAt: ({ receivedAt }) => receivedAt,
  traceparent: ({ traceparent }) => traceparent,
};

/** A projection with its log and what projects it, whatever the type of its events. */
export async function pipelineOf(container: Container, name: ProjectionName): Promise<ProjectionPipeline> {
  const registry = await container.getAsync(s.registry);
  const config = await container.getAsync(s.config);
  const clock = await container.getAsync(s.clock);
  const log = await container.getAsync(s.log);
  const metrics = await container.getAsync(s.projectorMetrics, { optional: true });
  const tracing = await container.getAsync(s.tracing, { optional: true });
  const versions = await container.getAsync(s.codeVersions, { optional: true });

  switch (name) {
    case 'devices':
      return over(
        devicesProjection(registry, config.DIRECTORY_SIZE),
        await container.getAsync(s.deviceSource),
        name,
        deviceMetadata,
      );
    case 'device_history':
      return over(
        deviceHistoryProjection(registry),
        await container.getAsync(s.deviceSource),
        name,
        deviceMetadata,
      );
    case 'telemetry': {
      const source = await container.getAsync(s.telemetrySource);
      const projection = telemetryProjection(
        registry,
        await container.getAsync(s.directory),
        await container.getAsync(s.retention),
        () => source.partitioner(),
        {
          clockTolerance: toleranceMilliseconds(config.CLOCK_TOLERANCE),
          cacheBytes: config.PROJECTOR_CACHE,
        },
      );
      const feed = await container.getAsync(s.deadLetterFeed, { optional: true });
      const pipeline = over(projection, source, config.KAFKA_GROUP, telemetryMetadata, feed);
      const retention = retentionAlongside(await sweepPorts(container), clock.now);
      return {
        ...pipeline,
        deadLetterRetry: { ...pipeline.deadLetterRetry, atRest: retention.afterRetry },
        retention,
        async carry({ rows, deadLetters }, tables) {
          const worker = projection.forPartition();
          // Without validation: the live generation has accepted these rows, and sweeps remove what expires of them.
          await worker.apply(carriedReadings(rows), tables);
          await tables.deadLetters.park(deadLetters);
          // Of a device that was erased there is no event any more, and nothing of it is counted.
          const events = deadLetters.flatMap(({ event }) =>
            event === null ? [] : [event as TelemetryRecord],
          );
          await worker.onParked?.(events, tables);
        },
      };
    }
    case 'detection':
      return detection();
  }

  /** Only the live generation announces alarms. */
  async function detection(): Promise<ProjectionPipeline> {
    const source = await container.getAsync(s.telemetrySource);
    const rules = await container.getAsync(s.ruleBook);
    const parts = {
      registry,
      rules,
      devices: await container.getAsync(s.devicePeriods),
      partitioner: () => source.partitioner(),
      ids: await container.getAsync(s.ids),
      maxSeries: config.DETECTION_SERIES,
    };
    const group = `${config.KAFKA_GROUP}-detection`;
    const live = over(detectionProjection(parts, 'announces'), source, group, telemetryMetadata);
    const built = over(detectionProjection(parts, 'silent'), source, group, telemetryMetadata);
    const readModels = await container.getAsync(s.readModels);
    return {
      ...live,
      isWhole: true,
      consumer: (of, into, options) => (options ? built : live).consumer(of, into, options),
      untilNeeded: (of, signal) => {
        const onPassed = () => metrics?.passedOver('detection');
        return skipWhileIdle(of, { source, readModels, rules, onPassed }, config.DETECTION === 'off', signal);
      },
    };
  }

  function over<Event extends Positioned, Decoded>(
    projection: Projection<Event, Decoded>,
    source: EventSource<Event>,
    group: string,
    { takenAt, traceparent }: EventMetadata<Event>,
    feed?: DeadLetterFeed,
  ): ProjectionPipeline {
    const measured = metrics?.observer(projection.name, takenAt) ?? unobserved;
    const counted = feed ? withDeadLetterFeed(measured, feed, log) : measured;
    // Only gathered from each batch where the level shows it.
    const observer =
      config.LOG_LEVEL === 'debug' || config.LOG_LEVEL === 'trace'
        ? withConsumedLog(counted, projection.name, projection.describe, log)
        : counted;
    const around = tracing?.consumer(projection.name, source.name, traceparent);
    const version = versions?.[projection.name] ?? projection.version;
    return projectionPipeline({ ...projection, version }, source, group, { clock, log, observer, around });
  }
}

export async function replayPorts(container: Container): Promise<RebuildPorts> {
  const [config, control, readModels, deadLetters, gap, clock] = await Promise.all([
    container.getAsync(s.config),
    container.getAsync(s.control),
    container.getAsync(s.readModels),
    container.getAsync(s.deadLetters),
    container.getAsync(s.historyGap),
    container.getAsync(s.clock),
  ]);
  const disk = config.MYSQL_URL === undefined ? await container.getAsync(s.disk) : undefined;
  return {
    control,
    readModels,
    deadLetters,
    gap,
    clock,
    keepGenerations: config.KEEP_GENERATIONS,
    disk,
  };
}

/** The projections of a worker, ready to be supervised. */
export async function supervisedProjections(
  container: Container,
  names: readonly ProjectionName[],
  detector?: Pick<StallDetector, 'watch'>,
): Promise<readonly Supervised[]> {
  const ports = await replayPorts(container);
  const log = await container.getAsync(s.log);
  const ids = await container.getAsync(s.ids);
  const upgrader = leaseOwner('a worker of a newer release', ids.uuidV7());

  return Promise.all(
    names.map(async (name): Promise<Supervised> => {
      const pipeline = await pipelineOf(container, name);
      return {
        name,
        version: pipeline.version,
        async run(of, signal) {
          await pipeline.untilNeeded?.(of, signal);
          if (signal.aborted) return;
          const consumer = pipeline.consumer(of, ports.readModels);
          const progress = {
            ends: pipeline.ends,
            checkpoint: (partition: number) => ports.readModels.checkpoint(of, partition),
          };
          await pipeline.run(detector?.watch(name, consumer, progress) ?? consumer, of, signal, 'live');
        },
        async upgrade(signal) {
          log.info({ projection: name, version: pipeline.version }, 'building generation of this release');
          await upgrade(pipeline, ports, { builder: upgrader, signal }).catch(async (error) => {
            if (!(error instanceof RebuildUnderWay || error instanceof SwitchedMeanwhile)) throw error;
            log.info({ projection: name, reason: error.message }, 'another node is building it');
            await pause(5_000, signal);
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
