import { comparePositions, type EventSource, furthest, type Position } from '../ports/event-source.ts';
import type { RecordedEvent } from '../ports/event-store.ts';
import type { Clock } from '../ports/system.ts';

type Listener = (events: readonly RecordedEvent[]) => void;

const refreshedEveryMilliseconds = 5_000;

/**
 * Whatever is judged by these events counts from so long after it was recorded: by then everybody knows of it who
 * refreshes before each use.
 */
export const heardOfAfterMilliseconds = 3 * refreshedEveryMilliseconds;

/** Hands over the events of a source as they come, and knows up to when it has handed over all there were. */
export class FollowedEvents {
  readonly #source: Pick<EventSource<RecordedEvent>, 'run' | 'ends'>;
  readonly #group: string;
  readonly #clock: Clock;
  readonly #reached = new Map<number, Position | null>();
  readonly #listeners: Listener[] = [];
  readonly #stopped = new AbortController();
  #running: Promise<void> | undefined;
  #settling: Promise<void> | undefined;
  /** All that was recorded until then has been handed over. */
  #settledAt = Number.NEGATIVE_INFINITY;
  #failure: unknown;
  #moved = Promise.withResolvers<void>();

  /** Nothing is read before the first `settle`. */
  constructor(source: Pick<EventSource<RecordedEvent>, 'run' | 'ends'>, group: string, clock: Clock) {
    this.#source = source;
    this.#group = group;
    this.#clock = clock;
  }

  onEvents(listener: Listener): void {
    this.#listeners.push(listener);
  }

  /** Begins behind what the source has now, instead of with its first event. Throws `EventStoreUnavailable`. */
  async skipHistory(): Promise<void> {
    for (const [partition, end] of await this.#source.ends()) this.#reached.set(partition, end);
  }

  /**
   * Resolves when everything has been handed over that was recorded ten seconds ago, which it mostly is at once.
   * Throws `EventStoreUnavailable`.
   */
  async refresh(): Promise<void> {
    const age = this.#clock.now() - this.#settledAt;
    if (age < refreshedEveryMilliseconds) return;
    this.#settling ??= this.settle().finally(() => {
      this.#settling = undefined;
    });
    if (age < 2 * refreshedEveryMilliseconds) this.#settling.catch(() => {});
    else await this.#settling;
  }

  /**
   * Resolves when everything has been handed over that the source has now, or `signal` is aborted. Throws
   * `EventStoreUnavailable`.
   */
  async settle(signal?: AbortSignal): Promise<void> {
    const startedAt = this.#clock.now();
    const ends = await this.#source.ends();
    this.#running ??= this.#run();
    const isBehind = () =>
      [...ends].some(([partition, end]) => comparePositions(this.#reached.get(partition) ?? null, end) < 0);
    const wake = () => this.#notify();
    signal?.addEventListener('abort', wake);
    try {
      while (isBehind()) {
        if (signal?.aborted) return;
        if (this.#failure !== undefined) throw this.#failure;
        await this.#moved.promise;
      }
    } finally {
      signal?.removeEventListener('abort', wake);
    }
    this.#settledAt = Math.max(this.#settledAt, startedAt);
  }

  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
  }

  /** Never rejects: whoever settles next starts again. */
  async #run(): Promise<void> {
    this.#failure = undefined;
    const { signal } = this.#stopped;
    try {
      await this.#source.run(
        {
          checkpoint: async (partition) => this.#reached.get(partition) ?? null,
          consume: async ({ partition, events }) => {
            const before = this.#reached.get(partition) ?? null;
            const arrived = events.filter(({ position }) => comparePositions(position, before) > 0);
            if (arrived.length > 0) for (const listener of this.#listeners) listener(arrived);
            this.#reach(partition, events.at(-1)?.position ?? before);
          },
          skip: async (partition, _, { position }) => this.#reach(partition, position),
        },
        { group: this.#group, signal },
      );
      this.#failure = new Error('Events are no longer followed');
    } catch (error) {
      this.#failure = error;
    }
    this.#running = undefined;
    this.#notify();
  }

  #reach(partition: number, position: Position | null): void {
    this.#reached.set(partition, furthest(this.#reached.get(partition) ?? null, position));
    this.#notify();
  }

  #notify(): void {
    this.#moved.resolve();
    this.#moved = Promise.withResolvers();
  }
}
