import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { ContainerModule, type ServiceIdentifier } from 'inversify';
import type { Kafka } from 'kafkajs';
import type { EventPlaces } from '../../application/ports/event-places.ts';
import { OperatorNeeded, type PartitionCounts } from '../../application/ports/event-source.ts';
import type { Log } from '../../application/ports/system.ts';
import { alarmStream } from '../../domain/detection/alarm.ts';
import { hookStream } from '../../domain/detection/hook.ts';
import { ruleStream } from '../../domain/detection/rule.ts';
import { liveQueryStream } from '../../domain/live-query.ts';
import { type Config, fileNamedBy } from '../../infrastructure/config/config.ts';
import { eventStoreDbAccessMarker } from '../../infrastructure/eventstoredb/access-marker.ts';
import { EventStoreDbConnection } from '../../infrastructure/eventstoredb/connection.ts';
import { EventStoreDbEventSource } from '../../infrastructure/eventstoredb/event-source.ts';
import { EventStoreDbEventStore } from '../../infrastructure/eventstoredb/event-store.ts';
import { requireRights } from '../../infrastructure/eventstoredb/rights.ts';
import { type KafkaClientOptions, kafkaClient } from '../../infrastructure/kafka/client.ts';
import { deadLetterTopicOf, KafkaDeadLetterTopic } from '../../infrastructure/kafka/dead-letter-topic.ts';
import { AcknowledgingProducer } from '../../infrastructure/kafka/producer.ts';
import { KafkaTelemetryLog } from '../../infrastructure/kafka/telemetry-log.ts';
import { KafkaTelemetrySource } from '../../infrastructure/kafka/telemetry-source.ts';
import {
  type MigrationProgress,
  migrateTopic,
  type TopicMigration,
} from '../../infrastructure/kafka/topic-migration.ts';
import { KafkaTopicReader } from '../../infrastructure/kafka/topic-reader.ts';
import { ensureTopic, warnOfTopic } from '../../infrastructure/kafka/topics.ts';
import type { consumerMetrics } from '../../infrastructure/metrics/telemetry-log-metrics.ts';
import { type MysqlOptions, MysqlSql } from '../../infrastructure/mysql/database.ts';
import { sqlApiKeys } from '../../infrastructure/sql/api-keys.ts';
import { StartupError } from '../../infrastructure/startup-error.ts';
import { hasConsumed } from './log-checks.ts';
import { closeOnDeactivation } from './process.ts';
import { services as s } from './services.ts';

const own = <T>(name: string) => Symbol(name) as ServiceIdentifier<T>;
const connectionId = own<EventStoreDbConnection>('EventStoreDbConnection');
const eventStoreId = own<EventStoreDbEventStore>('EventStoreDbEventStore');
const kafkaId = own<Kafka>('Kafka');
const readerId = own<KafkaTopicReader>('KafkaTopicReader');

export const eventStoreDb = (url: string, log: Log): ContainerModule =>
  new ContainerModule(({ bind }) => {
    const sourceOfFew = (prefix: string) => (connection: EventStoreDbConnection, places: EventPlaces) =>
      new EventStoreDbEventSource(connection, log, { prefix, endsAtLeader: true, places });
    bind(connectionId)
      .toDynamicValue(() => connectionTo(url))
      .onDeactivation(closeOnDeactivation);
    bind(eventStoreId).toResolvedValue(
      (connection) => new EventStoreDbEventStore(connection),
      [connectionId],
    );
    bind(s.plainEventStore).toResolvedValue((store) => store, [eventStoreId]);
    bind(s.eventEraser).toResolvedValue((store) => store, [eventStoreId]);
    bind(s.accessMarker).toResolvedValue(eventStoreDbAccessMarker, [eventStoreId, s.ids, s.clock]);
    bind(s.startCheck).toResolvedValue((connection) => () => requireRights(connection, log), [connectionId]);
    bind(s.deviceSource).toResolvedValue(
      (connection) => new EventStoreDbEventSource(connection, log),
      [connectionId],
    );
    bind(s.ruleSource).toResolvedValue(sourceOfFew(ruleStream('')), [connectionId, s.eventPlaces]);
    bind(s.hookSource).toResolvedValue(sourceOfFew(hookStream('')), [connectionId, s.eventPlaces]);
    bind(s.liveQuerySource).toResolvedValue(sourceOfFew(liveQueryStream('')), [connectionId, s.eventPlaces]);
    bind(s.alarmSource).toResolvedValue(
      (connection) => new EventStoreDbEventSource(connection, log, { prefix: alarmStream('') }),
      [connectionId],
    );
    bind(s.check).toResolvedValue(
      (store) => ({ name: 'eventStore', check: () => store.check() }),
      [eventStoreId],
    );
  });

/** The files that the URL may name are read at once. */
function connectionTo(url: string): EventStoreDbConnection {
  try {
    return new EventStoreDbConnection(url);
  } catch (error) {
    throw new StartupError(`EVENTSTORE_URL cannot be used: ${(error as Error).message}`);
  }
}

function kafkaClients(brokers: string, config: Config, log: Log): () => Kafka {
  const security = kafkaSecurity(config);
  return () => kafkaClient({ brokers: brokers.split(','), ...security }, log);
}

const kafkaTelemetrySource = (
  newClient: () => Kafka,
  reader: KafkaTopicReader,
  { CONCURRENCY, BATCH_SIZE }: Config,
  log: Log,
  metrics: Partial<ReturnType<typeof consumerMetrics>> = {},
): KafkaTelemetrySource =>
  new KafkaTelemetrySource(
    newClient,
    reader,
    {
      concurrency: CONCURRENCY,
      batchSize: BATCH_SIZE,
      sessionTimeout: 10_000,
      stallAfter: 30_000,
      ...metrics,
    },
    log,
  );

/** The telemetry log alone, of a topic that is there already. */
export function openKafkaSource(brokers: string, config: Config, log: Log) {
  const newClient = kafkaClients(brokers, config, log);
  const reader = new KafkaTopicReader(newClient(), config.KAFKA_TOPIC);
  return { source: kafkaTelemetrySource(newClient, reader, config, log), close: () => reader.close() };
}

/** Copies the telemetry topic into another one. */
export function migrateKafkaTopic(
  brokers: string,
  config: Config,
  log: Log,
  { from, to, partitions, signal, onProgress }: TopicMigrationRequest,
): Promise<MigrationProgress> {
  const settings = {
    topic: to,
    partitions,
    replication: config.KAFKA_REPLICATION,
    minInSync: config.KAFKA_MIN_INSYNC,
    retention: config.KAFKA_RETENTION_MS,
  };
  const { KAFKA_GROUP: group, KAFKA_COMPRESSION: compression } = config;
  return migrateTopic(
    kafkaClients(brokers, config, log),
    { from: from ?? config.KAFKA_TOPIC, to: settings, group, compression, signal, onProgress },
    log,
  );
}

export type TopicMigrationRequest = Pick<TopicMigration, 'signal' | 'onProgress'> & {
  /** `KAFKA_TOPIC` when absent. */
  readonly from?: string | undefined;
  readonly to: string;
  readonly partitions: number;
};

/** The event store alone. */
export function openEventStoreDb(url: string) {
  const connection = connectionTo(url);
  return { store: new EventStoreDbEventStore(connection), close: () => connection.close() };
}

export const kafka = (brokers: string, config: Config, log: Log): ContainerModule =>
  new ContainerModule(({ bind }) => {
    const newClient = kafkaClients(brokers, config, log);
    const topic = {
      topic: config.KAFKA_TOPIC,
      partitions: config.KAFKA_PARTITIONS,
      replication: config.KAFKA_REPLICATION,
      minInSync: config.KAFKA_MIN_INSYNC,
      retention: config.KAFKA_RETENTION_MS,
    };
    bind(kafkaId).toResolvedValue(
      async (db) => {
        const client = newClient();
        const isMissed = await hasConsumed(db, 'telemetry');
        await ensureTopic(client, { ...topic, isMissed }, log);
        await warnOfTopic(client, topic, log);
        return client;
      },
      [s.database],
    );
    bind(s.deadLetterFeed)
      .toResolvedValue(
        async (client) => {
          await ensureTopic(
            client,
            { ...topic, topic: deadLetterTopicOf(config.KAFKA_TOPIC), partitions: 1 },
            log,
          );
          return new KafkaDeadLetterTopic(client, config.KAFKA_TOPIC);
        },
        [kafkaId],
      )
      .onDeactivation(closeOnDeactivation);
    bind(readerId)
      .toResolvedValue(
        async (client, counts) => pinned(new KafkaTopicReader(client, config.KAFKA_TOPIC), counts),
        [kafkaId, s.partitionCounts],
      )
      .onDeactivation(closeOnDeactivation);
    bind(s.plainTelemetryLog)
      .toResolvedValue(
        (client, reader) =>
          new KafkaTelemetryLog(
            new AcknowledgingProducer(client, config.KAFKA_TOPIC, config.KAFKA_COMPRESSION),
            reader,
            { linger: config.KAFKA_LINGER_MS, deadline: 10_000, bufferBytes: 64 * 1024 * 1024 },
            log,
          ),
        [kafkaId, readerId],
      )
      .onDeactivation(closeOnDeactivation);
    bind(s.telemetrySource).toDynamicValue(async (context) => {
      const metrics = context.get(s.consumerMetrics, { optional: true });
      return kafkaTelemetrySource(newClient, await context.getAsync(readerId), config, log, metrics);
    });
    bind(s.check).toResolvedValue(
      (reader) => ({ name: 'telemetryLog', check: () => reader.check() }),
      [readerId],
    );
  });

/** The reader of a topic that has as many partitions as ever. Throws a `StartupError` when it has not. */
async function pinned(reader: KafkaTopicReader, counts: PartitionCounts): Promise<KafkaTopicReader> {
  try {
    await reader.pin(counts);
    return reader;
  } catch (error) {
    await reader.close();
    throw error instanceof OperatorNeeded ? new StartupError(error.message) : error;
  }
}

export const mysql = (url: string, config: Config, log: Log): ContainerModule =>
  new ContainerModule(({ bind }) => {
    const options = { connections: config.MYSQL_POOL_SIZE, ...mysqlSecurity(config) };
    bind(s.database)
      .toDynamicValue(() => new MysqlSql({ url, ...options }, log))
      .onDeactivation(closeOnDeactivation);
    bind(s.apiKeys).toResolvedValue(sqlApiKeys, [s.database]);
    const replica = config.MYSQL_REPLICA_URL;
    if (replica === undefined) bind(s.queryDatabase).toService(s.database);
    else {
      bind(s.queryDatabase)
        .toDynamicValue(() => new MysqlSql({ url: replica, ...options }, log))
        .onDeactivation(closeOnDeactivation);
      bind(s.connections).toResolvedValue(
        (db) => ({ name: 'replica', connections: () => (db as MysqlSql).connections }),
        [s.queryDatabase],
      );
      bind(s.check).toResolvedValue(
        (db) => ({ name: 'replica', check: () => (db as MysqlSql).check() }),
        [s.queryDatabase],
      );
    }
    bind(s.connections).toResolvedValue(
      (db) => ({ name: 'readModels', connections: () => (db as MysqlSql).connections }),
      [s.database],
    );
    bind(s.check).toResolvedValue(
      (db) => ({ name: 'readModels', check: () => (db as MysqlSql).check() }),
      [s.database],
    );
  });

/** How brokers are spoken to, from the variables about it. Throws a `StartupError` that names the one at fault. */
export function kafkaSecurity(config: Config): Pick<KafkaClientOptions, 'ssl' | 'sasl'> {
  const { KAFKA_SASL_MECHANISM: mechanism, KAFKA_SASL_USERNAME: username } = config;
  const password = config.KAFKA_SASL_PASSWORD;
  return {
    ...(config.KAFKA_SSL && {
      ssl: { ...authorities('KAFKA_SSL_CA_FILE', config), ...clientCertificate(config) },
    }),
    ...(mechanism !== undefined &&
      username !== undefined &&
      password !== undefined && {
        sasl: { mechanism, username, password } as NonNullable<KafkaClientOptions['sasl']>,
      }),
  };
}

/** How the database is spoken to. Throws a `StartupError` that names the variable at fault. */
export const mysqlSecurity = (config: Config): Pick<MysqlOptions, 'tls'> =>
  config.MYSQL_SSL ? { tls: authorities('MYSQL_SSL_CA_FILE', config) } : {};

function authorities(
  variable: 'KAFKA_SSL_CA_FILE' | 'MYSQL_SSL_CA_FILE',
  config: Config,
): { readonly ca?: string } {
  const file = config[variable];
  if (file === undefined) return {};
  const ca = fileNamedBy(variable, file);
  try {
    // What is no certificate would otherwise be passed over, and then every server be refused.
    new X509Certificate(ca);
  } catch (error) {
    throw new StartupError(
      `${variable} names ${file}, which must begin with a certificate in PEM: ${(error as Error).message}`,
    );
  }
  return { ca };
}

function clientCertificate({ KAFKA_SSL_CERT_FILE, KAFKA_SSL_KEY_FILE }: Config) {
  if (KAFKA_SSL_CERT_FILE === undefined || KAFKA_SSL_KEY_FILE === undefined) return {};
  const certificate = {
    cert: fileNamedBy('KAFKA_SSL_CERT_FILE', KAFKA_SSL_CERT_FILE),
    key: fileNamedBy('KAFKA_SSL_KEY_FILE', KAFKA_SSL_KEY_FILE),
  };
  try {
    createSecureContext(certificate);
  } catch (error) {
    throw new StartupError(
      `KAFKA_SSL_CERT_FILE and KAFKA_SSL_KEY_FILE must be a certificate in PEM and its key: ${(error as Error).message}`,
    );
  }
  return certificate;
}
