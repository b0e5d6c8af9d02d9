import type { Batch, BatchConsumer, Positioned } from '../ports/event-source.ts';
import { comparePositions, type Position } from '../ports/position.ts';

/**
 * Lets a consumer through up to certain positions and no further, so that a generation can be brought to exactly
 * where another one stands.
 */
export class GatedConsumer<Event extends Positioned> implements BatchConsumer<Event> {
  readonly #inner: BatchConsumer<Event>;
  readonly #onConsumed: (events: number) => void;
  readonly #signal: AbortSignal;
  readonly #reached = new Map<number, Position>();
  /** None: everything may pass. */
  #limits: ReadonlyMap<number, Position> | undefined;
  #underWay = 0;
  #changed = Promise.withResolvers<void>();

  constructor(inner: BatchConsumer<Event>, signal: AbortSignal, onConsumed: (events: number) => void) {
    this.#inner = inner;
    this.#onConsumed = onConsumed;
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#notify(), { once: true });
  }

  /** Lets nothing more pass, and resolves when what had passed is consumed. */
  async close(): Promise<void> {
    this.limit(new Map());
    while (this.#underWay > 0) await this.#changed.promise;
  }

  /** Where each partition stands that was consumed since the start. */
  get reached(): ReadonlyMap<number, Position> {
    return this.#reached;
  }

  /** Nothing passes beyond the limits from now on; partitions without one stand still. */
  limit(limits: ReadonlyMap<number, Position> | undefined): void {
    this.#limits = limits;
    this.#notify();
  }

  /** Resolves when every limit is reached, or the signal is aborted. */
  async untilReached(limits: ReadonlyMap<number, Position>): Promise<void> {
    while (!this.#signal.aborted && ![...limits].every(([partition, limit]) => this.#has(partition, limit)))
      await this.#changed.promise;
  }

  async checkpoint(partition: number): Promise<Position | null> {
    const position = await this.#inner.checkpoint(partition);
    if (position !== null) this.#reached.set(partition, position);
    this.#notify();
    return position;
  }

  async consume(batch: Batch<Event>): Promise<void> {
    let rest = batch;
    while (rest.events.length > 0) {
      if (this.#signal.aborted) throw new Error('The rebuild was stopped');
      const allowed = rest.events.filter(({ position }) => this.#allows(rest.partition, position));
      if (allowed.length === 0) {
        await this.#changed.promise;
        continue;
      }
      const last = allowed.at(-1) as Event;
      this.#underWay += 1;
      try {
        await this.#inner.consume({ ...rest, events: allowed });
        this.#reached.set(rest.partition, last.position);
      } finally {
        this.#underWay -= 1;
        this.#notify();
      }
      this.#onConsumed(allowed.length);
      rest = { ...rest, after: last.position, events: rest.events.slice(allowed.length) };
    }
  }

  #has(partition: number, limit: Position): boolean {
    return comparePositions(this.#reached.get(partition) ?? null, limit) >= 0;
  }

  #allows(partition: number, position: Position): boolean {
    if (!this.#limits) return true;
    return comparePositions(position, this.#limits.get(partition) ?? null) <= 0;
  }

  #notify(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
