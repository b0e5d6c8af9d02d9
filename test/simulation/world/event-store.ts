import {
  type BatchConsumer,
  CheckpointOfAnotherLog,
  type EventSource,
  exactly,
  type Position,
  type RunOptions,
} from '../../../application/ports/event-source.ts';
import {
  type EventEraser,
  type EventStore,
  type ExpectedRevision,
  type NewEvent,
  type RecordedEvent,
  RevisionConflict,
  StreamDeleted,
} from '../../../application/ports/event-store.ts';
import type { Random } from '../random.ts';
import { readPartition, Waiters } from './partition-reader.ts';
import type { SimulatedProcess } from './process.ts';

type Content = {
  readonly log: RecordedEvent[];
  readonly history: RecordedEvent[];
  readonly truncated: Map<string, number>;
  readonly next: number;
};

/** EventStoreDB as its users see it: streams, one log of all, truncation, and a scavenge that comes when it comes. */
export class EventStoreServer {
  readonly waiters = new Waiters();
  #identity: string;
  #log: RecordedEvent[] = [];
  #history: RecordedEvent[] = [];
  /** The position of the next event: those of scavenged ones are not used again. */
  #next = 1;
  readonly #streams = new Map<string, RecordedEvent[]>();
  #truncated = new Map<string, number>();
  readonly #deleted = new Set<string>();

  constructor(random: Random) {
    this.#identity = `events-${random.hex(8)}`;
  }

  /** All that was ever in the log, scavenged or not. */
  get history(): readonly RecordedEvent[] {
    return this.#history;
  }

  read(stream: string): readonly RecordedEvent[] {
    if (this.#deleted.has(stream)) throw new StreamDeleted(stream);
    const from = this.#truncated.get(stream) ?? 0;
    const events = this.#streams.get(stream) ?? [];
    return from === 0 ? [...events] : events.filter(({ revision }) => revision >= from);
  }

  append(stream: string, events: readonly NewEvent[], expected: ExpectedRevision): readonly RecordedEvent[] {
    if (this.#deleted.has(stream)) throw new StreamDeleted(stream);
    const stored = this.#streams.get(stream) ?? [];
    const next = expected === 'none' ? 0 : expected + 1;
    const there = stored.filter(({ revision }) => revision >= next).slice(0, events.length);
    if (there.length === events.length && there.every(({ id }, i) => id === events[i]?.id)) return there;
    if ((stored.at(-1)?.revision ?? -1) + 1 !== next) throw new RevisionConflict(stream);
    const recorded = events.map((event, i): RecordedEvent => {
      const copy = JSON.parse(JSON.stringify(event)) as NewEvent;
      return { ...copy, stream, revision: next + i, position: String(this.#next + i) };
    });
    this.#streams.set(stream, [...stored, ...recorded]);
    this.#next += recorded.length;
    this.#log.push(...recorded);
    this.#history.push(...recorded);
    this.waiters.wake();
    return recorded;
  }

  truncate(stream: string, before: number): void {
    if (this.#deleted.has(stream)) throw new StreamDeleted(stream);
    this.#truncated.set(stream, before);
  }

  /** What is truncated is gone from the log as well. */
  scavenge(): void {
    this.#log = this.#log.filter(({ stream, revision }) => revision >= (this.#truncated.get(stream) ?? 0));
  }

  copy(): Content {
    return {
      log: [...this.#log],
      history: [...this.#history],
      truncated: new Map(this.#truncated),
      next: this.#next,
    };
  }

  /** Nothing may be connected. `isAnother`: a log that is not known to be the same. */
  putBack({ log, history, truncated, next }: Content, isAnother: boolean): void {
    this.#log = [...log];
    this.#history = [...history];
    this.#next = next;
    this.#truncated = new Map(truncated);
    this.#streams.clear();
    for (const event of history)
      this.#streams.set(event.stream, [...(this.#streams.get(event.stream) ?? []), event]);
    if (isAnother) this.#identity = `${this.#identity}-again`;
  }

  client(by: SimulatedProcess): {
    readonly store: EventStore;
    readonly eraser: EventEraser;
    readonly source: EventSource<RecordedEvent>;
  } {
    return {
      store: {
        isDeleted: (stream) => by.call('event store', `look at ${stream}`, () => this.#deleted.has(stream)),
        read: (stream) => by.call('event store', `read ${stream}`, () => this.read(stream)),
        append: (stream, events, expected) =>
          by.call('event store', `append to ${stream}`, () => this.append(stream, events, expected)),
      },
      eraser: {
        eraseBefore: (stream, revision) =>
          by.call('event store', `truncate ${stream}`, () => this.truncate(stream, revision)),
      },
      source: this.#source(by),
    };
  }

  #source(by: SimulatedProcess): EventSource<RecordedEvent> {
    const ask = <T>(asked: string, answer: () => T) => by.call('event store', asked, answer);
    return {
      name: 'devices',
      run: (consumer, options) => this.#run(by, consumer, options),
      ends: () => ask('end', () => new Map([[0, this.#log.at(-1)?.position ?? null]])),
      expired: async () => new Map([[0, null]]),
      partitioner: async () => () => 0,
      identity: () => ask('identity', () => this.#identity),
      eventAt: (_, position) =>
        ask(`event at ${position}`, () => {
          const found = this.#log.find((event) => event.position === position);
          if (found) return { id: found.id };
          // A scavenged event leaves a gap below the end.
          return Number(position) < this.#next ? 'unknown' : 'none';
        }),
      countAfter: (_, position) => ask('count', () => exactly(this.#after(position).length)),
    };
  }

  async #run(
    by: SimulatedProcess,
    consumer: BatchConsumer<RecordedEvent>,
    { signal, keepsOthers = false }: RunOptions,
  ): Promise<void> {
    const content = {
      partition: 0,
      after: (position: Position | null) => {
        if (position !== null && Number(position) >= this.#next)
          throw new CheckpointOfAnotherLog(`The event store ends before ${position}`);
        return { after: position, events: this.#after(position) };
      },
      waiters: this.waiters,
    };
    await readPartition(by, content, consumer, { signal, keepsOthers, server: 'event store' });
  }

  #after(position: Position | null): readonly RecordedEvent[] {
    if (position === null) return this.#log;
    // From the end: most ask for the newest.
    let from = this.#log.length;
    while (from > 0 && Number((this.#log[from - 1] as RecordedEvent).position) > Number(position)) from -= 1;
    return this.#log.slice(from);
  }
}
