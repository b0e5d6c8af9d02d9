import { randomUUID } from 'node:crypto';
import {
  type AppendOutcome,
  deletedRevision,
  type Entry,
  type ExpectedVersion,
  eventIn,
  firstRevisionOf,
  isRun,
  lastRevisionOf,
  type ProposedEvent,
  type Refusal,
  type StoredEvent,
} from './events.ts';
import { type LogCopy, lowerBound, TransactionLog } from './log.ts';
import {
  isMetastream,
  metadataOf,
  metastreamOf,
  originalOf,
  recreation,
  type StreamMetadata,
  softDeletion,
} from './metadata.ts';
import { Rights } from './rights.ts';

export type StoreOptions = {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  readonly now?: () => number;
  /** Ids of the events that the store writes by itself. */
  readonly newId?: () => string;
};

export type ReadOptions = {
  /** The revision to begin with; from the very end of the stream when it is missing and the read goes backwards. */
  readonly from?: bigint;
  readonly backwards?: boolean;
  /** How much of the log the node that is asked has; all of it by default. */
  readonly count?: number;
};

export type StreamRead = Iterable<StoredEvent> | 'not-found' | 'deleted';

const appendLimit = 1_048_576;
const tombstone = { type: '$streamDeleted', contentType: 'application/octet-stream' };
const noBytes = new Uint8Array();

/**
 * EventStoreDB's data as the server presents it: streams with their metadata, the log of all events, users and their
 * rights. It knows no network and takes no time; whoever serves it decides what a node has of it.
 */
export class StoreModel {
  readonly log = new TransactionLog();
  readonly rights: Rights;
  readonly #streams = new Map<string, Entry[]>();
  readonly #now: () => number;
  readonly #newId: () => string;

  constructor({ now = Date.now, newId = randomUUID }: StoreOptions = {}) {
    this.#now = now;
    this.#newId = newId;
    this.rights = new Rights({
      metadata: (stream) => this.metadata(stream),
      newestData: (stream) => this.#newest(stream)?.data,
    });
  }

  /** Every event of a stream that is stored, whether or not it can still be read; nothing for a missing stream. */
  stored(stream: string): readonly StoredEvent[] | undefined {
    return this.#streams.get(stream)?.flatMap((entry) => [...eventsOf(entry)]);
  }

  metadata(stream: string, count = this.log.count): StreamMetadata {
    return metadataOf(stream, isMetastream(stream) ? undefined : this.#newest(metastreamOf(stream), count));
  }

  append(stream: string, expected: ExpectedVersion, events: readonly ProposedEvent[]): AppendOutcome {
    if (events.reduce((size, event) => size + diskSize(event), 0) > appendLimit)
      return { refused: 'too-large', limit: appendLimit };
    const check = this.#checkVersion(stream, expected, events);
    if (check !== 'new') return check;

    const wasSoftDeleted = this.#isSoftDeleted(stream);
    const revisesSoftDeleted = isMetastream(stream) && this.#isSoftDeleted(originalOf(stream));
    const from = this.#current(stream) + 1n;
    const written = this.#write(stream, events);
    if (wasSoftDeleted) this.#recreate(stream, from);
    if (revisesSoftDeleted) this.#recreate(originalOf(stream), this.#current(originalOf(stream)) + 1n);
    this.log.wake();
    const revision = from + BigInt(events.length) - 1n;
    return { revision, position: written.at(-1)?.position };
  }

  /** As a client deletes a stream: its events are not read any more, and it may begin anew behind them. */
  softDelete(stream: string, expected: ExpectedVersion): AppendOutcome {
    const deletion = softDeletion(this.#newId());
    const check = this.#checkVersion(stream, expected, [deletion]);
    if (check !== 'new') return check;
    if (this.#current(stream) < 0n && this.#current(metastreamOf(stream)) < 0n)
      return { refused: 'wrong-expected-version', current: undefined };
    const [written] = this.#write(metastreamOf(stream), [deletion]);
    this.log.wake();
    return { revision: this.#current(stream), position: written?.position };
  }

  /** Ends a stream for ever. */
  tombstone(stream: string, expected: ExpectedVersion): AppendOutcome {
    const event = { ...tombstone, id: this.#newId(), data: noBytes, metadata: noBytes };
    const check = this.#checkVersion(stream, expected, [event]);
    if (check !== 'new') return check;
    const written = this.#add(this.log.write(stream, deletedRevision, event, this.#now()));
    this.log.wake();
    return { revision: deletedRevision, position: written.position };
  }

  /** What another program writes, by the hundred thousand: events of one stream that are made when they are read. */
  appendRun(stream: string, count: number, template: Omit<ProposedEvent, 'id'>): void {
    const firstRevision = this.#current(stream) + 1n;
    this.#add(this.log.writeRun({ stream, template, count, firstRevision, createdAt: this.#now() }));
    this.log.wake();
  }

  /** What the old TCP protocol's transactions leave in a store. */
  appendTransaction(stream: string, events: readonly ProposedEvent[]): void {
    const from = this.#current(stream) + 1n;
    for (const event of this.log.writeTransaction(stream, from, events, this.#now())) this.#add(event);
    this.log.wake();
  }

  read(stream: string, { from, backwards = false, count = this.log.count }: ReadOptions = {}): StreamRead {
    const entries = this.#entries(stream, count);
    const last = this.#current(stream, count);
    if (last === deletedRevision) return 'deleted';
    const metadata = this.metadata(stream, count);
    if (last < 0n || metadata.truncateBefore === deletedRevision) return 'not-found';
    const first = firstReadable(metadata, last);
    const oldest = metadata.maxAge === undefined ? 0 : this.#now() - metadata.maxAge * 1000;
    const begin = backwards
      ? { first, last: from === undefined || from > last ? last : from }
      : { first: from === undefined || from < first ? first : from, last };
    return events(entries, begin, backwards, oldest);
  }

  /**
   * Removes from the log what cannot be read any longer, as the server's scavenge does; `$all` shows it until then. Runs
   * stay.
   */
  scavenge(): void {
    const limits = new Map<string, { readonly first: bigint; readonly oldest: number }>();
    for (const stream of this.#streams.keys()) limits.set(stream, this.#scavengeLimits(stream));
    this.log.remove(({ stream, revision, createdAt }) => {
      const { first = 0n, oldest = 0 } = limits.get(stream) ?? {};
      return revision < first || (createdAt < oldest && revision < this.#current(stream));
    });
    this.#index();
  }

  copy(): LogCopy {
    return this.log.copy();
  }

  /** As a backup that is put back: what was written since the copy is gone, and its positions are given once more. */
  putBack(copy: LogCopy): void {
    this.log.putBack(copy);
    this.#index();
  }

  #scavengeLimits(stream: string): { readonly first: bigint; readonly oldest: number } {
    const current = this.#current(stream);
    if (current === deletedRevision) return { first: current, oldest: 0 };
    const metadata = this.metadata(stream);
    // The last event stays, deleted or not: the stream's revision is known by it.
    const first = minimum(firstReadable(metadata, current), current);
    return { first, oldest: metadata.maxAge === undefined ? 0 : this.#now() - metadata.maxAge * 1000 };
  }

  /** Whether the events are to be written, or what is answered instead. */
  #checkVersion(
    stream: string,
    expected: ExpectedVersion,
    events: readonly ProposedEvent[],
  ): 'new' | AppendOutcome {
    const current = this.#current(stream);
    const wrong: Refusal = {
      refused: 'wrong-expected-version',
      current: current < 0n ? undefined : current,
    };
    const deleted: Refusal = { refused: 'stream-deleted', stream };
    if (current === deletedRevision) return deleted;
    if (expected === 'stream-exists') {
      if (this.#isSoftDeleted(stream)) return deleted;
      if (current < 0n && this.#current(metastreamOf(stream)) < 0n) return wrong;
    }
    if (expected === 'any' || expected === 'stream-exists') {
      const before = this.#revisionOf(stream, events[0]?.id);
      if (before === undefined) return 'new';
      return this.#isStored(stream, before, events) ? this.#repeated(stream, before, events) : wrong;
    }
    const at = expected === 'no-stream' ? -1n : expected;
    if (at > current) return wrong;
    if (at === current) return 'new';
    if (events.length > 0 && this.#isStored(stream, at + 1n, events))
      return this.#repeated(stream, at + 1n, events);
    const isFresh = this.#event(stream, at + 1n)?.id !== events[0]?.id;
    return expected === 'no-stream' && isFresh && this.#isSoftDeleted(stream) ? 'new' : wrong;
  }

  #isStored(stream: string, from: bigint, events: readonly ProposedEvent[]): boolean {
    return events.every(({ id }, index) => this.#event(stream, from + BigInt(index))?.id === id);
  }

  /** An append that was made before is answered as it was then. */
  #repeated(stream: string, from: bigint, events: readonly ProposedEvent[]): AppendOutcome {
    const revision = from + BigInt(events.length) - 1n;
    const found = this.read(stream, { from: revision });
    const event = typeof found === 'string' ? undefined : found[Symbol.iterator]().next().value;
    return { revision, position: event?.revision === revision ? event.position : undefined };
  }

  #write(stream: string, events: readonly ProposedEvent[]): readonly StoredEvent[] {
    const from = this.#current(stream) + 1n;
    const createdAt = this.#now();
    return events.map((event, index) =>
      this.#add(this.log.write(stream, from + BigInt(index), event, createdAt)),
    );
  }

  #recreate(stream: string, from: bigint): void {
    const newest = this.#newest(metastreamOf(stream));
    if (newest) this.#write(metastreamOf(stream), [recreation(this.#newId(), newest, from)]);
  }

  #isSoftDeleted(stream: string): boolean {
    return this.metadata(stream).truncateBefore === deletedRevision;
  }

  /** The stream's last revision, -1 without events, and `deletedRevision` with a tombstone. */
  #current(stream: string, count = this.log.count): bigint {
    if (isMetastream(stream) && this.#current(originalOf(stream), count) === deletedRevision)
      return deletedRevision;
    const last = this.#entries(stream, count).at(-1);
    return last ? lastRevisionOf(last) : -1n;
  }

  #newest(stream: string, count = this.log.count): StoredEvent | undefined {
    const last = this.#entries(stream, count).at(-1);
    return last && eventIn(last, isRun(last) ? last.count - 1 : 0);
  }

  #event(stream: string, revision: bigint): StoredEvent | undefined {
    const entries = this.#streams.get(stream) ?? [];
    const index = lowerBound(entries, (entry) => firstRevisionOf(entry) <= revision) - 1;
    const entry = entries[index];
    return entry && revision <= lastRevisionOf(entry)
      ? eventIn(entry, Number(revision - firstRevisionOf(entry)))
      : undefined;
  }

  #revisionOf(stream: string, id: string | undefined): bigint | undefined {
    const entry = this.#streams.get(stream)?.findLast((stored) => !isRun(stored) && stored.id === id);
    return entry && firstRevisionOf(entry);
  }

  /** The stream's entries, as far as a node that has so much of the log knows them. */
  #entries(stream: string, count: number): readonly Entry[] {
    const entries = this.#streams.get(stream) ?? [];
    if (count >= this.log.count) return entries;
    return entries.slice(
      0,
      lowerBound(entries, ({ number }) => number < count),
    );
  }

  #add<Written extends Entry>(entry: Written): Written {
    const entries = this.#streams.get(entry.stream);
    if (entries) entries.push(entry);
    else this.#streams.set(entry.stream, [entry]);
    return entry;
  }

  #index(): void {
    this.#streams.clear();
    for (const entry of this.log.entries()) this.#add(entry);
  }
}

/** What the server counts of an event against the limit of an append. */
const diskSize = ({ type, data, metadata }: ProposedEvent): number =>
  data.length + metadata.length + 2 * type.length;

const maximum = (a: bigint, b: bigint) => (a > b ? a : b);
const minimum = (a: bigint, b: bigint) => (a < b ? a : b);

function firstReadable({ maxCount, truncateBefore = 0n }: StreamMetadata, last: bigint): bigint {
  return maxCount === undefined ? truncateBefore : maximum(truncateBefore, last - maxCount + 1n);
}

function* eventsOf(entry: Entry): Generator<StoredEvent> {
  const count = isRun(entry) ? entry.count : 1;
  for (let index = 0; index < count; index += 1) yield eventIn(entry, index);
}

function* events(
  entries: readonly Entry[],
  { first, last }: { readonly first: bigint; readonly last: bigint },
  backwards: boolean,
  oldest: number,
): Generator<StoredEvent> {
  const ordered = backwards ? entries.toReversed() : entries;
  for (const entry of ordered) {
    const from = maximum(first, firstRevisionOf(entry));
    const to = minimum(last, lastRevisionOf(entry));
    if (entry.createdAt < oldest || from > to) continue;
    const count = Number(to - from) + 1;
    const offset = Number(from - firstRevisionOf(entry));
    for (let index = 0; index < count; index += 1)
      yield eventIn(entry, offset + (backwards ? count - 1 - index : index));
  }
}
