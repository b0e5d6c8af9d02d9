import { setTimeout as pause } from 'node:timers/promises';
import kafkajs, { type Cluster, type Kafka, type KafkaMessage, type PartitionAssigner } from 'kafkajs';
import DeliveredBatch from 'kafkajs/src/consumer/batch.js';
import pLimit from 'p-limit';
import { type PartitionCounts, PartitionsChanged } from '../../application/ports/event-source.ts';
import { TelemetryLogUnavailable } from '../../application/ports/telemetry-log.ts';
import { metadataMaxAge } from './client.ts';
import { eventsIn, type KafkaPosition } from './telemetry-codec.ts';
import { topicId } from './topic-identity.ts';

/** Offsets of the first retained message and of the next one to come. */
export type Bounds = { readonly low: bigint; readonly high: bigint };

/** Beyond so many messages their events are reckoned from a few, which costs the same however long the backlog is. */
const countedMessages = 100n;
const fetchBytes = 65_536;
/** Some dozens of messages of a busy gateway, hundreds of a device; at least one batch. */
const sampleBytes = 16_384;
/** Looking back for the last message, each look goes so many times as far as the one before. */
const lookBackFactor = 8n;
const endsAtOnce = pLimit(16);
const checkTime = 2000;

/** Looks at a topic without consuming it: how many partitions, how far they go, how many events wait in one. */
export class KafkaTopicReader {
  readonly topic: string;
  readonly #kafka: Kafka;
  #pinned: number | undefined;
  #connected: Promise<Cluster> | undefined;
  #bounds: Promise<ReadonlyMap<number, Bounds>> | undefined;
  /** The end of the messages found before `high`, by partition. */
  readonly #found = new Map<number, { readonly high: bigint; readonly end: bigint }>();
  #identity: Promise<string | null> | undefined;

  constructor(kafka: Kafka, topic: string) {
    this.#kafka = kafka;
    this.topic = topic;
  }

  /**
   * Keeps the topic to the number of partitions that it has had for ever, which another first use may have written
   * down. Throws `PartitionsChanged` and `TelemetryLogUnavailable`.
   */
  async pin(counts: PartitionCounts): Promise<void> {
    const [identity, found] = await Promise.all([this.identity(), this.partitions()]);
    this.#pinned = await counts.pinned(identity ?? this.topic, found);
    this.#assertPinned(found);
  }

  /** How many partitions the topic has. Throws `PartitionsChanged` and `TelemetryLogUnavailable`. */
  async partitions(): Promise<number> {
    const found = await this.#ask(async (cluster) => {
      await cluster.refreshMetadataIfNecessary();
      return cluster.findTopicPartitionMetadata(this.topic).length;
    });
    this.#assertPinned(found);
    return found;
  }

  /** Of every partition. Throws `PartitionsChanged` and `TelemetryLogUnavailable`. */
  async bounds(): Promise<ReadonlyMap<number, Bounds>> {
    const bounds = await this.#askBounds();
    this.#assertPinned(bounds.size);
    return bounds;
  }

  #assertPinned(found: number): void {
    if (this.#pinned !== undefined && found !== this.#pinned)
      throw new PartitionsChanged(`Topic ${this.topic}`, found, this.#pinned);
  }

  /**
   * Of every partition, the offset of the first message of a time, epoch milliseconds, or a later one; its end where
   * there is none. Throws `PartitionsChanged` and `TelemetryLogUnavailable`.
   */
  async offsetsAt(time: number): Promise<ReadonlyMap<number, bigint>> {
    const ends = await this.ends();
    const found = await this.#ask(async (cluster) => {
      const partitions = [...ends.keys()].map((partition) => ({ partition }));
      const [topic] = await cluster.fetchTopicsOffset([
        { topic: this.topic, partitions, fromTimestamp: time },
      ]);
      return new Map(topic?.partitions.map(({ partition, offset }) => [partition, BigInt(offset)]));
    });
    return new Map(
      [...ends].map(([partition, end]) => {
        const offset = found.get(partition) ?? -1n;
        return [partition, offset < 0n ? end : offset];
      }),
    );
  }

  /** Concurrent calls share one request. */
  #askBounds(): Promise<ReadonlyMap<number, Bounds>> {
    this.#bounds ??= this.#ask(async (cluster) => {
      await cluster.refreshMetadataIfNecessary();
      const partitions = cluster
        .findTopicPartitionMetadata(this.topic)
        .map(({ partitionId }) => ({ partition: partitionId }));
      const offsets = async (fromBeginning: boolean) => {
        const [found] = await cluster.fetchTopicsOffset([{ topic: this.topic, partitions, fromBeginning }]);
        return new Map(found?.partitions.map(({ partition, offset }) => [partition, BigInt(offset)]));
      };
      const [low, high] = await Promise.all([offsets(true), offsets(false)]);
      return new Map(
        partitions.map(({ partition }) => [
          partition,
          { low: low.get(partition) ?? 0n, high: high.get(partition) ?? 0n },
        ]),
      );
    }).finally(() => {
      this.#bounds = undefined;
    });
    return this.#bounds;
  }

  /** The topic's id; `null` where brokers know none. Concurrent calls share one request. Throws `TelemetryLogUnavailable`. */
  identity(): Promise<string | null> {
    this.#identity ??= this.#ask((cluster) => topicId(cluster, this.topic)).finally(() => {
      this.#identity = undefined;
    });
    return this.#identity;
  }

  /** The message at an offset; `undefined` where there is none. Throws `TelemetryLogUnavailable`. */
  async messageAt(partition: number, offset: bigint): Promise<KafkaMessage | undefined> {
    const [message] = (await this.#fetch(partition, offset)).messages;
    return message && BigInt(message.offset) === offset ? message : undefined;
  }

  /**
   * Of every partition, the offset behind the last message that is ever delivered, which transaction markers and the
   * messages of aborted transactions are not. Throws `TelemetryLogUnavailable`.
   */
  async ends(): Promise<ReadonlyMap<number, bigint>> {
    const bounds = await this.bounds();
    return new Map(
      await Promise.all(
        [...bounds].map(async ([partition, { low, high }]) => {
          const found = this.#found.get(partition);
          if (found?.high === high) return [partition, found.end] as const;
          const end = await endsAtOnce(() => this.#endOf(partition, low, high));
          this.#found.set(partition, { high, end });
          return [partition, end] as const;
        }),
      ),
    );
  }

  async #endOf(partition: number, low: bigint, high: bigint): Promise<bigint> {
    for (let back = 1n; ; back *= lookBackFactor) {
      const start = high - back < low ? low : high - back;
      let end = start;
      for (let next = start; next < high; ) {
        const fetched = await this.#fetch(partition, next);
        const last = fetched.messages.at(-1);
        if (last) end = BigInt(last.offset) + 1n;
        if (fetched.next <= next) break;
        next = fetched.next;
      }
      if (end > start || start === low) return end < high ? end : high;
    }
  }

  /**
   * How many events of a partition follow `position`: those of a hundred messages are counted, those of more
   * reckoned from the first. Throws `TelemetryLogUnavailable`.
   */
  async eventsAfter(partition: number, { offset, events }: KafkaPosition): Promise<number> {
    const bounds = (await this.bounds()).get(partition);
    if (!bounds) return 0;
    const first = offset < bounds.low ? bounds.low : offset;
    const done = first === offset ? events : 0;
    let next = first;
    let counted = 0;
    const isMany = bounds.high - first > countedMessages;
    while (next < bounds.high) {
      const fetched = await this.#fetch(partition, next, isMany ? sampleBytes : fetchBytes);
      if (fetched.next <= next) break;
      for (const message of fetched.messages) counted += eventsIn(message);
      next = fetched.next;
      if (isMany && counted > done) break;
    }
    const looked = next - first;
    if (looked === 0n) return 0;
    const rest = bounds.high - next;
    return counted - done + Math.round((Number(rest) * counted) / Number(looked));
  }

  /** Resolves when the brokers answer and every partition has a leader. Throws `TelemetryLogUnavailable`. */
  async check(): Promise<void> {
    const silence = new AbortController();
    const late = pause(checkTime, undefined, { signal: silence.signal }).then(() => {
      throw new TelemetryLogUnavailable(`Kafka does not answer about ${this.topic} within ${checkTime} ms`);
    });
    await Promise.race([this.bounds(), late]).finally(() => silence.abort());
  }

  close(): Promise<void> {
    return this.#drop(this.#connected);
  }

  /** Some messages that consumers are given, from an offset on, and the offset behind all that was looked at. */
  async #fetch(
    partition: number,
    offset: bigint,
    maxBytes = fetchBytes,
  ): Promise<{ readonly messages: readonly KafkaMessage[]; readonly next: bigint }> {
    return this.#ask(async (cluster) => {
      const [leader] = Object.keys(cluster.findLeaderForPartitions(this.topic, [partition]));
      const broker = await cluster.findBroker({ nodeId: leader as string });
      const request = { partition, fetchOffset: String(offset), maxBytes };
      const { responses } = await broker.fetch({
        maxWaitTime: 0,
        minBytes: 0,
        maxBytes,
        isolationLevel: 1,
        topics: [{ topic: this.topic, partitions: [request] }],
      });
      const found = responses[0]?.partitions[0];
      if (!found) return { messages: [], next: offset };
      const { messages, messagesWithinOffset } = new DeliveredBatch(this.topic, String(offset), found);
      const last = messagesWithinOffset.at(-1);
      return { messages, next: last ? BigInt(last.offset) + 1n : offset };
    });
  }

  /** A connection that failed is not used again: the second try is on a new one that knows the leaders of today. */
  async #ask<T>(question: (cluster: Cluster) => Promise<T>): Promise<T> {
    const attempt = async () => {
      const connected = this.#connect();
      try {
        return await question(await connected);
      } catch (error) {
        await this.#drop(connected);
        throw error;
      }
    };
    try {
      return await attempt().catch(attempt);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new TelemetryLogUnavailable(`Kafka does not answer about ${this.topic}: ${reason}`, 1, { cause });
    }
  }

  async #drop(connected: Promise<Cluster> | undefined): Promise<void> {
    if (this.#connected === connected) this.#connected = undefined;
    await (await connected?.catch(() => undefined))?.disconnect();
  }

  #connect(): Promise<Cluster> {
    this.#connected ??= (async () => {
      const cluster = clusterOf(this.#kafka);
      try {
        await cluster.connect();
        await cluster.addTargetTopic(this.topic);
        return cluster;
      } catch (error) {
        await cluster.disconnect();
        throw error;
      }
    })();
    return this.#connected;
  }
}

/** The admin client neither fetches nor keeps to one connection. The consumer that this is of never runs. */
function clusterOf(kafka: Kafka): Cluster {
  let cluster: Cluster | undefined;
  kafka.consumer({
    groupId: 'fieldlog-reader',
    metadataMaxAge,
    allowAutoTopicCreation: false,
    partitionAssigners: [captureCluster((found) => (cluster = found))],
  });
  return cluster as unknown as Cluster;
}

/**
 * kafkajs's default assigner. kafkajs passes its cluster to assigners when a consumer is made, which is
 * the one public way to have it: for requests that no client makes, and to cut connections that hang.
 */
export const captureCluster =
  (capture: (cluster: Cluster) => void): PartitionAssigner =>
  (config) => {
    capture(config.cluster);
    return kafkajs.PartitionAssigners.roundRobin(config);
  };
