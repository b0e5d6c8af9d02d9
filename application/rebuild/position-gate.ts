import {
  type Batch,
  type BatchConsumer,
  comparePositions,
  type EventSource,
  type Position,
  type Positioned,
} from '../ports/event-source.ts';

/** A position for each partition that has come to one. */
export type Positions = ReadonlyMap<number, Position>;

/**
 * Lets a consumer through up to certain positions and no further, so that a generation can be brought to exactly
 * where another one stands. Shut until `limit` is called.
 */
export class PositionGate<Event extends Positioned> implements BatchConsumer<Event> {
  readonly #inner: BatchConsumer<Event>;
  readonly #onConsumed: (events: readonly Event[]) => void;
  readonly #signal: AbortSignal;
  readonly #reached = new Map<number, Position>();
  #limits: Positions | 'none' = new Map();
  #underWay = 0;
  #changed = Promise.withResolvers<void>();

  constructor(
    inner: BatchConsumer<Event>,
    signal: AbortSignal,
    onConsumed: (events: readonly Event[]) => void = () => {},
  ) {
    this.#inner = inner;
    this.#onConsumed = onConsumed;
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#notify(), { once: true });
  }

  /** Where each partition stands that was asked for or consumed. */
  get reached(): Positions {
    return this.#reached;
  }

  /** Nothing passes beyond the limits from now on; partitions without one stand still. */
  limit(limits: Positions | 'none'): void {
    this.#limits = limits;
    this.#notify();
  }

  /** Lets nothing more pass, and resolves when what had passed is consumed. */
  async close(): Promise<void> {
    this.limit(new Map());
    while (this.#underWay > 0) await this.#changed.promise;
  }

  /** Resolves when every limit is reached, or the signal is aborted. */
  async whenReached(limits: Positions): Promise<void> {
    while (!this.#signal.aborted && !covers(this.#reached, limits)) await this.#changed.promise;
  }

  async checkpoint(partition: number): Promise<Position | null> {
    const position = await this.#inner.checkpoint(partition);
    if (position === null) this.#reached.delete(partition);
    else this.#reached.set(partition, position);
    this.#notify();
    return position;
  }

  async consume(batch: Batch<Event>, waiting?: () => void): Promise<void> {
    let rest = batch;
    while (rest.events.length > 0) {
      if (this.#signal.aborted) throw new Error('Consuming was stopped');
      const allowed = this.#allowed(rest);
      const last = allowed.at(-1);
      if (!last) {
        const changed = this.#changed.promise;
        waiting?.();
        await changed;
        continue;
      }
      this.#underWay += 1;
      try {
        const { onApplied: _, ...part } = rest;
        const isWhole = allowed.length === rest.events.length;
        await this.#inner.consume(isWhole ? rest : { ...part, events: allowed }, waiting);
        this.#reached.set(rest.partition, last.position);
      } finally {
        this.#underWay -= 1;
        this.#notify();
      }
      this.#onConsumed(allowed);
      rest = { ...rest, after: last.position, events: rest.events.slice(allowed.length) };
    }
  }

  #allowed({ partition, events }: Batch<Event>): readonly Event[] {
    if (this.#limits === 'none') return events;
    const limit = this.#limits.get(partition) ?? null;
    const last = events.at(-1);
    if (last && comparePositions(last.position, limit) <= 0) return events;
    const beyond = events.findIndex(({ position }) => comparePositions(position, limit) > 0);
    return events.slice(0, beyond);
  }

  #notify(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

/** Whether `positions` have come to `limits` in every partition. */
export const covers = (positions: Positions, limits: Positions): boolean =>
  [...limits].every(([partition, limit]) => comparePositions(positions.get(partition) ?? null, limit) >= 0);

/** Hands over all events of a log up to `ends`, from the first one it still has, in order within each partition. */
export async function readLog<Event extends Positioned>(
  source: Pick<EventSource<Event>, 'run'>,
  ends: Positions,
  { group, signal }: { readonly group: string; readonly signal: AbortSignal },
  visit: (events: readonly Event[], partition: number) => void,
): Promise<void> {
  if (ends.size === 0) return;
  const stop = new AbortController();
  const stopped = AbortSignal.any([signal, stop.signal]);
  const reader = new PositionGate<Event>(
    { checkpoint: async () => null, consume: async ({ events, partition }) => visit(events, partition) },
    stopped,
  );
  reader.limit(ends);
  const running = source.run(reader, { group, signal: stopped });
  try {
    await Promise.race([reader.whenReached(ends), running]);
    signal.throwIfAborted();
  } finally {
    stop.abort();
    await running;
  }
}
