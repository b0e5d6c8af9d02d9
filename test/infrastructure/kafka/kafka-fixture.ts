import { randomUUID } from 'node:crypto';
import type { Log } from '../../../application/ports/system.ts';
import { type KafkaClientOptions, kafkaClient } from '../../../infrastructure/kafka/client.ts';
import type { SessionOptions } from '../../../infrastructure/kafka/consumer-session.ts';
import type { Compression } from '../../../infrastructure/kafka/kafkajs-patches.ts';
import { AcknowledgingProducer } from '../../../infrastructure/kafka/producer.ts';
import {
  KafkaTelemetryLog,
  type KafkaTelemetryLogOptions,
} from '../../../infrastructure/kafka/telemetry-log.ts';
import { KafkaTelemetrySource } from '../../../infrastructure/kafka/telemetry-source.ts';
import { KafkaTopicReader } from '../../../infrastructure/kafka/topic-reader.ts';
import { ensureTopic, type TopicSettings } from '../../../infrastructure/kafka/topics.ts';

export type LogLine = {
  readonly level: keyof Log;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
};

export type Fixture = Awaited<ReturnType<typeof kafkaFixture>>;

/** A topic of its own and everything that reads and writes it, with all that they log. */
export async function kafkaFixture(
  brokers: string,
  {
    topic = {},
    log: logOptions = {},
    session = {},
    client = {},
    compression = 'zstd',
  }: {
    topic?: Partial<TopicSettings>;
    log?: Partial<KafkaTelemetryLogOptions>;
    session?: Partial<SessionOptions>;
    client?: Partial<KafkaClientOptions>;
    compression?: Compression;
  } = {},
) {
  const lines: LogLine[] = [];
  const write = (level: keyof Log) => (fields: LogLine['fields'], message: string) => {
    lines.push({ level, fields, message });
  };
  const log: Log = { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
  const newClient = () => kafkaClient({ brokers: brokers.split(','), ...client }, log);
  const settings: TopicSettings = {
    topic: `test-${randomUUID()}`,
    partitions: 3,
    replication: 1,
    minInSync: 1,
    retention: -1,
    ...topic,
  };
  await ensureTopic(newClient(), settings, log);

  const opened: { close(): Promise<void> }[] = [];
  const open = () => {
    const reader = new KafkaTopicReader(newClient(), settings.topic);
    const producer = new AcknowledgingProducer(newClient(), settings.topic, compression);
    const options = { linger: 3, deadline: 10_000, bufferBytes: 67_108_864, ...logOptions };
    const telemetryLog = new KafkaTelemetryLog(producer, reader, options, log);
    const sessionOptions = {
      concurrency: 3,
      batchSize: 1000,
      sessionTimeout: 10_000,
      stallAfter: 30_000,
      ...session,
    };
    const source = new KafkaTelemetrySource(newClient, reader, sessionOptions, log);
    opened.push(telemetryLog, reader);
    return { log: telemetryLog, source, reader };
  };

  return {
    ...open(),
    topic: settings.topic,
    newClient,
    logger: log,
    lines,
    reopen: async () => open(),
    async close() {
      for (const one of opened) await one.close();
      const admin = newClient().admin();
      await admin.connect();
      await admin.deleteTopics({ topics: [settings.topic] });
      await admin.disconnect();
    },
  };
}
