import type { Container } from 'inversify';
import { createKey } from '../../application/api-keys.ts';
import type { DeviceCommands } from '../../application/devices/device-commands.ts';
import { type Operations, operations } from '../../application/operations/operations.ts';
import type { ApiKey } from '../../application/ports/api-keys.ts';
import type { EventSource, Position, Positioned } from '../../application/ports/event-source.ts';
import type { DeviceQueries, ProgressQueries } from '../../application/ports/queries.ts';
import type { RetentionRecords } from '../../application/ports/retention.ts';
import type { Ids, Log } from '../../application/ports/system.ts';
import type { ProgressReader } from '../../application/progress.ts';
import { type ProjectionName, projectionNames, sourceOf } from '../../application/projections/projection.ts';
import type { ProjectionPipeline } from '../../application/rebuild/projection-pipeline.ts';
import type { IngestTelemetry } from '../../application/telemetry/ingest.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { superviseProjectors } from '../workers/projector-supervisor.ts';
import { openContainer } from './container.ts';
import { leaseOwner } from './process.ts';
import { rebuildable, replayPorts, supervisedProjections } from './projectors.ts';
import { services as s } from './services.ts';

/** The application without its API, for commands that work on the configured stores directly. */
export type Session = {
  readonly commands: DeviceCommands;
  readonly ingest: IngestTelemetry;
  readonly devices: DeviceQueries;
  readonly progress: ProgressQueries;
  readonly freshness: ProgressReader;
  readonly retention: RetentionRecords;
  readonly ids: Ids;
  /** Runs the projectors here until they have consumed all that is in the logs now. */
  catchUp(): Promise<void>;
  close(): Promise<void>;
};

const farEnough = 24 * 3600 * 1000;

export async function openSession(config: Config, log: Log): Promise<Session> {
  const container = await openContainer(config, log);
  const [commands, ingest, devices, progress, freshness, retention, ids] = await Promise.all([
    container.getAsync(s.commands),
    container.getAsync(s.ingest),
    container.getAsync(s.deviceQueries),
    container.getAsync(s.progressQueries),
    container.getAsync(s.freshness),
    container.getAsync(s.retentionRecords),
    container.getAsync(s.ids),
  ]);

  return {
    commands,
    ingest,
    devices,
    progress,
    freshness,
    retention,
    ids,
    async catchUp() {
      const stopped = new AbortController();
      const running = superviseProjectors(
        await supervisedProjections(container, projectionNames),
        await container.getAsync(s.control),
        stopped.signal,
        log,
      );
      try {
        for (const name of projectionNames) await freshness.waitFor([name], await endsOf(name), farEnough);
      } finally {
        stopped.abort();
        await running;
      }
    },
    close: () => container.unbindAllAsync(),
  };

  async function endsOf(name: ProjectionName) {
    const source = sourceOf(name);
    const events: EventSource<Positioned> =
      source === 'devices'
        ? await container.getAsync(s.deviceSource)
        : await container.getAsync(s.telemetrySource);
    return [...(await events.ends())]
      .filter((end): end is [number, Position] => end[1] !== null)
      .map(([partition, position]) => ({ source, partition, position }));
  }
}

/** The API keys of the configured stores, for those who give them out. */
export type Keys = {
  /** `undefined` when a key has or had the name; otherwise the secret, which is told only now. */
  create(
    asked: Pick<ApiKey, 'name' | 'scopes' | 'expiresAt'>,
  ): Promise<{ readonly key: ApiKey; readonly secret: string } | undefined>;
  /** In order of name, with those that are good no more. */
  list(): Promise<readonly ApiKey[]>;
  /** `false` when there is no such key. */
  revoke(name: string): Promise<boolean>;
  close(): Promise<void>;
};

export async function openKeys(config: Config, log: Log): Promise<Keys> {
  const container = await openContainer(config, log);
  const [keys, credentials, clock] = await Promise.all([
    container.getAsync(s.apiKeys),
    container.getAsync(s.credentials),
    container.getAsync(s.clock),
  ]);
  return {
    create: (asked) => createKey(keys, credentials, clock, asked),
    list: () => keys.list(),
    revoke: (name) => keys.revoke(name, clock.now()),
    close: () => container.unbindAllAsync(),
  };
}

/** What operators do, done by this process; `doing` is what another operator is told of it. */
export async function replayOf(container: Container, doing: string): Promise<Operations> {
  const projections = await Promise.all(
    projectionNames.map(async (name) => [name, await rebuildable(container, name)] as const),
  );
  const [ids, source, tables, outcomes, directory] = await Promise.all([
    container.getAsync(s.ids),
    container.getAsync(s.telemetrySource),
    container.getAsync(s.auditTables),
    container.getAsync(s.auditOutcomes),
    container.getAsync(s.directory),
  ]);
  return operations(
    Object.fromEntries(projections) as Record<ProjectionName, ProjectionPipeline>,
    await replayPorts(container),
    { source, tables, outcomes },
    directory,
    leaseOwner(doing, ids.uuidV7()),
  );
}

/** The same on the configured stores, for commands that need no server. */
export async function openOperations(
  config: Config,
  log: Log,
  doing: string,
): Promise<Operations & { close(): Promise<void> }> {
  const container = await openContainer(config, log);
  return { ...(await replayOf(container, doing)), close: () => container.unbindAllAsync() };
}
