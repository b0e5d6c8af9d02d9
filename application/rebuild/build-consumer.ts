import { PoisonEvent } from '../checked-batch.ts';
import { pause } from '../pause.ts';
import {
  type Batch,
  type BatchConsumer,
  comparePositions,
  type EventPlace,
  type EventSource,
  furthest,
  type Position,
  type Positioned,
} from '../ports/event-source.ts';

/** The position reached in each partition; a partition without one is absent. */
export type Positions = ReadonlyMap<number, Position>;

type BuildConsumerOptions<Event> = {
  /** Nothing more is consumed once it is aborted, and nobody waits any longer. */
  readonly signal: AbortSignal;
  /** Events a second at most, which may change at any time; `undefined` without a limit. */
  readonly rate?: () => number | undefined;
  readonly onConsumed?: (events: readonly Event[]) => void;
  /** An event that must not be parked cannot be applied: the source would retry it for ever. */
  readonly onPoison?: (error: PoisonEvent) => void;
};

/** A batch is divided into so many parts a second under a rate, so that the pace is even and no pause is long. */
const partsPerSecond = 5;

/**
 * Consumes up to certain positions and no further, so that a generation can be brought to exactly where another one
 * is, and no faster than a rate. Consumes nothing until `allowUpTo` is called.
 */
export class BuildConsumer<Event extends Positioned> implements BatchConsumer<Event> {
  readonly #inner: BatchConsumer<Event>;
  readonly #options: BuildConsumerOptions<Event>;
  readonly #reached = new Map<number, Position>();
  /** Without an event, because the log has none there. */
  readonly #skipped = new Map<number, Position>();
  #limits: Positions | 'none' = new Map();
  #consuming = 0;
  #changed = Promise.withResolvers<void>();

  constructor(inner: BatchConsumer<Event>, options: BuildConsumerOptions<Event>) {
    this.#inner = inner;
    this.#options = options;
    options.signal.addEventListener('abort', this.#notify, { once: true });
  }

  /** The checkpoints asked for and the positions consumed since. */
  get reached(): Positions {
    return this.#reached;
  }

  /** Nothing beyond the limits is consumed from now on, and nothing at all of partitions without one. */
  allowUpTo(limits: Positions | 'none'): void {
    this.#limits = limits;
    this.#notify();
  }

  /** Starts nothing more, and resolves when what has been started is consumed. */
  async close(): Promise<void> {
    this.allowUpTo(new Map());
    while (this.#consuming > 0) await this.#changed.promise;
  }

  /** Resolves when every limit is reached, or the signal is aborted. */
  async whenReached(limits: Positions): Promise<void> {
    const { signal } = this.#options;
    const isReached = () =>
      [...limits].every(([partition, limit]) => comparePositions(this.#furthest(partition), limit) >= 0);
    while (!signal.aborted && !isReached()) await this.#changed.promise;
  }

  async checkpoint(partition: number): Promise<Position | null> {
    const position = await this.#inner.checkpoint(partition);
    if (position === null) this.#reached.delete(partition);
    else this.#reached.set(partition, position);
    this.#notify();
    return position;
  }

  async skipped(partition: number): Promise<EventPlace | null> {
    return (await this.#inner.skipped?.(partition)) ?? null;
  }

  async skip(partition: number, after: Position | null, to: EventPlace | Positioned): Promise<void> {
    await this.#inner.skip?.(partition, after, to);
    this.#skipped.set(partition, to.position);
    this.#notify();
  }

  async consume(batch: Batch<Event>, waiting?: () => void): Promise<void> {
    let rest = batch;
    while (rest.events.length > 0) {
      if (this.#options.signal.aborted || batch.signal?.aborted) throw new Error('Consuming was stopped');
      const allowed = this.#allowed(rest);
      if (allowed.length === 0) {
        this.#passLimit(rest.partition);
        const changed = this.#changed.promise;
        batch.signal?.addEventListener('abort', this.#notify);
        waiting?.();
        await changed;
        batch.signal?.removeEventListener('abort', this.#notify);
        continue;
      }
      const rate = this.#options.rate?.();
      const events =
        rate === undefined ? allowed : allowed.slice(0, Math.max(1, Math.floor(rate / partsPerSecond)));
      await this.#consumePart(rest, events, rate, waiting);
      rest = {
        ...rest,
        after: events.at(-1)?.position ?? rest.after,
        events: rest.events.slice(events.length),
      };
    }
  }

  /** The first `events` of the batch, and the pause that `rate` asks for after them. */
  async #consumePart(
    batch: Batch<Event>,
    events: readonly Event[],
    rate: number | undefined,
    waiting?: () => void,
  ): Promise<void> {
    const { signal, onConsumed, onPoison } = this.#options;
    const { onApplied: _, ...part } = batch;
    // The next batch may come before this one is durable, but neither before its last part nor before the last pause.
    const isRest = events.length === batch.events.length && rate === undefined;
    const started = performance.now();
    this.#consuming += 1;
    try {
      await this.#inner.consume(isRest ? batch : { ...part, events }, waiting);
      const last = events.at(-1);
      if (last) this.#advance(batch.partition, last.position);
    } catch (error) {
      if (error instanceof PoisonEvent) onPoison?.(error);
      throw error;
    } finally {
      this.#consuming -= 1;
      this.#notify();
    }
    onConsumed?.(events);
    if (rate !== undefined)
      await pause((events.length / rate) * 1000 - (performance.now() - started), signal);
  }

  /** The answer to an earlier batch may come after that to a later one. */
  #advance(partition: number, position: Position): void {
    const before = this.#reached.get(partition) ?? null;
    if (comparePositions(before, position) < 0) this.#reached.set(partition, position);
  }

  #allowed({ partition, events }: Batch<Event>): readonly Event[] {
    if (this.#limits === 'none') return events;
    const limit = this.#limits.get(partition) ?? null;
    const last = events.at(-1);
    if (last && comparePositions(last.position, limit) <= 0) return events;
    const beyond = events.findIndex(({ position }) => comparePositions(position, limit) > 0);
    return events.slice(0, beyond);
  }

  /** The log has no event left between what was consumed and the limit, that of the limit itself included. */
  #passLimit(partition: number): void {
    // An earlier batch may not be durable yet; the last of those that are consumed calls again.
    if (this.#consuming > 0) return;
    const limit = this.#limits === 'none' ? undefined : this.#limits.get(partition);
    if (limit === undefined || comparePositions(this.#furthest(partition), limit) >= 0) return;
    this.#skipped.set(partition, limit);
    this.#notify();
  }

  #furthest(partition: number): Position | null {
    return furthest(this.#reached.get(partition) ?? null, this.#skipped.get(partition) ?? null);
  }

  readonly #notify = (): void => {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  };
}

/** Whether `positions` have come to `limits` in every partition. */
export const covers = (positions: Positions, limits: Positions): boolean =>
  [...limits].every(([partition, limit]) => comparePositions(positions.get(partition) ?? null, limit) >= 0);

type ReadOptions = {
  readonly group: string;
  readonly signal: AbortSignal;
  /** Where to start; the first event that the log still has where it says nothing. */
  readonly from?: ReadonlyMap<number, Position | null>;
};

/**
 * Hands over all events of a log up to `upTo` once, in order within each partition. No more of a partition once `visit`
 * has answered `enough`.
 */
export async function readLog<Event extends Positioned>(
  source: Pick<EventSource<Event>, 'run' | 'expired'>,
  upTo: Positions,
  { group, signal, from = new Map() }: ReadOptions,
  visit: (events: readonly Event[], partition: number) => unknown,
): Promise<void> {
  const expired = await source.expired();
  // Where everything has expired, no event comes that would end the wait.
  const ends = new Map(
    [...upTo].filter(([partition, end]) => comparePositions(end, expired.get(partition) ?? null) > 0),
  );
  if (ends.size === 0) return;
  const stop = new AbortController();
  const stopped = AbortSignal.any([signal, stop.signal]);
  // A source that has lost its connection asks again where to start: not at what was visited.
  const visited = new Map<number, Position>();
  const reader = new BuildConsumer<Event>(
    {
      checkpoint: async (partition) => visited.get(partition) ?? from.get(partition) ?? null,
      async consume({ events, partition }) {
        const answer = visit(events, partition);
        const last = events.at(-1);
        if (last) visited.set(partition, last.position);
        if (answer === 'enough') await leave(partition);
      },
    },
    { signal: stopped },
  );
  const limits = new Map(ends);
  const leave = async (partition: number) => {
    await reader.skip(partition, null, { position: ends.get(partition) as Position });
    limits.delete(partition);
    reader.allowUpTo(limits);
  };
  reader.allowUpTo(limits);
  const running = source.run(reader, { group, signal: stopped });
  try {
    await Promise.race([reader.whenReached(ends), running]);
    signal.throwIfAborted();
  } finally {
    stop.abort();
    await running;
  }
}
