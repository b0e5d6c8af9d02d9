import { ContainerModule, type ContainerModuleLoadOptions, type ServiceIdentifier } from 'inversify';
import { assertWritable } from '../../application/ports/storage.ts';
import { alarmStream } from '../../domain/detection/alarm.ts';
import { hookStream } from '../../domain/detection/hook.ts';
import { ruleStream } from '../../domain/detection/rule.ts';
import { liveQueryStream } from '../../domain/live-query.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { diskOf } from '../../infrastructure/folder.ts';
import { sqlApiKeys } from '../../infrastructure/sql/api-keys.ts';
import { sqliteApiKeys } from '../../infrastructure/sqlite/api-keys.ts';
import { SqliteSql } from '../../infrastructure/sqlite/database.ts';
import {
  type Creation,
  dataFiles,
  openSqliteFile,
  telemetryFile,
} from '../../infrastructure/sqlite/database-file.ts';
import { sqliteEventSource } from '../../infrastructure/sqlite/event-source.ts';
import { eventsFile, SqliteEventStore } from '../../infrastructure/sqlite/event-store.ts';
import { writeAheadLogOf } from '../../infrastructure/sqlite/file-size.ts';
import { KnownDamage } from '../../infrastructure/sqlite/known-damage.ts';
import { SqliteTelemetryLog } from '../../infrastructure/sqlite/telemetry-log.ts';
import { sqliteTelemetrySource } from '../../infrastructure/sqlite/telemetry-source.ts';
import { closeOnDeactivation } from './process.ts';
import { services as s } from './services.ts';

const own = <T>(name: string) => Symbol(name) as ServiceIdentifier<T>;
const eventStoreId = own<SqliteEventStore>('SqliteEventStore');
const damage = {
  events: own<KnownDamage>('damage of events.db'),
  telemetry: own<KnownDamage>('damage of telemetry.db'),
  readModels: own<KnownDamage>('damage of read-models.db'),
} as const;

/** Nothing but the start of a process makes files: one that is missing later was deleted. */
const create = false;

/** Makes the logs' files that are missing. Throws `StartupError`. */
export function makeLogFiles({ EVENTSTORE_URL, KAFKA_BROKERS, DATA_DIR }: Config): void {
  const { events, telemetry } = dataFiles(DATA_DIR);
  if (EVENTSTORE_URL === undefined) openSqliteFile(eventsFile(events)).close();
  if (KAFKA_BROKERS === undefined) openSqliteFile(telemetryFile(telemetry)).close();
}

export const openEventFile = ({ DATA_DIR }: Config): SqliteEventStore =>
  new SqliteEventStore(dataFiles(DATA_DIR, { create }).events, { create });

export const openTelemetryFile = ({ DATA_DIR, BATCH_SIZE }: Config) =>
  sqliteTelemetrySource(dataFiles(DATA_DIR, { create }).telemetry, { batchEvents: BATCH_SIZE, create });

/** Logged when it is met, by whichever thread. */
function bindDamage(
  bind: ContainerModuleLoadOptions['bind'],
  id: ServiceIdentifier<KnownDamage>,
  path: string,
): void {
  bind(id)
    .toResolvedValue(
      (log) => new KnownDamage(path, (reason) => log.error({ reason }, 'A file is damaged')),
      [s.log],
    )
    .onDeactivation(closeOnDeactivation);
}

/** That a file can be asked, and that no thread has met damage in it. */
const fileCheck = (name: string, known: KnownDamage, ask: () => Promise<unknown>) => ({
  name,
  check: async () => {
    known.assertNone();
    await ask();
  },
});

export const embeddedDisk = (config: Config): ContainerModule =>
  new ContainerModule(({ bind }) => {
    bind(s.disk).toDynamicValue(() => diskOf(config.DATA_DIR, config.DISK_RESERVE));
    bind(s.check).toResolvedValue(
      (disk) => ({ name: 'disk', check: async () => assertWritable(disk) }),
      [s.disk],
    );
  });

export const embeddedEventStore = (config: Config): ContainerModule =>
  new ContainerModule(({ bind }) => {
    const { events } = dataFiles(config.DATA_DIR, { create });
    bind(eventStoreId)
      .toDynamicValue(() => openEventFile(config))
      .onDeactivation(closeOnDeactivation);
    bind(s.plainEventStore).toResolvedValue((store) => store, [eventStoreId]);
    bind(s.eventEraser).toResolvedValue((store) => store, [eventStoreId]);
    bind(s.accessMarker).toResolvedValue((store) => store, [eventStoreId]);
    bind(s.deviceSource)
      .toDynamicValue(() => sqliteEventSource(events, { batchEvents: config.BATCH_SIZE, create }))
      .onDeactivation(closeOnDeactivation);
    bind(s.ruleSource)
      .toDynamicValue(() => sqliteEventSource(events, { prefix: ruleStream(''), create }))
      .onDeactivation(closeOnDeactivation);
    bind(s.hookSource)
      .toDynamicValue(() => sqliteEventSource(events, { prefix: hookStream(''), create }))
      .onDeactivation(closeOnDeactivation);
    bind(s.liveQuerySource)
      .toDynamicValue(() => sqliteEventSource(events, { prefix: liveQueryStream(''), create }))
      .onDeactivation(closeOnDeactivation);
    bind(s.alarmSource)
      .toDynamicValue(() => sqliteEventSource(events, { prefix: alarmStream(''), create }))
      .onDeactivation(closeOnDeactivation);
    bindDamage(bind, damage.events, events);
    bind(s.check).toResolvedValue(
      (source, known) => fileCheck('eventStore', known, () => source.ends()),
      [s.deviceSource, damage.events],
    );
  });

export const embeddedTelemetryLog = (config: Config): ContainerModule =>
  new ContainerModule(({ bind }) => {
    const { telemetry } = dataFiles(config.DATA_DIR, { create });
    bind(s.plainTelemetryLog)
      .toDynamicValue(() => new SqliteTelemetryLog(telemetry, { create }))
      .onDeactivation(closeOnDeactivation);
    bind(s.telemetrySource)
      .toDynamicValue(() => openTelemetryFile(config))
      .onDeactivation(closeOnDeactivation);
    bindDamage(bind, damage.telemetry, telemetry);
    bind(s.check).toResolvedValue(
      (source, known) => fileCheck('telemetryLog', known, () => source.ends()),
      [s.telemetrySource, damage.telemetry],
    );
  });

export const embeddedReadModels = (config: Config, creation: Creation): ContainerModule =>
  new ContainerModule(({ bind }) => {
    const { readModels, access } = dataFiles(config.DATA_DIR, creation);
    bind(s.apiKeys).toDynamicValue(() => sqliteApiKeys(access));
    // Opened each time it is asked: once another was put in the place of a damaged one, all is well.
    bind(s.check).toResolvedValue(
      (keys) => ({
        name: 'apiKeys',
        check: async () => {
          await keys.list();
        },
      }),
      [s.apiKeys],
    );
    bind(s.olderApiKeys).toResolvedValue(sqlApiKeys, [s.database]);
    bind(s.writeAheadLog).toDynamicValue(() => writeAheadLogOf(readModels));
    bind(s.database)
      .toDynamicValue(
        () => new SqliteSql(readModels, { ...creation, writerCache: config.PROJECTOR_CACHE / 2 }),
      )
      .onDeactivation(closeOnDeactivation);
    bind(s.queryDatabase)
      .toResolvedValue(() => new SqliteSql(readModels, { readOnly: true }), [])
      .onDeactivation(closeOnDeactivation);
    bindDamage(bind, damage.readModels, readModels);
    bind(s.check).toResolvedValue(
      (db, known) => fileCheck('readModels', known, () => db.all('SELECT 1')),
      [s.queryDatabase, damage.readModels],
    );
  });
