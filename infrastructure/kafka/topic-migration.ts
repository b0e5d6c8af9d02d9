import kafkajs, { type Consumer, type EachBatchPayload, type Kafka, type Producer } from 'kafkajs';
import type { Log } from '../../application/ports/system.ts';
import { StartupError } from '../startup-error.ts';
import { metadataMaxAge, retries } from './client.ts';
import { type Compression, compressionTypes } from './kafkajs-patches.ts';
import { repartitioned } from './telemetry-codec.ts';
import { KafkaTopicReader } from './topic-reader.ts';
import { ensureTopic, type TopicSettings } from './topics.ts';

export type TopicMigration = {
  readonly from: string;
  /** The topic to copy to, made where it is not there. */
  readonly to: TopicSettings;
  /** Of the consumers of `from`; the progress is kept in a group named after it. */
  readonly group: string;
  readonly compression: Compression;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: MigrationProgress) => void;
};

/** Messages; of all runs. */
export type MigrationProgress = { readonly done: number; readonly total: number };

/** A round of copying that leaves at most this many behind is the last: readings may keep coming. */
const fewMessages = 1000;

/**
 * Copies a topic into one with another number of partitions, each reading once, to the partition of its device and in
 * the order of its partition. Messages and the progress of the copy are one transaction of Kafka, so that a run that
 * was killed is continued by the next, and a run that has been replaced by another can commit nothing more. Returns
 * when the copy has come near to the end of the topic, which may grow meanwhile.
 */
export async function migrateTopic(
  newClient: () => Kafka,
  migration: TopicMigration,
  log: Log,
): Promise<MigrationProgress> {
  const { from, to } = migration;
  const group = `${migration.group}-to-${to.topic}`;
  await ensureTopic(newClient(), to, log);
  const source = new KafkaTopicReader(newClient(), from);
  const target = new KafkaTopicReader(newClient(), to.topic);
  try {
    const begun = await committedOffsets(newClient(), group, from);
    await assertOwnTarget(target, to, begun.size > 0);
    const copy = new TopicCopy(newClient(), migration, group, source, begun);
    return await copy.run();
  } finally {
    await Promise.all([source.close(), target.close()]);
  }
}

async function assertOwnTarget(
  target: KafkaTopicReader,
  { topic, partitions }: TopicSettings,
  isBegun: boolean,
): Promise<void> {
  const found = await target.partitions();
  if (found !== partitions)
    throw new StartupError(`Topic ${topic} has ${found} partitions, not ${partitions}: name another topic`);
  const hasMessages = [...(await target.ends()).values()].some((end) => end > 0n);
  if (hasMessages && !isBegun)
    throw new StartupError(`Topic ${topic} has messages that were not copied to it: name another topic`);
}

async function committedOffsets(
  kafka: Kafka,
  group: string,
  topic: string,
): Promise<ReadonlyMap<number, bigint>> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    const [found] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
    return new Map(
      (found?.partitions ?? [])
        .map(({ partition, offset }) => [partition, BigInt(offset)] as const)
        .filter(([, offset]) => offset >= 0n),
    );
  } finally {
    await admin.disconnect();
  }
}

/** One run of a copy. */
class TopicCopy {
  readonly #migration: TopicMigration;
  readonly #group: string;
  readonly #source: KafkaTopicReader;
  readonly #producer: Producer;
  readonly #consumer: Consumer;
  /** The next offset to copy of each partition. */
  readonly #next: Map<number, bigint>;
  readonly #failed = Promise.withResolvers<never>();
  #moved = Promise.withResolvers<void>();

  constructor(
    kafka: Kafka,
    migration: TopicMigration,
    group: string,
    source: KafkaTopicReader,
    begun: ReadonlyMap<number, bigint>,
  ) {
    this.#migration = migration;
    this.#group = group;
    this.#source = source;
    this.#next = new Map(begun);
    this.#producer = kafka.producer({
      transactionalId: group,
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      metadataMaxAge,
      retry: retries,
    });
    this.#consumer = kafka.consumer({
      groupId: group,
      readUncommitted: false,
      allowAutoTopicCreation: false,
      metadataMaxAge,
      retry: { ...retries, restartOnFailure: async () => false },
    });
    this.#failed.promise.catch(() => {});
  }

  async run(): Promise<MigrationProgress> {
    const { signal, from } = this.#migration;
    const abort = () => this.#failed.reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    try {
      // Ends what an earlier run has left open, before its offsets are asked for.
      await this.#producer.connect();
      await this.#consumer.connect();
      this.#consumer.on(this.#consumer.events.CRASH, ({ payload }) => this.#failed.reject(payload.error));
      await this.#consumer.subscribe({ topics: [from], fromBeginning: true });
      await this.#consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        eachBatch: (payload) => this.#copyBatch(payload),
      });
      return await this.#untilNearEnd();
    } finally {
      signal.removeEventListener('abort', abort);
      await Promise.allSettled([this.#consumer.disconnect(), this.#producer.disconnect()]);
    }
  }

  async #untilNearEnd(): Promise<MigrationProgress> {
    for (;;) {
      const ends = await this.#source.ends();
      const left = this.#left(ends);
      while (this.#left(ends) > 0) await Promise.race([this.#moved.promise, this.#failed.promise]);
      if (left <= fewMessages) return this.#progress(ends);
      this.#migration.onProgress(this.#progress(ends));
    }
  }

  #left(ends: ReadonlyMap<number, bigint>): number {
    let left = 0n;
    for (const [partition, end] of ends) {
      const next = this.#next.get(partition) ?? 0n;
      if (end > next) left += end - next;
    }
    return Number(left);
  }

  #progress(ends: ReadonlyMap<number, bigint>): MigrationProgress {
    const total = [...ends.values()].reduce((sum, end) => sum + Number(end), 0);
    return { done: total - this.#left(ends), total };
  }

  async #copyBatch({ batch, resolveOffset, heartbeat, isRunning, isStale }: EachBatchPayload): Promise<void> {
    if (!isRunning() || isStale()) return;
    try {
      const next = BigInt(batch.lastOffset()) + 1n;
      await this.#inTransaction(batch, next);
      resolveOffset(batch.lastOffset());
      this.#next.set(batch.partition, next);
      this.#moved.resolve();
      this.#moved = Promise.withResolvers();
      await heartbeat();
    } catch (error) {
      // Whether it was committed is found out by the next run alone: to repeat it here could copy it twice.
      this.#failed.reject(error);
      throw new kafkajs.KafkaJSNonRetriableError(`The copy failed: ${(error as Error).message}`);
    }
  }

  async #inTransaction({ partition, messages }: EachBatchPayload['batch'], next: bigint): Promise<void> {
    const { from, to, compression } = this.#migration;
    const transaction = await this.#producer.transaction();
    try {
      const copies = messages.flatMap((message) =>
        repartitioned(message, { topic: from, partition }, to.partitions),
      );
      if (copies.length > 0)
        await transaction.send({
          topic: to.topic,
          messages: copies,
          acks: -1,
          compression: compressionTypes[compression],
        });
      await transaction.sendOffsets({
        consumerGroupId: this.#group,
        topics: [{ topic: from, partitions: [{ partition, offset: String(next) }] }],
      });
    } catch (error) {
      await transaction.abort().catch(() => undefined);
      throw error;
    }
    await transaction.commit();
  }
}
