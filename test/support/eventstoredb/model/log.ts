import {
  compareLogPositions,
  countOf,
  type Entry,
  eventIn,
  isRun,
  type LogPosition,
  type ProposedEvent,
  type Run,
  type StoredEvent,
  sizeOf,
} from './events.ts';

// Beyond what a JavaScript number holds exactly, so that one `Number()` on the way shows.
const firstPosition = 2n ** 53n + 1n;
const commitRecordSize = 100n;

/** What a backup of the data files holds. */
export type LogCopy = { readonly entries: readonly Entry[]; readonly count: number; readonly end: bigint };

/** Where a position lies: at the boundary of a record, inside of one, or beyond the end of the log. */
export type Place = 'boundary' | 'inside' | 'beyond';

/**
 * All events of a store in the order in which it took them, numbered from 0. What is read with a `count` sees that
 * many events from the beginning: so much of the log has reached the node that is asked.
 */
export class TransactionLog {
  #entries: Entry[] = [];
  #count = 0;
  #end = firstPosition;
  #changed = Promise.withResolvers<void>();

  /** How many events were written; of those a scavenge removed only the place is left. */
  get count(): number {
    return this.#count;
  }

  /** The commit position behind the last record. */
  get end(): bigint {
    return this.#end;
  }

  /** Resolves when something is written, or `wake` is called. */
  changed(): Promise<void> {
    return this.#changed.promise;
  }

  wake(): void {
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers();
    resolve();
  }

  write(stream: string, revision: bigint, event: ProposedEvent, createdAt: number): StoredEvent {
    const commit = this.#end;
    this.#end += sizeOf(event);
    const position = { commit, prepare: commit };
    const stored = { ...event, stream, revision, position, end: this.#end, number: this.#count, createdAt };
    this.#count += 1;
    this.#entries.push(stored);
    return stored;
  }

  writeRun(run: Pick<Run, 'stream' | 'template' | 'count' | 'firstRevision' | 'createdAt'>): Run {
    const firstCommit = this.#end;
    this.#end += BigInt(run.count) * sizeOf(run.template);
    const written = { ...run, firstCommit, end: this.#end, number: this.#count };
    this.#count += run.count;
    this.#entries.push(written);
    return written;
  }

  /**
   * What the old TCP protocol's transactions leave in a log: events that share a commit position and differ in
   * their prepare position, which lies before it.
   */
  writeTransaction(
    stream: string,
    revision: bigint,
    events: readonly ProposedEvent[],
    createdAt: number,
  ): readonly StoredEvent[] {
    const prepares = events.map((event) => {
      const prepare = this.#end;
      this.#end += sizeOf(event);
      return prepare;
    });
    const commit = this.#end;
    this.#end += commitRecordSize;
    const from = this.#count;
    this.#count += events.length;
    const written = events.map((event, index) => ({
      ...event,
      stream,
      revision: revision + BigInt(index),
      position: { commit, prepare: prepares[index] as bigint },
      end: this.#end,
      number: from + index,
      createdAt,
    }));
    this.#entries.push(...written);
    return written;
  }

  /** The event of a number; nothing where a scavenge removed it, or none was written yet. */
  at(number: number): StoredEvent | undefined {
    const entry = this.entryAt(number);
    return entry && eventIn(entry, number - entry.number);
  }

  /** The entry that holds the event of a number. */
  entryAt(number: number): Entry | undefined {
    const entry = this.#entries[this.#indexOf(number)];
    return entry && number < entry.number + countOf(entry) ? entry : undefined;
  }

  /** The first number from `number` on at which there is an event; `count` when there is none. */
  next(number: number): number {
    const index = this.#indexOf(number);
    const entry = this.#entries[index];
    if (entry && number < entry.number + countOf(entry)) return Math.max(number, entry.number);
    return this.#entries[index + 1]?.number ?? this.#count;
  }

  *forwards(number: number, count = this.#count): Generator<StoredEvent> {
    for (let at = this.next(number); at < count; at = this.next(at + 1)) yield this.at(at) as StoredEvent;
  }

  /** From the event before `number` to the first. */
  *backwards(number: number): Generator<StoredEvent> {
    for (let at = number - 1; at >= 0; at -= 1) {
      const event = this.at(at);
      if (event) yield event;
    }
  }

  /** The number of the first event behind a position, or at it with `including`. */
  numberAfter(position: LogPosition, including?: 'including'): number {
    const isPassed = (event: StoredEvent) => {
      const order = compareLogPositions(event.position, position);
      return including ? order < 0 : order <= 0;
    };
    const index = lowerBound(this.#entries, (entry) => isPassed(eventIn(entry, 0)));
    const entry = this.#entries[index - 1];
    if (!entry) return this.#entries[0]?.number ?? 0;
    if (!isRun(entry)) return this.next(entry.number + 1);
    let [low, high] = [1, entry.count];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isPassed(eventIn(entry, middle))) low = middle + 1;
      else high = middle;
    }
    return this.next(entry.number + low);
  }

  /** How many events were written up to a time, in milliseconds. */
  countAt(time: number): number {
    const index = lowerBound(this.#entries, ({ createdAt }) => createdAt <= time);
    const last = this.#entries[index - 1];
    return last ? last.number + countOf(last) : 0;
  }

  /** Where a position lies. What a scavenge removed has left its places: they are still boundaries. */
  place({ commit }: LogPosition): Place {
    if (commit > this.#end) return 'beyond';
    const index = lowerBound(this.#entries, (entry) => eventIn(entry, 0).position.commit <= commit);
    const entry = this.#entries[index - 1];
    if (!entry || commit >= entry.end) return 'boundary';
    const start = eventIn(entry, 0).position.commit;
    const step = isRun(entry) ? sizeOf(entry.template) : entry.end - start;
    return (commit - start) % step === 0n ? 'boundary' : 'inside';
  }

  copy(): LogCopy {
    return { entries: [...this.#entries], count: this.#count, end: this.#end };
  }

  putBack({ entries, count, end }: LogCopy): void {
    this.#entries = [...entries];
    this.#count = count;
    this.#end = end;
    this.wake();
  }

  /** Drops events for good; the others stay where they are. */
  remove(isRemoved: (event: StoredEvent) => boolean): void {
    this.#entries = this.#entries.filter((entry) => isRun(entry) || !isRemoved(entry));
  }

  entries(): readonly Entry[] {
    return this.#entries;
  }

  /** The index of the last entry that begins at or before a number. */
  #indexOf(number: number): number {
    if (this.#entries[number]?.number === number) return number;
    return lowerBound(this.#entries, (entry) => entry.number <= number) - 1;
  }
}

/** The index of the first item that is not passed, where those passed come first. */
export function lowerBound<Item>(items: readonly Item[], isPassed: (item: Item) => boolean): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isPassed(items[middle] as Item)) low = middle + 1;
    else high = middle;
  }
  return low;
}
