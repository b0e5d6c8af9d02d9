import type { AssignedPartition } from './assigned-partition.ts';
import type { KafkaTopicReader } from './kafka-topic-reader.ts';

/** kafkajs can stop fetching, one partition or all, without a word. */
export class StallWatch {
  readonly #reader: KafkaTopicReader;
  /** Milliseconds. */
  readonly #patience: number;
  #lastSign = Date.now();
  /** By partition: where one that has lag was first seen to stand. */
  readonly #standing = new Map<number, { readonly at: string; readonly since: number }>();

  constructor(reader: KafkaTopicReader, patience: number) {
    this.#reader = reader;
    this.#patience = patience;
  }

  /** The consumer has done something. */
  sign(): void {
    this.#lastSign = Date.now();
  }

  /** Why the consumer has to be taken for stalled, if it has. */
  async verdict(partitions: readonly AssignedPartition[]): Promise<string | undefined> {
    const now = Date.now();
    const tooLong = (since: number) => now - since > this.#patience;
    const running = partitions.flatMap(({ underWay }) => underWay?.since ?? []);
    if (running.length === 0 && tooLong(this.#lastSign))
      return `the Kafka consumer has done nothing for ${now - this.#lastSign} ms`;
    // Others may have to wait for a batch that takes so long; that is no fault of the Kafka consumer.
    if (running.some(tooLong)) return undefined;
    const bounds = await this.#reader.bounds().catch(() => undefined);
    for (const { partition, next } of partitions) {
      const high = bounds?.get(partition)?.high;
      if (!next || high === undefined || high <= next.offset) {
        this.#standing.delete(partition);
        continue;
      }
      const at = `${next.offset}-${next.events}`;
      const standing = this.#standing.get(partition);
      if (standing?.at !== at) this.#standing.set(partition, { at, since: now });
      else if (tooLong(standing.since))
        return `partition ${partition} stands still at ${at} although it goes on to ${high}`;
    }
    return undefined;
  }
}
