import { comparePositions, type EventSource, type Position } from '../ports/event-source.ts';
import type { RecordedEvent } from '../ports/event-store.ts';

type Listener = (events: readonly RecordedEvent[]) => void;

/** Hands over the events of a source as they come, and knows when it has handed over all there are. */
export class FollowedEvents {
  readonly #source: Pick<EventSource<RecordedEvent>, 'run' | 'ends'>;
  readonly #group: string;
  readonly #reached = new Map<number, Position | null>();
  readonly #listeners: Listener[] = [];
  readonly #stopped = new AbortController();
  #running: Promise<void> | undefined;
  #failure: unknown;
  #moved = Promise.withResolvers<void>();

  /** Nothing is read before the first `settle`. */
  constructor(source: Pick<EventSource<RecordedEvent>, 'run' | 'ends'>, group: string) {
    this.#source = source;
    this.#group = group;
  }

  onEvents(listener: Listener): void {
    this.#listeners.push(listener);
  }

  /** Begins behind what the source has now, instead of with its first event. Throws `EventStoreUnavailable`. */
  async skipHistory(): Promise<void> {
    for (const [partition, end] of await this.#source.ends()) this.#reached.set(partition, end);
  }

  /** Resolves when everything has been handed over that the source has now. Throws `EventStoreUnavailable`. */
  async settle(): Promise<void> {
    const ends = await this.#source.ends();
    this.#running ??= this.#run();
    const isBehind = () =>
      [...ends].some(([partition, end]) => comparePositions(this.#reached.get(partition) ?? null, end) < 0);
    while (isBehind()) {
      if (this.#failure !== undefined) throw this.#failure;
      await this.#moved.promise;
    }
  }

  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
    this.#failure ??= new Error('Events are no longer followed');
    this.#notify();
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
            this.#reached.set(partition, events.at(-1)?.position ?? before);
            this.#notify();
          },
        },
        { group: this.#group, signal },
      );
    } catch (error) {
      this.#failure = error;
      this.#running = undefined;
      this.#notify();
    }
  }

  #notify(): void {
    this.#moved.resolve();
    this.#moved = Promise.withResolvers();
  }
}
