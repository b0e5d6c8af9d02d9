import type { Container } from 'inversify';
import { adoptKeys, createKey, revokeKey } from '../../application/api-keys.ts';
import type { DeviceCommands } from '../../application/devices/device-commands.ts';
import { type DeviceAudit, deviceAudit } from '../../application/operations/device-audit.ts';
import { type Operations, operations } from '../../application/operations/operations.ts';
import type { ApiKey } from '../../application/ports/api-keys.ts';
import { type EventSource, lastPositions, type Positioned } from '../../application/ports/event-source.ts';
import type { DeviceQueries, ProgressQueries, TelemetryQueries } from '../../application/ports/queries.ts';
import type { RetentionRecords } from '../../application/ports/retention.ts';
import type { Ids, Log } from '../../application/ports/system.ts';
import type { ProgressReader } from '../../application/progress.ts';
import { type ProjectionName, projectionNames, sourceOf } from '../../application/projections/projection.ts';
import type { ProjectionPipeline } from '../../application/rebuild/projection-pipeline.ts';
import { retentionLookup } from '../../application/retention/policy.ts';
import type { IngestTelemetry } from '../../application/telemetry/ingest.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { superviseProjectors } from '../workers/projector-supervisor.ts';
import { type ContainerOptions, openContainer } from './container.ts';
import { leaseOwner } from './process.ts';
import { pipelineOf, replayPorts, supervisedProjections } from './projectors.ts';
import { type RetentionOperations, retentionOperations } from './retention.ts';
import { services as s } from './services.ts';

/** The application on the configured stores, without a server. Each member is made when it is asked for. */
export type Application = {
  session(): Promise<Session>;
  keys(): Promise<ApiKeyOperations>;
  retention(): Promise<RetentionOperations>;
  /** What operators do with read models; other operators see `doing` while it holds a lease. */
  operations(doing: string): Promise<Operations>;
  deviceAudit(): Promise<DeviceAudit>;
  close(): Promise<void>;
};

export async function openApplication(
  config: Config,
  log: Log,
  options: Pick<ContainerOptions, 'migrate'> = {},
): Promise<Application> {
  const container = await openContainer(config, log, options);
  return {
    session: () => sessionOf(container),
    keys: () => apiKeyOperations(container),
    retention: () => retentionOperations(container),
    operations: (doing) => operationsOf(container, doing),
    deviceAudit: () => deviceAuditOf(container),
    close: () => container.unbindAllAsync(),
  };
}

/** Commands, ingest and queries, for commands that do without the API. */
export type Session = {
  readonly commands: DeviceCommands;
  readonly ingest: IngestTelemetry;
  readonly devices: DeviceQueries;
  readonly telemetry: TelemetryQueries;
  readonly progress: ProgressQueries;
  readonly freshness: ProgressReader;
  readonly retention: RetentionRecords;
  readonly ids: Ids;
  /** Nothing may be ingested meanwhile. Runs the projectors here until they have consumed all that is in the logs now. */
  catchUp(): Promise<void>;
};

/** A rebuild by another process may hold the projectors up for as long as it takes. */
const catchUpTimeout = 24 * 3600 * 1000;

/** Commands, ingest and queries of a process that has no server. */
export async function sessionOf(container: Container): Promise<Session> {
  const [commands, ingest, devices, telemetry, progress, freshness, retention, ids] = await Promise.all([
    container.getAsync(s.commands),
    container.getAsync(s.ingest),
    container.getAsync(s.deviceQueries),
    container.getAsync(s.telemetryQueries),
    container.getAsync(s.progressQueries),
    container.getAsync(s.freshness),
    container.getAsync(s.retentionRecords),
    container.getAsync(s.ids),
  ]);
  return {
    commands,
    ingest,
    devices,
    telemetry,
    progress,
    freshness,
    retention,
    ids,
    async catchUp() {
      await (await container.getAsync(s.plainTelemetryLog)).rest?.();
      const stopped = new AbortController();
      const running = superviseProjectors(
        await supervisedProjections(container, projectionNames),
        await container.getAsync(s.control),
        stopped.signal,
        await container.getAsync(s.log),
      );
      try {
        for (const name of projectionNames)
          await freshness.waitFor([name], await logEnds(container, name), catchUpTimeout);
      } finally {
        stopped.abort();
        await running;
      }
    },
  };
}

async function logEnds(container: Container, name: ProjectionName) {
  const source = sourceOf(name);
  const events: EventSource<Positioned> =
    source === 'devices'
      ? await container.getAsync(s.deviceSource)
      : await container.getAsync(s.telemetrySource);
  return [...(await lastPositions(events))].map(([partition, position]) => ({ source, partition, position }));
}

export type ApiKeyOperations = {
  /** `undefined` when a key has or had the name; otherwise the key with its secret, which is not stored. */
  create(
    asked: Pick<ApiKey, 'name' | 'scopes' | 'expiresAt'> & { readonly only?: ApiKey['only'] },
  ): Promise<{ readonly key: ApiKey; readonly secret: string } | undefined>;
  /** Ordered by name, with those that are expired or revoked. */
  list(): Promise<readonly ApiKey[]>;
  /** `false` when there is no such key. */
  revoke(name: string): Promise<boolean>;
};

async function apiKeyOperations(container: Container): Promise<ApiKeyOperations> {
  const [stores, credentials, clock] = await Promise.all([
    container.getAsync(s.access),
    container.getAsync(s.credentials),
    container.getAsync(s.clock),
  ]);
  const { keys } = stores;
  await adoptKeys(stores);
  return {
    create: (asked) => createKey(stores, credentials, clock, asked),
    list: () => keys.list(),
    revoke: (name) => revokeKey(stores, clock, name),
  };
}

/** Operations that this process performs; other operators see `doing` while it holds a lease. */
export async function operationsOf(container: Container, doing: string): Promise<Operations> {
  const projections = await Promise.all(
    projectionNames.map(async (name) => [name, await pipelineOf(container, name)] as const),
  );
  const [ids, source, tables, outcomes, directory, retention, erased] = await Promise.all([
    container.getAsync(s.ids),
    container.getAsync(s.telemetrySource),
    container.getAsync(s.auditTables),
    container.getAsync(s.auditOutcomes),
    container.getAsync(s.directory),
    container.getAsync(s.retention),
    container.getAsync(s.erasedDevices),
  ]);
  return operations(
    Object.fromEntries(projections) as Record<ProjectionName, ProjectionPipeline>,
    await replayPorts(container),
    { source, tables, outcomes, retentionLookup: () => retentionLookup(retention, directory, erased) },
    directory,
    leaseOwner(doing, ids.uuidV7()),
  );
}

async function deviceAuditOf(container: Container): Promise<DeviceAudit> {
  const [eventStore, source, registry, discarded, devices, readModels, control, ids] = await Promise.all([
    container.getAsync(s.eventStore),
    container.getAsync(s.deviceSource),
    container.getAsync(s.registry),
    container.getAsync(s.discardedEvents),
    container.getAsync(s.deviceQueries),
    container.getAsync(s.readModels),
    container.getAsync(s.control),
    container.getAsync(s.ids),
  ]);
  const ports = { eventStore, source, registry, discarded, devices, readModels, control, ids };
  return deviceAudit(ports, `device audit ${ids.uuidV7()}`);
}
