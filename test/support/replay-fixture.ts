import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { AuditQuery } from '../../application/operations/audit.ts';
import type { EventRegistry } from '../../application/ports/event-registry.ts';
import { type ProjectionName, projectionNames } from '../../application/projections/projection.ts';
import { telemetryProjection } from '../../application/projections/telemetry.ts';
import {
  type ProjectionPipeline,
  projectionPipeline,
  type RebuildPorts,
} from '../../application/rebuild/projection-pipeline.ts';
import { upgrade } from '../../application/rebuild/upgrade.ts';
import type { Metrics } from '../../domain/telemetry.ts';
import { configFrom } from '../../infrastructure/config/config.ts';
import { eventRegistry } from '../../infrastructure/event-registry.ts';
import { operationsOf } from '../../interfaces/composition/application.ts';
import { openContainer } from '../../interfaces/composition/container.ts';
import { pipelineOf, replayPorts } from '../../interfaces/composition/projectors.ts';
import { services as s } from '../../interfaces/composition/services.ts';
import { superviseProjectors } from '../../interfaces/workers/projector-supervisor.ts';
import { eventually } from './eventually.ts';

export const quiet = { debug() {}, info() {}, warn() {}, error() {} };

export type ReplayFixture = Awaited<ReturnType<typeof replayFixture>>;

/** The whole application over stores of its own, with hands on everything that a rebuild is about. */
export async function replayFixture(env: Readonly<Record<string, string>> = {}) {
  const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-replay-'));
  const config = configFrom({ DATA_DIR: folder, BATCH_SIZE: '100', ...env });
  const container = await openContainer(config, quiet, { role: 'serve' });
  const ports: RebuildPorts = await replayPorts(container);
  const [commands, ingest, log, db, registry, directory, source, clock, devices, telemetry, retention] =
    await Promise.all([
      container.getAsync(s.commands),
      container.getAsync(s.ingest),
      container.getAsync(s.telemetryLog),
      container.getAsync(s.database),
      container.getAsync(s.registry),
      container.getAsync(s.directory),
      container.getAsync(s.telemetrySource),
      container.getAsync(s.clock),
      container.getAsync(s.deviceQueries),
      container.getAsync(s.telemetryQueries),
      container.getAsync(s.retention),
    ]);
  const pipelines = Object.fromEntries(
    await Promise.all(
      projectionNames.map(async (name) => [name, await pipelineOf(container, name)] as const),
    ),
  ) as Record<ProjectionName, ProjectionPipeline>;
  const running: (() => Promise<void>)[] = [];
  let published = 0;

  return {
    folder,
    container,
    ports,
    pipelines,
    db,
    commands,
    source,
    log,
    devices,
    telemetry,
    directory,
    registry,

    register: (deviceId: string, name = deviceId) =>
      commands.handle(
        { type: 'RegisterDevice', deviceId, details: { name, type: 'test', labels: {} } },
        { correlationId: `c-${deviceId}`, actor: 'test' },
      ),

    measure: (deviceId: string, readings: readonly (readonly [timestamp: number, metrics: Metrics])[]) =>
      ingest(
        readings.map(([timestamp, metrics], index) => ({ index, deviceId, timestamp, metrics })),
        { correlationId: 'c', actor: 'test' },
      ),

    /** Puts into the log what the API would never have let in. */
    publishRaw(data: unknown, { type = 'TelemetryRecorded', receivedAt = clock.now() } = {}) {
      published += 1;
      return log.publish({
        id: `raw-${published}`,
        type: type as 'TelemetryRecorded',
        schemaVersion: 1,
        receivedAt,
        correlationId: `raw-${published}`,
        actor: 'test',
        events: [data as never],
      });
    },

    /** Another telemetry projection over the same log and tables. */
    telemetryLike(
      change: (
        projection: ReturnType<typeof telemetryProjection>,
      ) => Partial<ReturnType<typeof telemetryProjection>>,
      registryOf: EventRegistry = eventRegistry,
    ): ProjectionPipeline {
      const projection = telemetryProjection(registryOf, directory, retention, () => source.partitioner());
      const observer = { consumed() {}, failed() {} };
      return projectionPipeline({ ...projection, ...change(projection) }, source, 'test', {
        clock,
        log: quiet,
        observer,
      });
    },

    /** Audits the active generation as operators do. */
    async audit(query: AuditQuery = {}) {
      const operations = await operationsOf(container, 'a test');
      return operations.audit(query, new AbortController().signal);
    },

    /** Keeps projections consumed, until the answer is called. */
    consuming(which: readonly ProjectionPipeline[] = Object.values(pipelines)): () => Promise<void> {
      const stop = new AbortController();
      const over = superviseProjectors(
        which.map((one) => ({
          name: one.name,
          version: one.version,
          run: (of, signal) => one.run(one.consumer(of, ports.readModels), of, signal),
          upgrade: async (signal) => {
            const builder = { id: 'a worker', isExpired: () => false };
            await upgrade(one, ports, { builder, signal, handover: 0 });
          },
        })),
        ports.control,
        stop.signal,
        quiet,
      );
      const end = async () => {
        stop.abort();
        await over;
      };
      running.push(end);
      return end;
    },

    /** Resolves once the active generation has consumed all that is in its log. */
    consumed: (name: ProjectionName) =>
      eventually(
        async () => {
          const state = (await ports.control.states()).find(({ projection }) => projection === name);
          for (const [partition, end] of await pipelines[name].ends())
            if (
              end !==
              (await ports.readModels.checkpoint(
                { projection: name, generation: state?.active ?? 0 },
                partition,
              ))
            )
              throw new Error(`${name} has not consumed all of partition ${partition}`);
        },
        { within: 15_000 },
      ),

    async close() {
      for (const end of running) await end();
      await container.unbindAllAsync();
      await rm(folder, { recursive: true });
    },
  };
}
