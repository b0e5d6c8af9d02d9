import kafkajs, { type Admin, type Kafka } from 'kafkajs';
import type { Log } from '../../application/ports/log.ts';
import { StartupError } from '../startup-error.ts';

export type TopicSettings = {
  readonly topic: string;
  readonly partitions: number;
  readonly replication: number;
  /** Replicas that must have a batch before it is acknowledged. */
  readonly minInSync: number;
  /** Milliseconds that messages are kept, -1 for ever. */
  readonly retention: number;
};

/**
 * Makes the topic unless it is there; one that is there stays as it is, and is warned of where it differs.
 * Throws a `StartupError`.
 */
export async function ensureTopic(kafka: Kafka, settings: TopicSettings, log: Log): Promise<void> {
  const admin = kafka.admin();
  try {
    await admin.connect();
    if (await admin.createTopics({ topics: [creationOf(settings)], waitForLeaders: true }))
      log.info(settings, 'topic created');
    else await compare(admin, settings, log);
  } catch (cause) {
    throw new StartupError(
      `Topic ${settings.topic} cannot be looked at or made: ${reasonOf(cause)}. Is Kafka running, are KAFKA_BROKERS and KAFKA_REPLICATION right?`,
      { cause },
    );
  } finally {
    await admin.disconnect();
  }
}

const creationOf = ({ topic, partitions, replication, minInSync, retention }: TopicSettings) => ({
  topic,
  numPartitions: partitions,
  replicationFactor: replication,
  configEntries: [
    { name: 'min.insync.replicas', value: String(minInSync) },
    { name: 'retention.ms', value: String(retention) },
    { name: 'cleanup.policy', value: 'delete' },
  ],
});

async function compare(admin: Admin, { topic, partitions }: TopicSettings, log: Log): Promise<void> {
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  const found = topics[0]?.partitions.length;
  if (found !== partitions)
    log.warn(
      { topic, partitions: found, configured: partitions },
      'the topic has another number of partitions',
    );
}

function reasonOf(cause: unknown): string {
  if (cause instanceof kafkajs.KafkaJSAggregateError) return cause.errors.map(reasonOf).join('; ');
  return cause instanceof Error ? cause.message : String(cause);
}
