import type { ServiceIdentifier } from 'inversify';
import type { Registry } from 'prom-client';
import type { DeviceCommands } from '../../application/device-commands.ts';
import type { DeviceHistory } from '../../application/device-history.ts';
import type { EraseDevice } from '../../application/erase-device.ts';
import type { Freshness } from '../../application/freshness.ts';
import type { IngestTelemetry } from '../../application/ingest-telemetry.ts';
import type { KeyRing } from '../../application/key-ring.ts';
import type { ApiKeys } from '../../application/ports/api-keys.ts';
import type { AuditOutcomes } from '../../application/ports/audit-outcomes.ts';
import type { AuditTables } from '../../application/ports/audit-tables.ts';
import type { Calendar } from '../../application/ports/calendar.ts';
import type { Clock } from '../../application/ports/clock.ts';
import type { Credentials } from '../../application/ports/credentials.ts';
import type { DeadLetterFeed } from '../../application/ports/dead-letter-feed.ts';
import type { DeadLetters } from '../../application/ports/dead-letters.ts';
import type { ErasedDevices } from '../../application/ports/erased-devices.ts';
import type { EventRegistry } from '../../application/ports/event-registry.ts';
import type { EventSource } from '../../application/ports/event-source.ts';
import type { EventEraser, EventStore, RecordedEvent } from '../../application/ports/event-store.ts';
import type { HistoryGap } from '../../application/ports/history-gap.ts';
import type { Ids } from '../../application/ports/ids.ts';
import type { Log } from '../../application/ports/log.ts';
import type { ProjectionControl } from '../../application/ports/projection-control.ts';
import type { DeviceQueries, ProgressQueries, TelemetryQueries } from '../../application/ports/queries.ts';
import type { ReadModels } from '../../application/ports/read-models.ts';
import type { KeptTables, RetentionRecords } from '../../application/ports/retention.ts';
import type { LoggedTelemetry, TelemetryLog } from '../../application/ports/telemetry-log.ts';
import type { CurrentRetention } from '../../application/retention/current-retention.ts';
import type { RetractTelemetry } from '../../application/retract-telemetry.ts';
import type { TelemetryAsRecorded } from '../../application/telemetry-as-recorded.ts';
import type { TelemetryBuckets } from '../../application/telemetry-buckets.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import type { CachedDeviceDirectory } from '../../infrastructure/directory/cached-device-directory.ts';
import type { Connections, Dependency } from '../../infrastructure/metrics/dependency-metrics.ts';
import type { ProjectorMetrics } from '../../infrastructure/metrics/projector-metrics.ts';
import type { SqlDatabase } from '../../infrastructure/sql/sql.ts';
import type { ProcessTracing } from '../../infrastructure/tracing/process-tracing.ts';

const id = <T>(name: string) => Symbol(name) as ServiceIdentifier<T>;

/** Everything the container can give, by the role it plays. */
export const services = {
  config: id<Config>('Config'),
  log: id<Log>('Log'),
  clock: id<Clock>('Clock'),
  ids: id<Ids>('Ids'),
  credentials: id<Credentials>('Credentials'),
  registry: id<EventRegistry>('EventRegistry'),
  metrics: id<Registry>('Metrics'),
  projectorMetrics: id<ProjectorMetrics>('ProjectorMetrics'),

  eventStore: id<EventStore>('EventStore'),
  eventEraser: id<EventEraser>('EventEraser'),
  deviceSource: id<EventSource<RecordedEvent>>('DeviceSource'),
  telemetryLog: id<TelemetryLog>('TelemetryLog'),
  telemetrySource: id<EventSource<LoggedTelemetry>>('TelemetrySource'),
  /** Where projectors write. */
  database: id<SqlDatabase>('Database'),
  /** Where queries read. */
  queryDatabase: id<SqlDatabase>('QueryDatabase'),

  readModels: id<ReadModels>('ReadModels'),
  deviceQueries: id<DeviceQueries>('DeviceQueries'),
  telemetryQueries: id<TelemetryQueries>('TelemetryQueries'),
  progressQueries: id<ProgressQueries>('ProgressQueries'),
  directory: id<CachedDeviceDirectory>('DeviceDirectory'),

  apiKeys: id<ApiKeys>('ApiKeys'),
  keyRing: id<KeyRing>('KeyRing'),
  commands: id<DeviceCommands>('DeviceCommands'),
  history: id<DeviceHistory>('DeviceHistory'),
  ingest: id<IngestTelemetry>('IngestTelemetry'),
  erase: id<EraseDevice>('EraseDevice'),
  erasedDevices: id<ErasedDevices>('ErasedDevices'),
  retract: id<RetractTelemetry>('RetractTelemetry'),
  asRecorded: id<TelemetryAsRecorded>('TelemetryAsRecorded'),
  calendar: id<Calendar>('Calendar'),
  buckets: id<TelemetryBuckets>('TelemetryBuckets'),
  freshness: id<Freshness>('Freshness'),
  control: id<ProjectionControl>('ProjectionControl'),
  deadLetters: id<DeadLetters>('DeadLetters'),
  /** Where the telemetry log is one that others watch. */
  deadLetterFeed: id<DeadLetterFeed>('DeadLetterFeed'),
  historyGap: id<HistoryGap>('HistoryGap'),
  retentionRecords: id<RetentionRecords>('RetentionRecords'),
  keptTables: id<KeptTables>('KeptTables'),
  retention: id<CurrentRetention>('CurrentRetention'),
  auditTables: id<AuditTables>('AuditTables'),
  auditOutcomes: id<AuditOutcomes>('AuditOutcomes'),
  /** Only in roles, where an endpoint for traces is configured. */
  tracing: id<ProcessTracing>('Tracing'),
  /** One for each dependency; the call rejects when it cannot be used. */
  check: id<Dependency>('Check'),
  /** One for each database that this process has connections to; none when it has files. */
  connections: id<{ readonly name: string; connections(): Connections }>('Connections'),
} as const;
