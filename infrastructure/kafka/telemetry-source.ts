import { setTimeout as pause } from 'node:timers/promises';
import type { Kafka } from 'kafkajs';
import {
  type BatchConsumer,
  type EventAt,
  type EventCount,
  type EventSource,
  exactly,
  type Position,
  type RunOptions,
} from '../../application/ports/event-source.ts';
import type { Log } from '../../application/ports/system.ts';
import type { TelemetryRecord } from '../../application/ports/telemetry-log.ts';
import { ConsumerFailed, KafkaConsumerSession, type SessionOptions } from './consumer-session.ts';
import { decodeMessage, formatPosition, parsePosition, partitionOf } from './telemetry-codec.ts';
import type { KafkaTopicReader } from './topic-reader.ts';

const firstBackoff = 100;
const longestBackoff = 5000;

/**
 * The telemetry topic as an EventSource. It starts at the consumer's checkpoint and nowhere else; the
 * offsets committed to Kafka are for the tools that show a group's lag.
 */
export class KafkaTelemetrySource implements EventSource<TelemetryRecord> {
  readonly name = 'telemetry';
  readonly #newClient: () => Kafka;
  readonly #reader: KafkaTopicReader;
  readonly #options: SessionOptions;
  readonly #log: Log;

  /** `newClient` since clients of one group must not share what kafkajs remembers of its offsets. */
  constructor(newClient: () => Kafka, reader: KafkaTopicReader, options: SessionOptions, log: Log) {
    this.#newClient = newClient;
    this.#reader = reader;
    this.#options = options;
    this.#log = log;
  }

  async run(
    consumer: BatchConsumer<TelemetryRecord>,
    { group, signal, keepsOthers = false }: RunOptions,
  ): Promise<void> {
    const failures = new Map<number, number>();
    let backoff = firstBackoff;
    while (!signal.aborted) {
      const session = new KafkaConsumerSession(
        this.#newClient(),
        group,
        consumer,
        this.#reader,
        failures,
        keepsOthers,
        this.#options,
        this.#log,
      );
      try {
        await session.run(signal);
      } catch (error) {
        if (error instanceof ConsumerFailed) throw error.cause;
        // Brokers that have just started cannot let anyone join yet.
        const write = session.hasJoined || backoff > firstBackoff ? this.#log.warn : this.#log.info;
        write({ err: error, group, backoff }, 'the Kafka consumer was lost and is built anew');
        this.#options.onRebuilt?.();
        if (session.hasJoined) backoff = firstBackoff;
        await pause(backoff, undefined, { signal }).catch(() => undefined);
        backoff = Math.min(2 * backoff, longestBackoff);
      }
    }
  }

  /** Throws `TelemetryLogUnavailable`. */
  async ends(): Promise<ReadonlyMap<number, Position | null>> {
    return positions(await this.#reader.ends());
  }

  /** Throws `TelemetryLogUnavailable`. */
  async expired(): Promise<ReadonlyMap<number, Position | null>> {
    const bounds = await this.#reader.bounds();
    return positions([...bounds].map(([partition, { low }]) => [partition, low]));
  }

  /** By the times that the broker gave the messages, or their producers. Throws `TelemetryLogUnavailable`. */
  async positionsBefore(time: number): Promise<ReadonlyMap<number, Position | null>> {
    return positions(await this.#reader.offsetsAt(time));
  }

  /** Throws `TelemetryLogUnavailable`. */
  async partitioner(): Promise<(deviceId: string) => number> {
    const partitions = await this.#reader.partitions();
    return (deviceId) => partitionOf(deviceId, partitions);
  }

  /** Throws `TelemetryLogUnavailable`. */
  identity(): Promise<string | null> {
    return this.#reader.identity();
  }

  /** Throws `TelemetryLogUnavailable`. */
  async eventAt(partition: number, position: Position): Promise<EventAt> {
    const { offset, events } = parsePosition(position);
    const consumed = events > 0 ? offset : offset - 1n;
    const { low, high } = (await this.#reader.bounds()).get(partition) ?? { low: 0n, high: 0n };
    if (consumed >= high) return 'none';
    // A transaction's marker, or what compaction took, is no event either.
    const message = consumed < low ? undefined : await this.#reader.messageAt(partition, consumed);
    if (!message) return 'unknown';
    const event = decodeMessage(message, { topic: this.#reader.topic, partition }).at(events - 1);
    return event ? { id: event.id } : 'none';
  }

  /** Exact up to a hundred messages, estimated beyond. Throws `TelemetryLogUnavailable`. */
  async countAfter(partition: number, position: Position | null): Promise<EventCount> {
    return exactly(await this.#reader.eventsAfter(partition, parsePosition(position)));
  }
}

const positions = (
  offsets: Iterable<readonly [partition: number, offset: bigint]>,
): ReadonlyMap<number, Position | null> =>
  new Map([...offsets].map(([partition, offset]) => [partition, formatPosition({ offset, events: 0 })]));
