import kafkajs, { type Consumer, type EachBatchPayload } from 'kafkajs';
import {
  type Batch,
  type BatchConsumer,
  CheckpointOfAnotherLog,
  OperatorNeeded,
  type Position,
} from '../../application/ports/event-source.ts';
import { EventStoreUnavailable } from '../../application/ports/event-store.ts';
import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import type { Log } from '../../application/ports/system.ts';
import { TelemetryLogUnavailable, type TelemetryRecord } from '../../application/ports/telemetry-log.ts';
import { type KafkaPosition, parsePosition, telemetryChunks } from './telemetry-codec.ts';
import type { Bounds, KafkaTopicReader } from './topic-reader.ts';

/** What the partitions of one consumer have in common. */
export type PartitionHost = {
  readonly kafkaConsumer: Consumer;
  readonly consumer: BatchConsumer<TelemetryRecord>;
  readonly reader: KafkaTopicReader;
  /** Attempts in a row that failed, by partition; outlives the consumer of Kafka. */
  readonly failures: Map<number, number>;
  /** Events of one `consume` call at most. */
  readonly batchSize: number;
  /** Milliseconds between heartbeats. */
  readonly heartbeat: number;
  /** Milliseconds after which a running `consume` call no longer holds the partition for this member. */
  readonly patience: number;
  readonly onHistoryLost: ((partition: number, messages: number) => void) | undefined;
  readonly log: Log;
  /** Called with what the batch consumer keeps failing with; absent where that must not end the others. */
  readonly giveUp: ((error: unknown) => void) | undefined;
  /** Called with what an operator has to see to: the topic must not be read on, in any partition. */
  readonly refuse: (error: OperatorNeeded) => void;
};

/** A `consume` call that has not come back, and when it began or last made progress. */
type UnderWay = { readonly since: number; readonly done: Promise<void> };

const attempts = 6;
const firstBackoff = 100;
const passingBackoff = 1000;
const longestBackoff = 10_000;

/** A partition from its assignment to this consumer until the next assignment, read from the checkpoint on. */
export class AssignedPartition {
  readonly partition: number;
  readonly #host: PartitionHost;
  readonly #left = new AbortController();
  /** The next offset; unknown while the checkpoint is being read. */
  #next: KafkaPosition | undefined;
  /** The last position consumed. */
  #after: Position | null = null;
  /** The offsets that the last batch left out. */
  #hole: string | undefined;
  #underWay: UnderWay | undefined;

  constructor(partition: number, host: PartitionHost) {
    this.partition = partition;
    this.#host = host;
  }

  /** What comes next, `undefined` until the checkpoint is known. */
  get next(): KafkaPosition | undefined {
    return this.#next;
  }

  /** The `consume` call that has not come back. */
  get underWay(): UnderWay | undefined {
    return this.#underWay;
  }

  /** Belongs to this consumer no longer, as far as it knows: takes nothing any more. */
  release(): void {
    this.#left.abort();
  }

  /** Starts at the checkpoint, as soon as it can be learnt. */
  async seekToCheckpoint(): Promise<void> {
    if (this.#left.signal.aborted) return;
    const { kafkaConsumer, consumer, reader } = this.#host;
    this.#hold();
    try {
      const [checkpoint, bounds] = await Promise.all([consumer.checkpoint(this.partition), reader.bounds()]);
      if (this.#left.signal.aborted) return;
      const start = this.#within(bounds.get(this.partition), checkpoint);
      this.#next = start;
      this.#after = checkpoint;
      kafkaConsumer.seek({ topic: reader.topic, partition: this.partition, offset: String(start.offset) });
      kafkaConsumer.resume([{ topic: reader.topic, partitions: [this.partition] }]);
    } catch (error) {
      this.#falter(error);
    }
  }

  /** Nothing is fetched of it from here on until it is placed. */
  #hold(): void {
    this.#next = undefined;
    try {
      this.#host.kafkaConsumer.pause([{ topic: this.#host.reader.topic, partitions: [this.partition] }]);
    } catch (error) {
      // A consumer that has ended by itself fetches nothing either.
      if (!(error instanceof kafkajs.KafkaJSNonRetriableError)) throw error;
    }
  }

  async read({ batch, resolveOffset, heartbeat, isRunning, isStale }: EachBatchPayload): Promise<void> {
    const { reader, batchSize } = this.#host;
    const first = batch.messages[0]?.offset;
    if (!this.#next || first === undefined) return;
    if (BigInt(first) !== this.#next.offset && !(await this.#bridged(BigInt(first)))) return;
    const origin = { topic: reader.topic, partition: this.partition };
    for (const events of telemetryChunks(batch.messages, origin, this.#next, batchSize)) {
      if (this.#left.signal.aborted || !this.#next || !isRunning() || isStale()) return;
      const waiting = Promise.withResolvers<'waiting'>();
      const consumed = this.#consume(
        { partition: this.partition, after: this.#after, events },
        () => waiting.resolve('waiting'),
        heartbeat,
      );
      try {
        if ((await Promise.race([consumed, waiting.promise])) === 'waiting') {
          this.#stepAside(consumed);
          return;
        }
      } catch (error) {
        this.#falter(error);
        return;
      }
      this.#after = events.at(-1)?.position ?? this.#after;
      this.#next = parsePosition(this.#after);
      resolveOffset(String(this.#next.offset - 1n));
      await heartbeat();
    }
  }

  /**
   * Kafkajs fetches nothing, of any partition, before all that it fetched last has been taken. So a batch that waits
   * is waited for elsewhere, and what follows it is fetched when it is done.
   */
  #stepAside(consumed: Promise<void>): void {
    this.#hold();
    consumed.then(
      () => this.seekToCheckpoint(),
      (error) => this.#falter(error),
    );
  }

  /** Heartbeats continue meanwhile, so that a slow batch does not cost the membership. */
  async #consume(
    batch: Batch<TelemetryRecord>,
    waiting: () => void,
    heartbeat: () => Promise<void>,
  ): Promise<void> {
    const { consumer, heartbeat: interval, patience, failures } = this.#host;
    const sign = { since: Date.now() };
    const onProgress = () => {
      sign.since = Date.now();
    };
    const done = (async () =>
      consumer.consume({ ...batch, onProgress, signal: this.#left.signal }, waiting))();
    this.#underWay = Object.assign(sign, { done });
    const beat = setInterval(() => {
      // An error of the group is thrown again by the heartbeat after the batch.
      if (Date.now() - sign.since < patience) heartbeat().catch(() => undefined);
    }, interval);
    try {
      await done;
      failures.delete(this.partition);
    } finally {
      clearInterval(beat);
      this.#underWay = undefined;
    }
  }

  /** Where reading begins, given a checkpoint and what the topic still has. */
  #within(bounds: Bounds | undefined, checkpoint: Position | null): KafkaPosition {
    const start = parsePosition(checkpoint);
    const { low, high } = bounds ?? { low: 0n, high: 0n };
    if (start.offset > high)
      throw new CheckpointOfAnotherLog(
        `Partition ${this.partition} of ${this.#host.reader.topic} ends at ${high}, before the checkpoint ${checkpoint}`,
      );
    if (start.offset >= low) return start;
    if (checkpoint !== null) this.#tellOfLoss(start.offset, low);
    return { offset: low, events: 0 };
  }

  /** Whether a batch that begins elsewhere than expected may be taken. */
  async #bridged(first: bigint): Promise<boolean> {
    const expected = this.#next as KafkaPosition;
    if (first > expected.offset) {
      const low = (await this.#host.reader.bounds()).get(this.partition)?.low ?? 0n;
      const hole = `${expected.offset}-${first}`;
      // Transaction markers leave holes; but what kafkajs left out comes with another fetch.
      if (low > expected.offset) this.#tellOfLoss(expected.offset, low);
      else if (this.#hole !== hole) {
        this.#hole = hole;
        await this.seekToCheckpoint();
        return false;
      }
      this.#next = { offset: first, events: 0 };
      return true;
    }
    // kafkajs reset to the beginning, as it does when the requested offset does not exist.
    await this.seekToCheckpoint();
    return false;
  }

  #tellOfLoss(from: bigint, to: bigint): void {
    const { reader, log, onHistoryLost } = this.#host;
    log.error(
      { topic: reader.topic, partition: this.partition, from: String(from), to: String(to) },
      'messages expired before they were consumed: retention is shorter than the lag was',
    );
    onHistoryLost?.(this.partition, Number(to - from));
  }

  #falter(error: unknown): void {
    if (this.#left.signal.aborted) return;
    const { failures, log, giveUp, refuse } = this.#host;
    if (error instanceof OperatorNeeded) {
      refuse(error);
      return;
    }
    let backoff = passingBackoff;
    if (!isPassing(error)) {
      const failed = (failures.get(this.partition) ?? 0) + 1;
      failures.set(this.partition, failed);
      if (failed >= attempts && giveUp) {
        giveUp(error);
        return;
      }
      backoff = Math.min(longestBackoff, firstBackoff * 2 ** (failed - 1));
      if (failed === attempts)
        log.error(
          { err: error, partition: this.partition, attempts },
          'batches of this partition keep failing, other partitions continue',
        );
    }
    log.warn(
      { err: error, partition: this.partition, backoff },
      'a batch was not consumed, starting again at the checkpoint',
    );
    this.#hold();
    setTimeout(() => void this.seekToCheckpoint(), backoff).unref();
  }
}

/** Will be over some time, without anyone's doing. */
const isPassing = (error: unknown): boolean =>
  error instanceof ReadModelsUnavailable ||
  error instanceof EventStoreUnavailable ||
  error instanceof TelemetryLogUnavailable ||
  error instanceof kafkajs.KafkaJSError;
