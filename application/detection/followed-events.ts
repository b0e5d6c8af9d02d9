import { pause } from '../pause.ts';
import { comparePositions, type EventPlace, type EventSource, type Position } from '../ports/event-source.ts';
import { EventStoreUnavailable, type RecordedEvent } from '../ports/event-store.ts';
import type { Clock } from '../ports/system.ts';

type Listener = {
  readonly add: (events: readonly RecordedEvent[]) => void;
  /** What was added is of another log; what this one has is added next. */
  readonly clear: () => void;
};

type FollowedSource = Pick<EventSource<RecordedEvent>, 'run' | 'ends' | 'eventAt' | 'known' | 'remember'>;

/** What is followed is in the log of devices, which has one. */
const partition = 0;

const refreshedEveryMilliseconds = 5_000;
/** What follows soon is remembered with it; after that there is time. */
const rememberedAfterMilliseconds = 250;
const rememberedEveryMilliseconds = 2_000;

/**
 * Whatever is judged by these events counts from so long after it was recorded: by then everybody knows of it who
 * refreshes before each use.
 */
export const heardOfAfterMilliseconds = 3 * refreshedEveryMilliseconds;

/**
 * Hands over the events of a source as they come, and knows up to when it has handed over all there were. Begins with
 * those that the source knows the places of, if it does, and has it remember where it has come to.
 */
export class FollowedEvents {
  readonly #source: FollowedSource;
  readonly #group: string;
  readonly #clock: Clock;
  readonly #listeners: Listener[] = [];
  readonly #stopped = new AbortController();
  #reached: Position | null = null;
  /** The furthest event that is known by its id, whoever wrote it: while the log has it, it is the same log. */
  #mark: EventPlace | undefined;
  readonly #places: EventPlace[] = [];
  #beginsAtEnd = false;
  /** Since the log was found to be another one, until all has been read that it had then. */
  #anew: { readonly end: Position | null; readonly events: RecordedEvent[] } | undefined;
  /** Logs that were followed before. */
  #formerLogs = 0;
  /** What a run of the source still reports is of the place where it began, in the former log. */
  #isRunOfFormerLog = false;
  #running: Promise<void> | undefined;
  #settling: Promise<void> | undefined;
  #remembering: Promise<void> | undefined;
  /** All that was recorded until then has been handed over. */
  #settledAt = Number.NEGATIVE_INFINITY;
  #failure: unknown;
  #moved = Promise.withResolvers<void>();

  /** Nothing is read before the first `settle`. */
  constructor(source: FollowedSource, group: string, clock: Clock) {
    this.#source = source;
    this.#group = group;
    this.#clock = clock;
  }

  listen(listener: Listener): void {
    this.#listeners.push(listener);
  }

  /** Begins behind what the source has now, instead of with its first event. Throws `EventStoreUnavailable`. */
  async skipHistory(): Promise<void> {
    const end = await this.#end();
    const last = end === null ? 'none' : await this.#source.eventAt(partition, end);
    this.#beginsAtEnd = true;
    this.#reached = end;
    this.#mark = end !== null && typeof last === 'object' ? { position: end, eventId: last.id } : undefined;
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
    let end = await this.#end();
    let log = this.#formerLogs;
    this.#running ??= this.#run();
    const wake = () => this.#notify();
    signal?.addEventListener('abort', wake);
    try {
      while (this.#anew || comparePositions(this.#reached, end) < 0) {
        if (signal?.aborted) return;
        if (this.#failure !== undefined) throw this.#failure;
        await this.#moved.promise;
        if (log === this.#formerLogs) continue;
        log = this.#formerLogs;
        end = await this.#end();
      }
    } finally {
      signal?.removeEventListener('abort', wake);
    }
    this.#settledAt = Math.max(this.#settledAt, startedAt);
  }

  /** Whoever waits for what was not handed over yet waits no longer, and is told that the event store is unavailable. */
  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
    await this.#remembering;
  }

  async #end(): Promise<Position | null> {
    return (await this.#source.ends()).get(partition) ?? null;
  }

  /** Never rejects: whoever settles next starts again. */
  async #run(): Promise<void> {
    this.#failure = undefined;
    const { signal } = this.#stopped;
    try {
      await this.#source.run(
        {
          checkpoint: () => this.#checkpoint(),
          consume: async ({ events }) => this.#consume(events),
          skip: async (_, __, to) => this.#skip(to),
        },
        { group: this.#group, signal },
      );
      this.#failure = new EventStoreUnavailable('Events are no longer followed');
    } catch (error) {
      this.#failure = error;
    }
    this.#running = undefined;
    this.#notify();
  }

  /** Throws `EventStoreUnavailable` where the log is another one than was followed: the next call begins it anew. */
  async #checkpoint(): Promise<Position | null> {
    const mark = this.#mark;
    if (mark && !(await this.#isThere(mark))) {
      await this.#beginAnew();
      throw new EventStoreUnavailable(
        `The event store has another event at ${mark.position} than was read there, as after a restore: what is followed is read anew`,
      );
    }
    this.#isRunOfFormerLog = false;
    if (this.#reached === null && !this.#beginsAtEnd) {
      const known = await this.#source.known?.();
      if (known) {
        this.#consume(known.events);
        this.#skip(known.upTo);
      }
    }
    return this.#reached;
  }

  async #isThere({ position, eventId }: EventPlace): Promise<boolean> {
    const found = await this.#source.eventAt(partition, position);
    return typeof found === 'object' && found.id === eventId;
  }

  /** What is known stays until all is known that replaces it. */
  async #beginAnew(): Promise<void> {
    if (this.#beginsAtEnd) {
      await this.skipHistory();
      for (const listener of this.#listeners) listener.clear();
    } else {
      this.#anew = { end: await this.#end(), events: [] };
      this.#reached = null;
      this.#mark = undefined;
      this.#places.length = 0;
      this.#replaceFormer();
    }
    this.#formerLogs += 1;
    this.#isRunOfFormerLog = true;
    this.#settledAt = Number.NEGATIVE_INFINITY;
    this.#notify();
  }

  #consume(events: readonly RecordedEvent[]): void {
    const arrived = events.filter(({ position }) => comparePositions(position, this.#reached) > 0);
    const last = arrived.at(-1);
    if (this.#isRunOfFormerLog || !last) return;
    if (this.#source.remember && !this.#beginsAtEnd)
      this.#places.push(...arrived.map(({ position, id }) => ({ position, eventId: id })));
    if (this.#anew) this.#anew.events.push(...arrived);
    else for (const listener of this.#listeners) listener.add(arrived);
    this.#reach({ position: last.position, eventId: last.id });
  }

  #skip(to: EventPlace | { readonly position: Position }): void {
    if (!this.#isRunOfFormerLog) this.#reach(to);
  }

  #reach(to: EventPlace | { readonly position: Position }): void {
    if (comparePositions(to.position, this.#reached) > 0) this.#reached = to.position;
    if ('eventId' in to && comparePositions(to.position, this.#mark?.position ?? null) > 0) {
      this.#mark = to;
      this.#remembering ??= this.#remember().finally(() => {
        this.#remembering = undefined;
      });
    }
    this.#replaceFormer();
    this.#notify();
  }

  #replaceFormer(): void {
    if (!this.#anew || comparePositions(this.#reached, this.#anew.end) < 0) return;
    const { events } = this.#anew;
    this.#anew = undefined;
    for (const listener of this.#listeners) {
      listener.clear();
      listener.add(events);
    }
  }

  /** Once more for what comes meanwhile, but not all the time. */
  async #remember(): Promise<void> {
    if (!this.#source.remember || this.#beginsAtEnd) return;
    await pause(rememberedAfterMilliseconds, this.#stopped.signal);
    for (let remembered: EventPlace | undefined; this.#mark && this.#mark !== remembered; ) {
      remembered = this.#mark;
      await this.#source.remember({ events: [...this.#places], upTo: remembered });
      await pause(rememberedEveryMilliseconds, this.#stopped.signal);
    }
  }

  #notify(): void {
    this.#moved.resolve();
    this.#moved = Promise.withResolvers();
  }
}
