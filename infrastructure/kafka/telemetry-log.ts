import { setTimeout as pause } from 'node:timers/promises';
import type { Message } from 'kafkajs';
import {
  OperatorNeeded,
  type PartitionPosition,
  type Position,
} from '../../application/ports/event-source.ts';
import type { Log } from '../../application/ports/system.ts';
import {
  type TelemetryLog,
  TelemetryLogUnavailable,
  type TelemetryPublication,
} from '../../application/ports/telemetry-log.ts';
import type { AcknowledgingProducer } from './producer.ts';
import {
  type EncodedEvent,
  encodeEvents,
  encodePublication,
  formatPosition,
  type PartitionMessage,
} from './telemetry-codec.ts';
import type { KafkaTopicReader } from './topic-reader.ts';

export type KafkaTelemetryLogOptions = {
  /** Milliseconds that a publication waits for others to share its batch. */
  readonly linger: number;
  /** Milliseconds after which a publication that is not acknowledged is refused. */
  readonly deadline: number;
  /** JSON not yet acknowledged, beyond which publications are refused at once. */
  readonly bufferBytes: number;
};

type Producer = Pick<AcknowledgingProducer, 'send' | 'close'>;
type Reader = Pick<KafkaTopicReader, 'partitions'>;

const batchBytes = 4_194_304;
const firstBackoff = 100;
const longestBackoff = 1000;
/** Seconds: an operator has to act first. */
const refusedRetryAfter = 60;

/**
 * Gathers publications and sends them as one batch, while the next one gathers. What the brokers do not
 * acknowledge is sent again until the deadline of those who wait for it. A refused publication may still be in the
 * log, so its caller's second try can be a duplicate.
 */
export class KafkaTelemetryLog implements TelemetryLog {
  readonly #producer: Producer;
  readonly #reader: Reader;
  readonly #options: KafkaTelemetryLogOptions;
  readonly #log: Log;
  #queue: QueuedPublication[] = [];
  #sending: PublicationBatch | undefined;
  #bytes = 0;
  #partitions: number | undefined;
  #pump: Promise<void> | undefined;
  #expiry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(producer: Producer, reader: Reader, options: KafkaTelemetryLogOptions, log: Log) {
    this.#producer = producer;
    this.#reader = reader;
    this.#options = options;
    this.#log = log;
  }

  /** Bytes of JSON waiting to be acknowledged, a character counted as one. */
  get buffered(): number {
    return this.#bytes;
  }

  async publish(publication: TelemetryPublication): Promise<readonly PartitionPosition[]> {
    if (this.#closed) throw new TelemetryLogUnavailable('This node is shutting down');
    const events = encodeEvents(publication);
    const bytes = events.reduce((sum, { json }) => sum + json.length, 0);
    if (this.#bytes > 0 && this.#bytes + bytes > this.#options.bufferBytes)
      throw new TelemetryLogUnavailable(
        'Kafka takes readings more slowly than they arrive, and the buffer is full',
      );
    const { promise, resolve, reject } = Promise.withResolvers<readonly PartitionPosition[]>();
    const since = Date.now();
    this.#queue.push({ publication, events, bytes, since, resolve, reject });
    this.#bytes += bytes;
    this.#expiry ??= setTimeout(() => this.#expire(), this.#options.deadline);
    this.#pump ??= this.#sendQueued();
    return promise;
  }

  /** Sends what is queued, as far as its deadline allows, and accepts nothing else. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#pump;
    clearTimeout(this.#expiry);
    await this.#producer.close();
  }

  async #sendQueued(): Promise<void> {
    for (let first = this.#queue[0]; first; first = this.#queue[0]) {
      const wait = first.since + this.#options.linger - Date.now();
      if (wait > 0 && this.#bytes < batchBytes) await pause(wait);
      const batch = new PublicationBatch(this.#takeQueued());
      this.#sending = batch;
      await this.#send(batch);
      this.#sending = undefined;
      this.#bytes -= batch.bytes;
    }
    this.#pump = undefined;
  }

  #takeQueued(): readonly QueuedPublication[] {
    let bytes = 0;
    const full = this.#queue.findIndex((queued, i) => {
      bytes += queued.bytes;
      return i > 0 && bytes > batchBytes;
    });
    return this.#queue.splice(0, full < 0 ? this.#queue.length : full);
  }

  async #send(batch: PublicationBatch): Promise<void> {
    let backoff = firstBackoff;
    while (!batch.settled) {
      try {
        batch.divide(await this.#partitionCount());
        for (let round = batch.nextRound(); round.length > 0; round = batch.nextRound())
          batch.acknowledge(await this.#producer.send(round, batch.abandoned));
        return;
      } catch (error) {
        if (batch.settled) return;
        if (error instanceof OperatorNeeded) {
          batch.refuse(() => true, new TelemetryLogUnavailable(error.message, refusedRetryAfter));
          return;
        }
        this.#log.warn({ err: error, backoff }, 'telemetry was not acknowledged by Kafka, trying again');
        await pause(backoff);
        backoff = Math.min(2 * backoff, longestBackoff);
      }
    }
  }

  /** The last known is good enough while the brokers do not answer. */
  async #partitionCount(): Promise<number> {
    try {
      this.#partitions = await this.#reader.partitions();
    } catch (error) {
      if (this.#partitions === undefined || error instanceof OperatorNeeded) throw error;
    }
    return this.#partitions;
  }

  #expire(): void {
    const last = Date.now() - this.#options.deadline;
    const isLate = ({ since }: QueuedPublication) => since <= last;
    const late = this.#queue.filter(isLate);
    this.#queue = this.#queue.filter((queued) => !isLate(queued));
    for (const { bytes, reject } of late) {
      this.#bytes -= bytes;
      reject(unavailable());
    }
    this.#sending?.refuse(isLate, unavailable());
    const oldest = this.#sending?.oldest ?? this.#queue[0]?.since;
    this.#expiry = oldest === undefined ? undefined : setTimeout(() => this.#expire(), oldest - last);
  }
}

const unavailable = () =>
  new TelemetryLogUnavailable(
    'Kafka has not acknowledged the readings in time; they may or may not be stored',
    5,
  );

type QueuedPublication = {
  readonly publication: TelemetryPublication;
  readonly events: readonly EncodedEvent[];
  /** Of their JSON. */
  readonly bytes: number;
  /** Epoch milliseconds. */
  readonly since: number;
  readonly resolve: (positions: readonly PartitionPosition[]) => void;
  readonly reject: (error: Error) => void;
};

/** What brokers take as one batch of a partition by default is 1 MiB, and compression may not help. */
const roundBytes = 900_000;
/** kafkajs copies a partition's messages once for each of them. */
const roundMessages = 1000;

type Waiting = QueuedPublication & {
  readonly positions: Map<number, Position>;
  unacknowledged: number;
  settled: boolean;
};
type BatchPart = PartitionMessage & { readonly waiting: Waiting };

/** Publications that are sent together, in rounds of what each partition takes at once, and who waits for them. */
class PublicationBatch {
  /** Of all the events. */
  readonly bytes: number;
  readonly #publications: readonly Waiting[];
  readonly #abandon = new AbortController();
  #partsOf: Map<number, BatchPart[]> | undefined;
  #round = new Map<number, readonly BatchPart[]>();

  constructor(queued: readonly QueuedPublication[]) {
    this.#publications = queued.map((one) => ({
      ...one,
      positions: new Map(),
      unacknowledged: 0,
      settled: false,
    }));
    this.bytes = queued.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Aborted once no caller waits any longer. */
  get abandoned(): AbortSignal {
    return this.#abandon.signal;
  }

  get settled(): boolean {
    return this.#publications.every(({ settled }) => settled);
  }

  /** When the oldest of those still waiting was queued, in epoch milliseconds. */
  get oldest(): number | undefined {
    return this.#publications.find(({ settled }) => !settled)?.since;
  }

  /** Makes messages of the publications, the first time. */
  divide(partitions: number): void {
    if (this.#partsOf) return;
    this.#partsOf = new Map();
    for (const waiting of this.#publications) {
      const messages = encodePublication(waiting.publication, waiting.events, partitions);
      waiting.unacknowledged = messages.length;
      for (const message of messages) {
        const parts = this.#partsOf.get(message.partition);
        if (parts) parts.push({ ...message, waiting });
        else this.#partsOf.set(message.partition, [{ ...message, waiting }]);
      }
    }
  }

  /** The next messages of each partition, in order; the same ones until they are acknowledged. */
  nextRound(): Message[] {
    this.#round = new Map();
    for (const [partition, parts] of this.#partsOf ?? []) {
      if (parts.length === 0) continue;
      let bytes = 0;
      const full = parts.findIndex((part, i) => {
        bytes += part.bytes;
        return i > 0 && (bytes > roundBytes || i >= roundMessages);
      });
      this.#round.set(partition, full < 0 ? [...parts] : parts.slice(0, full));
    }
    return [...this.#round.values()].flatMap((parts) => parts.map(({ message }) => message));
  }

  /** Takes the offset of the first message of each partition that was acknowledged; throws when none was. */
  acknowledge(offsets: ReadonlyMap<number, bigint>): void {
    const acknowledged = [...this.#round].filter(([partition]) => offsets.has(partition));
    if (acknowledged.length === 0) throw new Error('no partition was acknowledged');
    for (const [partition, parts] of acknowledged) {
      const first = offsets.get(partition) as bigint;
      for (const [i, { waiting }] of parts.entries()) {
        waiting.positions.set(
          partition,
          formatPosition({ offset: first + BigInt(i) + 1n, events: 0 }) as Position,
        );
        waiting.unacknowledged -= 1;
        if (waiting.unacknowledged === 0) settle(waiting);
      }
      this.#partsOf?.get(partition)?.splice(0, parts.length);
    }
  }

  /** Rejects those that `isLate` picks. */
  refuse(isLate: (queued: QueuedPublication) => boolean, error: Error): void {
    for (const waiting of this.#publications) {
      if (waiting.settled || !isLate(waiting)) continue;
      waiting.settled = true;
      waiting.reject(error);
    }
    if (this.settled) this.#abandon.abort(error);
  }
}

function settle(waiting: Waiting): void {
  if (waiting.settled) return;
  waiting.settled = true;
  waiting.resolve([...waiting.positions].map(([partition, position]) => ({ partition, position })));
}
