import type { ServiceIdentifier } from 'inversify';
import type { Registry } from 'prom-client';
import type { AccessStores, ApiKeyCache } from '../../application/api-keys.ts';
import type { Alarms } from '../../application/detection/alarms.ts';
import type { DevicePeriods } from '../../application/detection/device-periods.ts';
import type { FollowedEvents } from '../../application/detection/followed-events.ts';
import type { Hooks } from '../../application/detection/hooks.ts';
import type { RuleBook } from '../../application/detection/rule-book.ts';
import type { Rules } from '../../application/detection/rules.ts';
import type { DeviceCommands, EraseDevice } from '../../application/devices/device-commands.ts';
import type { DeviceHistory, DiscardedEvents } from '../../application/devices/device-stream.ts';
import type { SavedQueries } from '../../application/live/saved-queries.ts';
import type { AccessMarker, ApiKeys, Credentials } from '../../application/ports/api-keys.ts';
import type { AuditOutcomes, AuditTables } from '../../application/ports/audit.ts';
import type { Calendar } from '../../application/ports/calendar.ts';
import type { DeadLetterFeed, DeadLetters } from '../../application/ports/dead-letters.ts';
import type { AlarmQueries, AlarmRecords } from '../../application/ports/detection.ts';
import type { EventPlaces } from '../../application/ports/event-places.ts';
import type { EventRegistry } from '../../application/ports/event-registry.ts';
import type { EventSource, PartitionCounts } from '../../application/ports/event-source.ts';
import type { EventEraser, EventStore, RecordedEvent } from '../../application/ports/event-store.ts';
import type { ExpiredReadings, ProjectionControl } from '../../application/ports/generations.ts';
import type { HookDeliveries, HookSender } from '../../application/ports/hooks.ts';
import type { DeviceQueries, ProgressQueries, TelemetryQueries } from '../../application/ports/queries.ts';
import type { ReadModels } from '../../application/ports/read-models.ts';
import type { ErasedDevices, RetentionRecords, RetentionTables } from '../../application/ports/retention.ts';
import type { Disk, WriteAheadLog } from '../../application/ports/storage.ts';
import type { Clock, Ids, Log } from '../../application/ports/system.ts';
import type { TelemetryLog, TelemetryRecord } from '../../application/ports/telemetry-log.ts';
import type { ProgressReader } from '../../application/progress.ts';
import type { ProjectionName } from '../../application/projections/projection.ts';
import type { CurrentRetention } from '../../application/retention/policy.ts';
import type { TelemetryBuckets } from '../../application/telemetry/buckets.ts';
import type { IngestTelemetry, RetractTelemetry } from '../../application/telemetry/ingest.ts';
import type { CachedDeviceDirectory } from '../../infrastructure/cached-device-directory.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import type { Connections, Dependency } from '../../infrastructure/metrics/process-metrics.ts';
import type { ProjectorMetrics } from '../../infrastructure/metrics/projector-metrics.ts';
import type { consumerMetrics } from '../../infrastructure/metrics/telemetry-log-metrics.ts';
import type { SqlDatabase, SqlQueries } from '../../infrastructure/sql/sql.ts';
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

  /** Only in roles, as all that measures. */
  metrics: id<Registry>('Metrics'),
  projectorMetrics: id<ProjectorMetrics>('ProjectorMetrics'),
  consumerMetrics: id<ReturnType<typeof consumerMetrics>>('ConsumerMetrics'),
  meterLog: id<(log: TelemetryLog) => TelemetryLog>('MeterLog'),
  meterQueries: id<(sql: SqlQueries) => SqlQueries>('MeterQueries'),

  /** The adapters without what wraps them; nobody but the container asks for these. */
  plainEventStore: id<EventStore>('PlainEventStore'),
  plainTelemetryLog: id<TelemetryLog>('PlainTelemetryLog'),
  eventStore: id<EventStore>('EventStore'),
  eventEraser: id<EventEraser>('EventEraser'),
  deviceSource: id<EventSource<RecordedEvent>>('DeviceSource'),
  eventPlaces: id<EventPlaces>('EventPlaces'),
  /** The events of rules. */
  ruleSource: id<EventSource<RecordedEvent>>('RuleSource'),
  hookSource: id<EventSource<RecordedEvent>>('HookSource'),
  liveQuerySource: id<EventSource<RecordedEvent>>('LiveQuerySource'),
  alarmSource: id<EventSource<RecordedEvent>>('AlarmSource'),
  telemetryLog: id<TelemetryLog>('TelemetryLog'),
  telemetrySource: id<EventSource<TelemetryRecord>>('TelemetrySource'),
  /** Where projectors write. */
  database: id<SqlDatabase>('Database'),
  /** Where queries read. */
  queryDatabase: id<SqlDatabase>('QueryDatabase'),

  readModels: id<ReadModels>('ReadModels'),
  deviceQueries: id<DeviceQueries>('DeviceQueries'),
  telemetryQueries: id<TelemetryQueries>('TelemetryQueries'),
  progressQueries: id<ProgressQueries>('ProgressQueries'),
  directory: id<CachedDeviceDirectory>('DeviceDirectory'),

  /** Of the embedded files; only where there are some. */
  disk: id<Disk>('Disk'),
  writeAheadLog: id<WriteAheadLog>('WriteAheadLog'),
  apiKeys: id<ApiKeys>('ApiKeys'),
  /** Where an older release had them; only where that was elsewhere. */
  olderApiKeys: id<ApiKeys>('OlderApiKeys'),
  accessMarker: id<AccessMarker>('AccessMarker'),
  access: id<AccessStores>('AccessStores'),
  /** What detection follows of rules and devices, one for each; closed again, they stay closed. */
  followedEvents: id<Pick<FollowedEvents, 'close'>>('FollowedEvents'),
  ruleBook: id<RuleBook>('RuleBook'),
  rules: id<Rules>('Rules'),
  alarms: id<Alarms>('Alarms'),
  alarmQueries: id<AlarmQueries>('AlarmQueries'),
  alarmRecords: id<AlarmRecords>('AlarmRecords'),
  hooks: id<Hooks>('Hooks'),
  liveQueries: id<SavedQueries>('LiveQueries'),
  hookDeliveries: id<HookDeliveries>('HookDeliveries'),
  hookSender: id<HookSender>('HookSender'),
  devicePeriods: id<DevicePeriods>('DevicePeriods'),
  keyRing: id<ApiKeyCache>('KeyRing'),
  commands: id<DeviceCommands>('DeviceCommands'),
  discardedEvents: id<DiscardedEvents>('DiscardedEvents'),
  history: id<DeviceHistory>('DeviceHistory'),
  ingest: id<IngestTelemetry>('IngestTelemetry'),
  erase: id<EraseDevice>('EraseDevice'),
  erasedDevices: id<ErasedDevices>('ErasedDevices'),
  retract: id<RetractTelemetry>('RetractTelemetry'),
  calendar: id<Calendar>('Calendar'),
  buckets: id<TelemetryBuckets>('TelemetryBuckets'),
  freshness: id<ProgressReader>('Freshness'),
  /** Versions of the projections' code; only where they are not this release's. */
  codeVersions: id<Readonly<Record<ProjectionName, number>>>('CodeVersions'),
  control: id<ProjectionControl>('ProjectionControl'),
  deadLetters: id<DeadLetters>('DeadLetters'),
  /** Where the telemetry log is one that others watch. */
  deadLetterFeed: id<DeadLetterFeed>('DeadLetterFeed'),
  historyGap: id<ExpiredReadings>('HistoryGap'),
  retentionRecords: id<RetentionRecords>('RetentionRecords'),
  keptTables: id<RetentionTables>('KeptTables'),
  retention: id<CurrentRetention>('CurrentRetention'),
  partitionCounts: id<PartitionCounts>('PartitionCounts'),
  auditTables: id<AuditTables>('AuditTables'),
  auditOutcomes: id<AuditOutcomes>('AuditOutcomes'),
  /** Only in roles, where an endpoint for traces is configured. */
  tracing: id<ProcessTracing>('Tracing'),
  /** One for each dependency; the call rejects when it cannot be used. */
  check: id<Dependency>('Check'),
  /** What must be so before a role starts; throws a `StartupError` that says what to do. Only where there is such. */
  startCheck: id<() => Promise<void>>('StartCheck'),
  /** One for each database that this process has connections to; none when it has files. */
  connections: id<{ readonly name: string; connections(): Connections }>('Connections'),
} as const;
