import assert from 'node:assert/strict';
import {
  type Batch,
  type BatchConsumer,
  comparePositions,
  type EventSource,
  type Position,
  type Positioned,
} from '../../application/ports/event-source.ts';

/**
 * A consumer that keeps all it is handed and moves its checkpoint along. Each batch must be in order and
 * consecutive: whatever breaks that is thrown by `verdict`, since a source may take a throwing consumer in its stride.
 */
export class RecordingConsumer<Event extends Positioned> implements BatchConsumer<Event> {
  readonly batches: Batch<Event>[] = [];
  checkpointCalls = 0;
  #checkpoints: Map<number, Position | null>;
  #fault: unknown;

  constructor(checkpoints: ReadonlyMap<number, Position | null> = new Map()) {
    this.#checkpoints = new Map(checkpoints);
  }

  async checkpoint(partition: number): Promise<Position | null> {
    this.checkpointCalls += 1;
    return this.#checkpoints.get(partition) ?? null;
  }

  async consume(batch: Batch<Event>): Promise<void> {
    try {
      this.#check(batch);
    } catch (fault) {
      this.#fault ??= fault;
    }
    this.batches.push(batch);
    this.moveTo(batch.partition, batch.events.at(-1)?.position ?? null);
  }

  moveTo(partition: number, position: Position | null): void {
    this.#checkpoints.set(partition, position);
  }

  get events(): Event[] {
    return this.batches.flatMap(({ events }) => events);
  }

  /** Throws when a batch was empty, out of order, repeated what was consumed or left something out. */
  verdict(): void {
    if (this.#fault) throw this.#fault;
  }

  #check({ partition, after, events }: Batch<Event>): void {
    const checkpoint = this.#checkpoints.get(partition) ?? null;
    assert.ok(events.length > 0, 'a batch is empty');
    assert.ok(
      comparePositions(after, checkpoint) <= 0,
      `events between ${checkpoint} and ${after} of partition ${partition} were left out`,
    );
    let last = checkpoint;
    for (const { position } of events) {
      assert.ok(comparePositions(last, position) < 0, `${position} came after ${last}`);
      last = position;
    }
  }
}

/** Runs `source` with `consumer` until `condition` resolves, then stops it; what it rejects with is thrown. */
export async function runUntil<Event extends Positioned>(
  source: EventSource<Event>,
  consumer: BatchConsumer<Event>,
  group: string,
  condition: () => Promise<unknown>,
): Promise<void> {
  const stop = new AbortController();
  const run = source.run(consumer, { group, signal: stop.signal });
  const endedEarly = run.then(() => assert.fail('run ended before it was stopped'));
  try {
    await Promise.race([condition(), endedEarly]);
  } finally {
    stop.abort();
    await Promise.allSettled([run, endedEarly]);
  }
  await run;
}
