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
  streamDeletedType,
} from '../../../application/ports/event-store.ts';
import type { Random } from '../random.ts';
import { firstWhere, readPartition, Waiters } from './partition-reader.ts';
import type { SimulatedProcess } from './process.ts';

type Content = {
  readonly log: RecordedEvent[];
  readonly history: RecordedEvent[];
  readonly truncated: Map<string, number>;
  readonly deleted: Set<string>;
  readonly next: number;
};

/** EventStoreDB as its users see it: streams, one log of all, truncation, and a scavenge that comes when it comes. */
export class EventStoreServer {
  /** Of those who follow the streams whose names begin so. */
  readonly #waiters = new Map<string, Waiters>();
  #identity: string;
  #log: RecordedEvent[] = [];
  #history: RecordedEvent[] = [];
  /** The position of the next event, in bytes: those of scavenged ones are not used again. */
  #next = 1;
  readonly #streams = new Map<string, RecordedEvent[]>();
  #truncated = new Map<string, number>();
  #deleted = new Set<string>();

  constructor(random: Random) {
    this.#identity = `events-${random.hex(8)}`;
  }

  get identity(): string {
    return this.#identity;
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
    // Revisions are counted from 0, without gaps.
    const there = stored.slice(next, next + events.length);
    if (there.length === events.length && there.every(({ id }, i) => id === events[i]?.id)) return there;
    if ((stored.at(-1)?.revision ?? -1) + 1 !== next) throw new RevisionConflict(stream);
    const recorded = events.map((event, i): RecordedEvent => {
      const bytes = JSON.stringify(event);
      const position = String(this.#next);
      this.#next += bytes.length;
      return { ...(JSON.parse(bytes) as NewEvent), stream, revision: next + i, position };
    });
    stored.push(...recorded);
    this.#streams.set(stream, stored);
    this.#log.push(...recorded);
    this.#history.push(...recorded);
    this.#wake(stream);
    return recorded;
  }

  truncate(stream: string, before: number): void {
    if (this.#deleted.has(stream)) throw new StreamDeleted(stream);
    this.#truncated.set(stream, before);
  }

  /** As an administrator does: the stream cannot be read or appended to ever again, and the log says so. */
  deleteForGood(stream: string): void {
    if (this.#deleted.has(stream)) return;
    this.#deleted.add(stream);
    const id = `deletion of ${stream}`;
    const position = String(this.#next);
    this.#next += 1;
    const recordedAt = new Date().toISOString();
    const cause = {
      $correlationId: id,
      $causationId: id,
      actor: 'event store',
      recordedAt,
      schemaVersion: 1,
    };
    const revision = Number.MAX_SAFE_INTEGER;
    const deletion = { id, type: streamDeletedType, data: {}, metadata: cause, stream, revision, position };
    this.#log.push(deletion);
    this.#history.push(deletion);
    this.#wake(stream);
  }

  #wake(stream: string): void {
    for (const [prefix, waiters] of this.#waiters) if (stream.startsWith(prefix)) waiters.wake();
  }

  /** What is truncated or deleted is gone from the log as well. */
  scavenge(): void {
    this.#log = this.#log.filter(({ stream, revision, type }) =>
      this.#deleted.has(stream) ? type === streamDeletedType : revision >= (this.#truncated.get(stream) ?? 0),
    );
  }

  copy(): Content {
    return {
      log: [...this.#log],
      history: [...this.#history],
      truncated: new Map(this.#truncated),
      deleted: new Set(this.#deleted),
      next: this.#next,
    };
  }

  /** Nothing may be connected. `isAnother`: a log that is not known to be the same. */
  putBack({ log, history, truncated, deleted, next }: Content, isAnother: boolean): void {
    this.#log = [...log];
    this.#history = [...history];
    this.#next = next;
    this.#truncated = new Map(truncated);
    this.#deleted = new Set(deleted);
    this.#streams.clear();
    const events = history.filter(({ type }) => type !== streamDeletedType);
    for (const [stream, ofStream] of Map.groupBy(events, (event) => event.stream))
      this.#streams.set(stream, ofStream);
    if (isAnother) this.#identity = `${this.#identity}-again`;
  }

  client(by: SimulatedProcess): {
    readonly store: EventStore;
    readonly eraser: EventEraser;
    /** The log of all streams whose names begin so. */
    sourceOf(prefix: string): EventSource<RecordedEvent>;
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
      sourceOf: (prefix) => this.#source(by, prefix),
    };
  }

  #source(by: SimulatedProcess, prefix: string): EventSource<RecordedEvent> {
    const ask = <T>(asked: string, answer: () => T) => by.call('event store', asked, answer);
    return {
      name: 'devices',
      run: (consumer, options) => this.#run(by, prefix, consumer, options),
      ends: () => ask('end', () => new Map([[0, this.#endOf(prefix)]])),
      expired: async () => new Map([[0, null]]),
      partitioner: async () => () => 0,
      identity: () => ask('identity', () => this.#identity),
      eventAt: (_, position) =>
        ask(`event at ${position}`, () => {
          const found = eventAt(this.#log, position);
          if (found) return { id: found.id };
          // A scavenged event leaves a gap; elsewhere a position is inside of a record, or beyond the end.
          return eventAt(this.#history, position) ? 'unknown' : 'none';
        }),
      countAfter: (_, position) => ask('count', () => exactly(this.#after(prefix, position).length)),
    };
  }

  async #run(
    by: SimulatedProcess,
    prefix: string,
    consumer: BatchConsumer<RecordedEvent>,
    { signal, keepsOthers = false }: RunOptions,
  ): Promise<void> {
    const waiters = this.#waiters.get(prefix) ?? new Waiters();
    this.#waiters.set(prefix, waiters);
    const content = {
      partition: 0,
      after: (position: Position | null, limit: number) => {
        if (position !== null && Number(position) >= this.#next)
          throw new CheckpointOfAnotherLog(`The event store ends before ${position}`);
        return { after: position, events: this.#after(prefix, position, limit) };
      },
      waiters,
    };
    await readPartition(by, content, consumer, { signal, keepsOthers, server: 'event store' });
  }

  #after(prefix: string, position: Position | null, limit = Number.POSITIVE_INFINITY): RecordedEvent[] {
    const found: RecordedEvent[] = [];
    for (let i = indexAfter(this.#log, position); i < this.#log.length && found.length < limit; i += 1) {
      const event = this.#log[i] as RecordedEvent;
      if (event.stream.startsWith(prefix)) found.push(event);
    }
    return found;
  }

  #endOf(prefix: string): Position | null {
    return this.#log.findLast(({ stream }) => stream.startsWith(prefix))?.position ?? null;
  }
}

const indexAfter = (log: readonly RecordedEvent[], position: Position | null): number =>
  firstWhere(log, 0, (event) => Number(event.position) > Number(position ?? 0));

function eventAt(log: readonly RecordedEvent[], position: Position): RecordedEvent | undefined {
  const before = log[indexAfter(log, position) - 1];
  return before?.position === position ? before : undefined;
}
