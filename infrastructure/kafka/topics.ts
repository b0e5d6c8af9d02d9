import { setTimeout as pause } from 'node:timers/promises';
import kafkajs, { type Admin, type Kafka } from 'kafkajs';
import type { Log } from '../../application/ports/system.ts';
import { StartupError } from '../startup-error.ts';

export type TopicSettings = {
  readonly topic: string;
  readonly partitions: number;
  readonly replication: number;
  /** Replicas that must have a batch before it is acknowledged. */
  readonly minInSync: number;
  /** Retention of messages in milliseconds, -1 without an expiry. */
  readonly retention: number;
  /** It has been consumed already: another must not be made in its place. */
  readonly isMissed?: boolean;
};

const leadersWithin = 10_000;

/**
 * Makes the topic unless it is there; one that is there stays as it is, and is warned of where it differs. Resolves
 * when all its partitions have leaders. Throws a `StartupError`.
 */
export async function ensureTopic(kafka: Kafka, settings: TopicSettings, log: Log): Promise<void> {
  const { topic } = settings;
  const admin = kafka.admin();
  try {
    await admin.connect();
    if (settings.isMissed && !(await admin.listTopics()).includes(topic))
      throw new StartupError(
        `Topic ${topic} is missing, although the read models were made from it: set KAFKA_TOPIC to where its messages are ` +
          'now. To begin with an empty one, make it with the tools of Kafka and run `fieldlog projections rebuild telemetry`',
      );
    // kafkajs would take a broker that has not heard of the new topic yet for a failure.
    const created = await admin.createTopics({ topics: [creationOf(settings)], waitForLeaders: false });
    const partitions = await partitionsWithLeaders(admin, topic);
    if (created) log.info(settings, 'topic created');
    else if (partitions !== settings.partitions)
      log.warn(
        { topic, partitions, configured: settings.partitions },
        'the topic has another number of partitions',
      );
  } catch (cause) {
    if (cause instanceof StartupError) throw cause;
    throw new StartupError(
      `Topic ${topic} cannot be looked at or made: ${reasonOf(cause)}. Is Kafka running, are KAFKA_BROKERS and KAFKA_REPLICATION right?`,
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
    // When the broker took a message of another producer is its arrival; that producer's clock may say anything.
    { name: appendTime.name, value: appendTime.value },
  ],
});

const appendTime = { name: 'message.timestamp.type', value: 'LogAppendTime' } as const;

/**
 * Warns of a topic that keeps readings on fewer brokers than is configured, or on one alone, when they are answered with
 * 202, and of one whose messages carry their producers' times. What cannot be looked at, as for want of a right, is not
 * warned of.
 */
export async function warnOfTopic(
  kafka: Kafka,
  { topic, ...configured }: Pick<TopicSettings, 'topic' | 'replication' | 'minInSync'>,
  log: Log,
): Promise<void> {
  const admin = kafka.admin();
  try {
    await admin.connect();
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    const replicas = Math.min(...(topics[0]?.partitions ?? []).map((partition) => partition.replicas.length));
    const config = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic }],
    });
    const entries = config.resources[0]?.configEntries ?? [];
    const settingOf = (name: string) => entries.find(({ configName }) => configName === name)?.configValue;
    const minInSync = Number(settingOf('min.insync.replicas') ?? Number.NaN);
    const safety = safetyOf({ replicas, minInSync }, configured);
    if (safety !== undefined) log.warn({ topic, replicas, minInSync, configured }, safety);
    const times = settingOf(appendTime.name);
    if (times !== undefined && times !== appendTime.value)
      log.warn(
        { topic, [appendTime.name]: times },
        'messages of other producers arrive at the time of their own clocks: set message.timestamp.type=LogAppendTime',
      );
  } catch (err) {
    log.debug({ topic, err }, 'settings of the topic cannot be looked at');
  } finally {
    await admin.disconnect();
  }
}

/** What a topic lacks for readings to be as safe as is configured, and as they should be; `undefined` if nothing. */
function safetyOf(
  { replicas, minInSync }: { readonly replicas: number; readonly minInSync: number },
  configured: Pick<TopicSettings, 'replication' | 'minInSync'>,
): string | undefined {
  if (replicas === 1)
    return 'topic has one replica: readings answered with 202 are lost with the disk of one broker; see KAFKA_REPLICATION';
  if (replicas < configured.replication)
    return 'topic has fewer replicas than KAFKA_REPLICATION, which counts when a topic is made: add them with kafka-reassign-partitions.sh';
  if (minInSync === 1)
    return 'topic acknowledges with one replica in sync: readings answered with 202 may be on one broker alone; see KAFKA_MIN_INSYNC';
  if (minInSync < configured.minInSync)
    return 'topic acknowledges with fewer replicas than KAFKA_MIN_INSYNC, which counts when a topic is made: set its min.insync.replicas';
  return undefined;
}

async function partitionsWithLeaders(admin: Admin, topic: string): Promise<number> {
  const deadline = Date.now() + leadersWithin;
  for (;;) {
    try {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
      const partitions = topics[0]?.partitions ?? [];
      if (partitions.length > 0 && partitions.every(({ leader }) => leader >= 0)) return partitions.length;
      if (Date.now() > deadline) throw new Error('its partitions have no leaders');
    } catch (error) {
      if (!(error instanceof kafkajs.KafkaJSProtocolError && error.retriable) || Date.now() > deadline)
        throw error;
    }
    await pause(100);
  }
}

function reasonOf(cause: unknown): string {
  if (cause instanceof kafkajs.KafkaJSAggregateError) return cause.errors.map(reasonOf).join('; ');
  return cause instanceof Error ? cause.message : String(cause);
}
