import {
  Container,
  ContainerModule,
  type ContainerModuleLoadOptions,
  type ResolutionContext,
  type ServiceIdentifier,
} from 'inversify';
import { keyRing } from '../../application/api-keys.ts';
import { alarms } from '../../application/detection/alarms.ts';
import { DevicePeriods } from '../../application/detection/device-periods.ts';
import { FollowedEvents } from '../../application/detection/followed-events.ts';
import { hooks } from '../../application/detection/hooks.ts';
import { builtInRule, RuleBook } from '../../application/detection/rule-book.ts';
import { rules } from '../../application/detection/rules.ts';
import { deviceCommands, eraseDevice } from '../../application/devices/device-commands.ts';
import { deviceHistory } from '../../application/devices/device-stream.ts';
import { logWithReserve, storeWithReserve } from '../../application/disk-reserve.ts';
import { savedQueries } from '../../application/live/saved-queries.ts';
import { discardedDeviceEvents } from '../../application/operations/dead-letters.ts';
import type { Log } from '../../application/ports/system.ts';
import type { TelemetryLog } from '../../application/ports/telemetry-log.ts';
import { progressReader } from '../../application/progress.ts';
import { currentRetention } from '../../application/retention/policy.ts';
import { withBackpressure } from '../../application/telemetry/backpressure.ts';
import { telemetryBuckets } from '../../application/telemetry/buckets.ts';
import { ingestTelemetry, retractTelemetry } from '../../application/telemetry/ingest.ts';
import { CachedDeviceDirectory } from '../../infrastructure/cached-device-directory.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { eventRegistry } from '../../infrastructure/event-registry.ts';
import { hookSender } from '../../infrastructure/hook-sender.ts';
import { newHookSecret, randomCredentials, uuidIds } from '../../infrastructure/identity.ts';
import { luxonCalendar } from '../../infrastructure/luxon-calendar.ts';
import { RecentStreamCache } from '../../infrastructure/recent-streams.ts';
import { sqlAlarmQueries, sqlAlarmRecords } from '../../infrastructure/sql/alarms.ts';
import { sqlAuditOutcomes, sqlAuditTables } from '../../infrastructure/sql/audit.ts';
import { sqlDeadLetters } from '../../infrastructure/sql/dead-letters.ts';
import { sqlDeviceQueries } from '../../infrastructure/sql/device-queries.ts';
import { sqlErasedDevices } from '../../infrastructure/sql/erased-devices.ts';
import { sqlEventPlaces } from '../../infrastructure/sql/event-places.ts';
import { sqlHistoryGap } from '../../infrastructure/sql/expired-readings.ts';
import { sqlProjectionControl } from '../../infrastructure/sql/generations.ts';
import { sqlHookDeliveries } from '../../infrastructure/sql/hook-deliveries.ts';
import { sqlProgressQueries } from '../../infrastructure/sql/progress-queries.ts';
import { sqlPartitionCounts, sqlReadModels } from '../../infrastructure/sql/read-models.ts';
import { sqlRetentionRecords } from '../../infrastructure/sql/retention.ts';
import { sqlRetentionTables } from '../../infrastructure/sql/retention-sweep.ts';
import { migrateReadModels } from '../../infrastructure/sql/schema.ts';
import type { SqlQueries } from '../../infrastructure/sql/sql.ts';
import { sqlTelemetryQueries } from '../../infrastructure/sql/telemetry-queries.ts';
import {
  embeddedDisk,
  embeddedEventStore,
  embeddedReadModels,
  embeddedTelemetryLog,
  makeLogFiles,
} from './embedded.ts';
import { requireLogFiles } from './log-checks.ts';
import { closeOnDeactivation } from './process.ts';
import { services as s } from './services.ts';

export type ContainerOptions = {
  /** The role of a server, whose metrics are read, and which is traced where an endpoint is configured. */
  readonly role?: string;
  /** `false` in a thread whose process has made the files, and migrated the read models, already. */
  readonly migrate?: boolean;
};

/** Their clients are much of what there is to load, and a process whose stores are embedded needs none of them. */
const servers = () => import('./distributed.ts');

/** Loads the modules of the adapters that a configuration chooses, and opens nothing. */
export async function loadAdapters({ EVENTSTORE_URL, KAFKA_BROKERS, MYSQL_URL }: Config): Promise<void> {
  if (EVENTSTORE_URL ?? KAFKA_BROKERS ?? MYSQL_URL) await servers();
}

/**
 * The object graph for a configuration, its read models migrated to this release. Each port is chosen by itself: the
 * server that its variable names, or the embedded file. `unbindAllAsync` closes all that was opened.
 */
export async function openContainer(
  config: Config,
  log: Log,
  { role, migrate = true }: ContainerOptions = {},
): Promise<Container> {
  const { EVENTSTORE_URL, KAFKA_BROKERS, MYSQL_URL, OTEL_EXPORTER_OTLP_ENDPOINT } = config;
  const container = new Container({ defaultScope: 'Singleton' });
  container.load(
    applicationModule(config, log),
    EVENTSTORE_URL === undefined
      ? embeddedEventStore(config)
      : (await servers()).eventStoreDb(EVENTSTORE_URL, log),
    KAFKA_BROKERS === undefined
      ? embeddedTelemetryLog(config)
      : (await servers()).kafka(KAFKA_BROKERS, config, log),
    MYSQL_URL === undefined
      ? embeddedReadModels(config, { create: migrate })
      : (await servers()).mysql(MYSQL_URL, config, log),
  );
  if ([EVENTSTORE_URL, KAFKA_BROKERS, MYSQL_URL].includes(undefined)) container.load(embeddedDisk(config));
  if (role !== undefined) {
    const { metering } = await import('./metering.ts');
    container.load(metering());
  }
  if (role !== undefined && OTEL_EXPORTER_OTLP_ENDPOINT !== undefined) {
    const { tracing } = await import('./tracing.ts');
    container.load(tracing(OTEL_EXPORTER_OTLP_ENDPOINT, role, config, log));
  }
  try {
    if (migrate) {
      const database = container.get(s.database);
      await migrateReadModels(database, Date.now());
      // Not every process writes again, and an import does so after all else: the heap of a thread is 11 MiB.
      await database.rest?.();
      await requireLogFiles(config, database);
      makeLogFiles(config);
    }
    return container;
  } catch (error) {
    await container.unbindAllAsync();
    throw error;
  }
}

type Wrapper<Port> = (port: Port) => Port;

/** `wrappers` from the innermost to the outermost; those that are `undefined` are not configured. */
const wrap = <Port>(port: Port, wrappers: readonly (Wrapper<Port> | undefined)[]): Port =>
  wrappers.reduce((wrapped, wrapper) => wrapper?.(wrapped) ?? wrapped, port);

/** What surrounds the adapters of a port, the same whichever server or file they use. */
function bindWrapped(bind: Bind, config: Config): void {
  bind(s.eventStore).toDynamicValue((context) => {
    const tracing = context.get(s.tracing, { optional: true });
    const disk = context.get(s.disk, { optional: true });
    return wrap(context.get(s.plainEventStore), [
      config.EVENTSTORE_URL === undefined ? disk && ((store) => storeWithReserve(store, disk)) : undefined,
      tracing?.eventStore,
    ]);
  });
  bind(s.telemetryLog).toDynamicValue(async (context) => {
    const tracing = context.get(s.tracing, { optional: true });
    const disk = context.get(s.disk, { optional: true });
    return wrap(await context.getAsync(s.plainTelemetryLog), [
      config.KAFKA_BROKERS === undefined ? disk && ((log) => logWithReserve(log, disk)) : undefined,
      context.get(s.meterLog, { optional: true }),
      await backpressure(context, config),
      tracing?.telemetryLog,
    ]);
  });
}

/** Where projectors share the machine with ingest. */
async function backpressure(
  context: ResolutionContext,
  { KAFKA_BROKERS, BACKLOG_LIMIT }: Config,
): Promise<Wrapper<TelemetryLog> | undefined> {
  if (KAFKA_BROKERS !== undefined || BACKLOG_LIMIT === 0) return undefined;
  const progress = await context.getAsync(s.freshness);
  const status = () => progress.status(['telemetry']);
  return (log) => withBackpressure(log, status, BACKLOG_LIMIT, context.get(s.clock), context.get(s.log));
}

/** Some tens of thousands of devices whose streams are short. */
const recentStreamBytes = 64 * 1024 * 1024;

/** The database that queries read, with their durations measured where metrics are. */
const queries = Symbol('Queries') as ServiceIdentifier<SqlQueries>;

const ruleEvents = Symbol('RuleEvents') as ServiceIdentifier<FollowedEvents>;
const hookEvents = Symbol('HookEvents') as ServiceIdentifier<FollowedEvents>;
const liveQueryEvents = Symbol('LiveQueryEvents') as ServiceIdentifier<FollowedEvents>;
const deviceEvents = Symbol('DeviceEvents') as ServiceIdentifier<FollowedEvents>;

type Bind = ContainerModuleLoadOptions['bind'];

/** The application over its ports; which adapters stand behind them is decided in `embedded.ts` and `distributed.ts`. */
export const applicationModule = (config: Config, log: Log): ContainerModule =>
  new ContainerModule(({ bind }) => {
    bind(s.config).toConstantValue(config);
    bind(s.log).toConstantValue(log);
    bind(s.clock).toConstantValue({ now: Date.now });
    bind(s.ids).toConstantValue(uuidIds);
    bind(s.credentials).toConstantValue(randomCredentials);
    bind(s.registry).toConstantValue(eventRegistry);

    bindWrapped(bind, config);
    bindReadModels(bind);
    bindDevices(bind, config);
    bindTelemetry(bind);
    bindDetection(bind, config);
    bind(s.access).toDynamicValue((context) => ({
      keys: context.get(s.apiKeys),
      marker: context.get(s.accessMarker),
      older: context.get(s.olderApiKeys, { optional: true }),
    }));
    bind(s.keyRing).toResolvedValue(
      (stores, credentials, clock, log) => keyRing(stores, credentials, clock, log, config.REQUIRE_KEYS),
      [s.access, s.credentials, s.clock, s.log],
    );
  });

function bindReadModels(bind: Bind): void {
  bind(s.readModels).toResolvedValue(sqlReadModels, [s.database, s.clock]);
  bind(s.control).toResolvedValue(sqlProjectionControl, [s.database, s.clock]);
  bind(s.deadLetters).toResolvedValue(sqlDeadLetters, [s.database]);
  bind(s.historyGap).toResolvedValue(sqlHistoryGap, [s.database]);
  bind(s.retentionRecords).toResolvedValue(
    (db, clock) => sqlRetentionRecords(db, clock.now),
    [s.database, s.clock],
  );
  bind(s.eventPlaces).toResolvedValue(sqlEventPlaces, [s.database, s.clock]);
  bind(s.partitionCounts).toResolvedValue(sqlPartitionCounts, [s.database, s.clock]);
  bind(s.keptTables).toResolvedValue(sqlRetentionTables, [s.database]);
  bind(s.retention).toResolvedValue(currentRetention, [s.retentionRecords, s.clock]);
  bind(s.auditTables).toResolvedValue(sqlAuditTables, [s.database]);
  bind(s.auditOutcomes).toResolvedValue(sqlAuditOutcomes, [s.database]);
  bind(queries).toDynamicValue((context) =>
    wrap<SqlQueries>(context.get(s.queryDatabase), [context.get(s.meterQueries, { optional: true })]),
  );
  bind(s.deviceQueries).toResolvedValue(sqlDeviceQueries, [queries]);
  bind(s.telemetryQueries).toResolvedValue(sqlTelemetryQueries, [queries]);
  bind(s.progressQueries).toResolvedValue(sqlProgressQueries, [queries]);
  bind(s.alarmQueries).toResolvedValue(sqlAlarmQueries, [queries]);
  bind(s.alarmRecords).toResolvedValue(sqlAlarmRecords, [s.database]);
}

function bindDevices(bind: Bind, config: Config): void {
  // Embedded streams are read faster than they would be found to be unchanged.
  const recent = config.EVENTSTORE_URL === undefined ? undefined : new RecentStreamCache(recentStreamBytes);
  bind(s.directory).toResolvedValue(
    (eventStore, registry, discarded) =>
      new CachedDeviceDirectory(eventStore, registry, config.DIRECTORY_SIZE, discarded, recent),
    [s.eventStore, s.registry, s.discardedEvents],
  );
  bind(s.commands).toResolvedValue(
    (eventStore, registry, ids, clock, directory, discarded) => {
      const changed = (deviceId: string, revision: number) => directory.changed(deviceId, revision);
      const options = { discarded, ...(recent && { recent }) };
      return deviceCommands(eventStore, registry, ids, clock, changed, options);
    },
    [s.eventStore, s.registry, s.ids, s.clock, s.directory, s.discardedEvents],
  );
  bind(s.discardedEvents).toResolvedValue(discardedDeviceEvents, [s.control, s.deadLetters]);
  bind(s.history).toResolvedValue(
    (eventStore, registry, discarded) => deviceHistory(eventStore, registry, discarded, recent),
    [s.eventStore, s.registry, s.discardedEvents],
  );
  bind(s.erase).toResolvedValue(eraseDevice, [s.commands, s.eventEraser]);
  bind(s.erasedDevices).toResolvedValue(sqlErasedDevices, [s.database]);
}

function bindTelemetry(bind: Bind): void {
  bind(s.ingest).toResolvedValue(ingestTelemetry, [s.directory, s.telemetryLog, s.registry, s.ids, s.clock]);
  bind(s.retract).toResolvedValue(retractTelemetry, [
    s.directory,
    s.telemetryLog,
    s.registry,
    s.ids,
    s.clock,
  ]);
  bind(s.calendar).toDynamicValue(() => luxonCalendar());
  bind(s.buckets).toResolvedValue(telemetryBuckets, [s.telemetryQueries, s.calendar]);
  bind(s.freshness).toResolvedValue(
    (queries, devices, telemetry, clock) => progressReader(queries, { devices, telemetry }, clock),
    [s.progressQueries, s.deviceSource, s.telemetrySource, s.clock],
  );
}

/** Rules, the alarms that they raise, and the hooks that alarms are sent to. */
function bindDetection(bind: Bind, config: Config): void {
  bind(ruleEvents)
    .toResolvedValue(
      (source, ids, clock) => new FollowedEvents(source, `rules-${ids.uuidV7()}`, clock),
      [s.ruleSource, s.ids, s.clock],
    )
    .onDeactivation(closeOnDeactivation);
  bind(s.followedEvents).toResolvedValue((events) => events, [ruleEvents]);
  bind(s.followedEvents).toResolvedValue((events) => events, [deviceEvents]);
  bind(s.ruleBook).toResolvedValue(
    (events, registry) => new RuleBook(events, registry, config.DETECTION === 'all' ? [builtInRule] : []),
    [ruleEvents, s.registry],
  );
  bind(deviceEvents)
    .toResolvedValue(
      (source, ids, clock) => new FollowedEvents(source, `periods-${ids.uuidV7()}`, clock),
      [s.deviceSource, s.ids, s.clock],
    )
    .onDeactivation(closeOnDeactivation);
  bind(s.devicePeriods).toResolvedValue(
    (eventStore, registry, events) => new DevicePeriods(eventStore, registry, events),
    [s.eventStore, s.registry, deviceEvents],
  );

  bind(s.rules).toResolvedValue(rules, [s.eventStore, s.registry, s.ruleBook, s.ids, s.clock]);
  bind(hookEvents)
    .toResolvedValue(
      (source, ids, clock) => new FollowedEvents(source, `hooks-${ids.uuidV7()}`, clock),
      [s.hookSource, s.ids, s.clock],
    )
    .onDeactivation(closeOnDeactivation);
  bind(s.hooks).toResolvedValue(
    (eventStore, registry, events, ids, clock) =>
      hooks(eventStore, registry, events, ids, clock, newHookSecret),
    [s.eventStore, s.registry, hookEvents, s.ids, s.clock],
  );
  bind(liveQueryEvents)
    .toResolvedValue(
      (source, ids, clock) => new FollowedEvents(source, `live-queries-${ids.uuidV7()}`, clock),
      [s.liveQuerySource, s.ids, s.clock],
    )
    .onDeactivation(closeOnDeactivation);
  bind(s.liveQueries).toResolvedValue(savedQueries, [
    s.eventStore,
    s.registry,
    liveQueryEvents,
    s.ids,
    s.clock,
  ]);
  bind(s.hookDeliveries).toResolvedValue(sqlHookDeliveries, [s.database]);
  bind(s.hookSender).toDynamicValue(() => hookSender(config.HOOKS_ALLOW));
  bind(s.alarms).toDynamicValue(async (context) => {
    const [eventStore, registry, queries, records, telemetryLog, progress, ids, clock] = await Promise.all([
      context.getAsync(s.eventStore),
      context.getAsync(s.registry),
      context.getAsync(s.alarmQueries),
      context.getAsync(s.alarmRecords),
      context.getAsync(s.telemetryLog),
      context.getAsync(s.freshness),
      context.getAsync(s.ids),
      context.getAsync(s.clock),
    ]);
    return alarms({ eventStore, registry, queries, records, telemetryLog, progress, ids, clock });
  });
}
