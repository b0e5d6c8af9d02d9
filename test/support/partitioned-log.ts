import { setTimeout as pause } from 'node:timers/promises';
import {
  type BatchConsumer,
  type EventAt,
  type EventCount,
  type EventSource,
  exactly,
  type Position,
  type RunOptions,
} from '../../application/ports/event-source.ts';
import type { TelemetryRecord } from '../../application/ports/telemetry-log.ts';

/** A telemetry log of several partitions in memory, each read on its own, for what one partition cannot show. */
export class PartitionedLog implements EventSource<TelemetryRecord> {
  readonly name = 'telemetry';
  readonly #partitions: readonly TelemetryRecord[][];
  readonly #partitionOf: (deviceId: string) => number;
  log: string | null = 'in memory';
  #appended = 0;

  constructor(partitions: number, partitionOf: (deviceId: string) => number) {
    this.#partitions = Array.from({ length: partitions }, () => []);
    this.#partitionOf = partitionOf;
  }

  /** Readings of a device one second apart, in whichever partition. */
  append(partition: number, deviceId: string, from: number, count: number): void {
    const events = this.#partitions[partition] as TelemetryRecord[];
    for (let i = from; i < from + count; i += 1) {
      this.#appended += 1;
      events.push({
        id: `e/${this.#appended}`,
        type: 'TelemetryRecorded',
        schemaVersion: 1,
        position: String(events.length + 1),
        receivedAt: 1_760_000_000_000,
        correlationId: `c${this.#appended}`,
        actor: 'test',
        data: { deviceId, timestamp: i * 1000, metrics: { n: i } },
      });
    }
  }

  /** Gives other ids to all that is in it. */
  rename(idOf: (id: string) => string): void {
    for (const events of this.#partitions)
      for (const [i, event] of events.entries()) events[i] = { ...event, id: idOf(event.id) };
  }

  async run(consumer: BatchConsumer<TelemetryRecord>, { signal }: RunOptions): Promise<void> {
    await Promise.all(this.#partitions.map((_, partition) => this.#follow(partition, consumer, signal)));
  }

  async ends(): Promise<ReadonlyMap<number, Position | null>> {
    return new Map(this.#partitions.map((events, i) => [i, events.at(-1)?.position ?? null]));
  }

  async expired(): Promise<ReadonlyMap<number, Position | null>> {
    return new Map(this.#partitions.map((_, i) => [i, null]));
  }

  async partitioner(): Promise<(deviceId: string) => number> {
    return this.#partitionOf;
  }

  async identity(): Promise<string | null> {
    return this.log;
  }

  async eventAt(partition: number, position: Position): Promise<EventAt> {
    return this.#partitions[partition]?.[Number(position) - 1] ?? 'none';
  }

  async countAfter(partition: number, position: Position | null): Promise<EventCount> {
    return exactly(Math.max(0, (this.#partitions[partition]?.length ?? 0) - Number(position ?? 0)));
  }

  async #follow(
    partition: number,
    consumer: BatchConsumer<TelemetryRecord>,
    signal: AbortSignal,
  ): Promise<void> {
    let after = await consumer.checkpoint(partition);
    while (!signal.aborted) {
      const events = this.#partitions[partition]?.slice(Number(after ?? 0), Number(after ?? 0) + 7) ?? [];
      if (events.length > 0) {
        await consumer.consume({ partition, after, events }).catch((error) => {
          if (!signal.aborted) throw error;
        });
        after = events.at(-1)?.position ?? after;
      } else await pause(5);
    }
  }
}
