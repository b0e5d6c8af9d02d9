import { setTimeout as pause } from 'node:timers/promises';
import type { Cluster, Consumer, EachBatchPayload, Kafka } from 'kafkajs';
import pLimit from 'p-limit';
import type { BatchConsumer } from '../../application/ports/event-source.ts';
import type { Log } from '../../application/ports/system.ts';
import type { TelemetryRecord } from '../../application/ports/telemetry-log.ts';
import { AssignedPartition, type PartitionHost } from './assigned-partition.ts';
import { metadataMaxAge, retries } from './client.ts';
import { captureCluster, type KafkaTopicReader } from './topic-reader.ts';

export type SessionOptions = {
  /** Partitions consumed at once. */
  readonly concurrency: number;
  /** Events of one `consume` call at most. */
  readonly batchSize: number;
  /** Milliseconds without a sign of a member after which its partitions go to others. */
  readonly sessionTimeout: number;
  /** Milliseconds without progress, though there is lag, after which the consumer is built anew. */
  readonly stallAfter: number;
  /** Called when messages expired before they were consumed. */
  readonly onHistoryLost?: (partition: number, messages: number) => void;
  /** Called when a consumer is given up for a new one. */
  readonly onRebuilt?: () => void;
};

/** The batch consumer keeps failing; `cause` is what with. */
export class ConsumerFailed extends Error {
  override readonly name = 'ConsumerFailed';
}

/** Also the longest a fetch is held open, and so how long a stop or a newly placed partition waits for one. */
const fetchWait = 500;
/**
 * Milliseconds from one fetch to the next. What trickles in shares transactions meanwhile: with one for each reading
 * or two, a database that waits for the disk takes the machine from everybody else.
 */
const fetchInterval = 50;
/**
 * Batches that kafkajs delivers at once, including those that wait here or for the next fetch. Each
 * costs something at every fetch, of an idle worker too.
 */
const handledAtOnce = 32;
const leaveTime = 5000;
const tick = 5000;

/** One consumer of kafkajs from its making to its loss: it is never mended, only replaced. */
export class KafkaConsumerSession {
  readonly #kafkaConsumer: Consumer;
  readonly #reader: KafkaTopicReader;
  readonly #options: SessionOptions;
  readonly #log: Log;
  readonly #host: PartitionHost;
  readonly #watch: StallWatch;
  readonly #inTurn: ReturnType<typeof pLimit>;
  readonly #over = Promise.withResolvers<void>();
  #partitions = new Map<number, AssignedPartition>();
  #cluster: Cluster | undefined;
  #fetchedAt = 0;
  #joined = false;
  #identity: string | null = null;
  #ended = false;
  /** The offset last committed, by partition. */
  #committed = new Map<number, bigint>();

  constructor(
    kafka: Kafka,
    group: string,
    consumer: BatchConsumer<TelemetryRecord>,
    reader: KafkaTopicReader,
    failures: Map<number, number>,
    keepsOthers: boolean,
    options: SessionOptions,
    log: Log,
  ) {
    this.#reader = reader;
    this.#options = options;
    this.#log = log;
    this.#watch = new StallWatch(reader, options.stallAfter);
    this.#inTurn = pLimit(options.concurrency);
    const heartbeat = Math.min(1000, options.sessionTimeout / 3);
    this.#kafkaConsumer = kafka.consumer({
      groupId: group,
      sessionTimeout: options.sessionTimeout,
      rebalanceTimeout: 60_000,
      heartbeatInterval: heartbeat,
      maxWaitTimeInMs: fetchWait,
      minBytes: 1,
      maxBytesPerPartition: 524_288,
      maxBytes: 4_194_304,
      metadataMaxAge,
      allowAutoTopicCreation: false,
      readUncommitted: false,
      retry: { ...retries, restartOnFailure: async () => false },
      partitionAssigners: [
        captureCluster((cluster) => {
          this.#cluster = cluster;
        }),
      ],
    });
    const fail = (cause: unknown) =>
      this.#over.reject(new ConsumerFailed('The batch consumer keeps failing', { cause }));
    this.#host = {
      kafkaConsumer: this.#kafkaConsumer,
      consumer,
      reader,
      failures,
      batchSize: options.batchSize,
      heartbeat,
      patience: options.stallAfter,
      onHistoryLost: options.onHistoryLost,
      log,
      giveUp: keepsOthers ? undefined : fail,
      refuse: fail,
    };
  }

  /** Whether it ever became a member of its group. */
  get hasJoined(): boolean {
    return this.#joined;
  }

  /** Resolves when `signal` is aborted and the current batches are done; rejects when the consumer is lost. */
  async run(signal: AbortSignal): Promise<void> {
    const stop = () => this.#over.resolve();
    signal.addEventListener('abort', stop, { once: true });
    const started = this.#start();
    started.catch(this.#over.reject);
    const ticking = setInterval(() => void this.#tick(), Math.min(tick, this.#options.stallAfter / 3));
    try {
      await this.#over.promise;
    } finally {
      clearInterval(ticking);
      signal.removeEventListener('abort', stop);
      this.#ended = true;
      const underWay = [...this.#partitions.values()].map((partition) => partition.underWay?.done);
      this.#assign([]);
      await this.#leave(started);
      await Promise.allSettled(underWay);
    }
  }

  async #start(): Promise<void> {
    const { topic } = this.#reader;
    const consumer = this.#kafkaConsumer;
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      this.#joined = true;
      this.#watch.progress();
      this.#assign(this.#ended ? [] : (payload.memberAssignment[topic] ?? []));
    });
    consumer.on(consumer.events.FETCH, () => {
      this.#watch.progress();
      this.#fetchedAt = performance.now();
    });
    consumer.on(consumer.events.CRASH, ({ payload }) => this.#over.reject(payload.error));
    // Before any partition's checkpoint is compared with the topic.
    this.#identity = await this.#reader.identity().catch(() => null);
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: Math.max(handledAtOnce, this.#options.concurrency),
      eachBatch: (payload) => this.#eachBatch(payload),
    });
  }

  /** A consumer that hangs is left behind without its connections; it has no partition to deliver batches to. */
  async #leave(started: Promise<void>): Promise<void> {
    const left = started.catch(() => undefined).then(() => this.#kafkaConsumer.disconnect());
    const outcome = await Promise.race([
      left.catch(() => undefined),
      pause(leaveTime, 'hanging', { ref: false }),
    ]);
    if (outcome === 'hanging') this.#cluster?.disconnect().catch(() => undefined);
  }

  /** Called before anything of the new assignment is fetched. */
  #assign(partitions: readonly number[]): void {
    for (const partition of this.#partitions.values()) partition.release();
    this.#committed.clear();
    this.#partitions = new Map(
      partitions.map((partition) => [partition, new AssignedPartition(partition, this.#host)]),
    );
    for (const partition of this.#partitions.values()) void partition.seekToCheckpoint();
  }

  /** Kafkajs fetches again once all batches are done. */
  async #eachBatch(payload: EachBatchPayload): Promise<void> {
    const next = this.#fetchedAt + fetchInterval;
    await this.#inTurn(async () => this.#partitions.get(payload.batch.partition)?.read(payload));
    const early = next - performance.now();
    if (early > 0 && !this.#ended) await pause(early);
  }

  async #tick(): Promise<void> {
    await this.#commit();
    await this.#compareTopic();
    const stall = await this.#watch.check([...this.#partitions.values()]);
    if (stall) this.#over.reject(new Error(stall));
  }

  /** A topic that was made anew under its name may continue where the old one was: only its id differs. */
  async #compareTopic(): Promise<void> {
    const now = await this.#reader.identity().catch(() => null);
    this.#identity ??= now;
    if (now !== null && now !== this.#identity)
      this.#over.reject(new Error(`the topic ${this.#reader.topic} was made anew`));
  }

  async #commit(): Promise<void> {
    const { topic } = this.#reader;
    const due = [...this.#partitions.values()].flatMap(({ partition, next }) =>
      next && next.offset !== this.#committed.get(partition) ? [{ partition, offset: next.offset }] : [],
    );
    if (due.length === 0) return;
    try {
      await this.#kafkaConsumer.commitOffsets(
        due.map(({ partition, offset }) => ({ topic, partition, offset: String(offset) })),
      );
      for (const { partition, offset } of due) this.#committed.set(partition, offset);
    } catch (error) {
      this.#log.debug({ err: error }, 'offsets were not committed to Kafka, where only lag tools miss them');
    }
  }
}

/** kafkajs can stop fetching, one partition or all, without a word. */
class StallWatch {
  readonly #reader: KafkaTopicReader;
  /** Milliseconds. */
  readonly #patience: number;
  #lastSign = Date.now();
  /** By partition with lag: the position first seen without progress. */
  readonly #standing = new Map<number, { readonly at: string; readonly since: number }>();

  constructor(reader: KafkaTopicReader, patience: number) {
    this.#reader = reader;
    this.#patience = patience;
  }

  /** The consumer has done something. */
  progress(): void {
    this.#lastSign = Date.now();
  }

  /** Why the consumer has to be taken for stalled, if it has. */
  async check(partitions: readonly AssignedPartition[]): Promise<string | undefined> {
    const now = Date.now();
    const tooLong = (since: number) => now - since > this.#patience;
    const running = partitions.flatMap(({ underWay }) => underWay?.since ?? []);
    if (running.length === 0 && tooLong(this.#lastSign))
      return `the Kafka consumer has done nothing for ${now - this.#lastSign} ms`;
    // Others may have to wait for a batch that takes so long; that is no fault of the Kafka consumer.
    if (running.some(tooLong)) return undefined;
    const ends = await this.#reader.ends().catch(() => undefined);
    for (const { partition, next } of partitions) {
      const end = ends?.get(partition);
      if (!next || end === undefined || end <= next.offset) {
        this.#standing.delete(partition);
        continue;
      }
      const at = `${next.offset}-${next.events}`;
      const standing = this.#standing.get(partition);
      if (standing?.at !== at) this.#standing.set(partition, { at, since: now });
      else if (tooLong(standing.since))
        return `partition ${partition} stands still at ${at} although it goes on to ${end}`;
    }
    return undefined;
  }
}
