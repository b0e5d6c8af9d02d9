import type { Admin, Kafka } from 'kafkajs';
import type { Log } from '../../application/ports/log.ts';

export type TopicSettings = {
  readonly topic: string;
  readonly partitions: number;
  readonly replication: number;
  /** Replicas that must have a batch before it is acknowledged. */
  readonly minInSync: number;
  /** Milliseconds that messages are kept, -1 for ever. */
  readonly retention: number;
};

/** Makes the topic unless it is there; one that is there stays as it is, and is warned of where it differs. */
export async function ensureTopic(kafka: Kafka, settings: TopicSettings, log: Log): Promise<void> {
  const { topic, partitions, replication, minInSync, retention } = settings;
  const admin = kafka.admin();
  await admin.connect();
  try {
    const created = await admin.createTopics({
      topics: [
        {
          topic,
          numPartitions: partitions,
          replicationFactor: replication,
          configEntries: [
            { name: 'min.insync.replicas', value: String(minInSync) },
            { name: 'retention.ms', value: String(retention) },
            { name: 'cleanup.policy', value: 'delete' },
          ],
        },
      ],
    });
    if (created) log.info(settings, 'topic created');
    else await compare(admin, settings, log);
  } finally {
    await admin.disconnect();
  }
}

async function compare(admin: Admin, { topic, partitions }: TopicSettings, log: Log): Promise<void> {
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  const found = topics[0]?.partitions.length;
  if (found !== partitions)
    log.warn(
      { topic, partitions: found, configured: partitions },
      'the topic has another number of partitions',
    );
}
