/** An event as a client proposes it. `data` and `metadata` are bytes, as on the wire. */
export type ProposedEvent = {
  readonly id: string;
  readonly type: string;
  readonly contentType: string;
  readonly data: Uint8Array;
  readonly metadata: Uint8Array;
};

/** A place in the log: of a record, or of the boundary between two. */
export type LogPosition = { readonly commit: bigint; readonly prepare: bigint };

export type StoredEvent = ProposedEvent & {
  readonly stream: string;
  readonly revision: bigint;
  readonly position: LogPosition;
  /** The commit position of the next record. */
  readonly end: bigint;
  /** How many events the log holds before this one. */
  readonly number: number;
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  readonly createdAt: number;
};

/** Events of one stream that differ in nothing but their place, stored as one entry and made when they are read. */
export type Run = {
  readonly stream: string;
  readonly template: Omit<ProposedEvent, 'id'>;
  readonly count: number;
  readonly firstRevision: bigint;
  readonly firstCommit: bigint;
  readonly end: bigint;
  readonly number: number;
  readonly createdAt: number;
};

export type Entry = StoredEvent | Run;

/** Where a writer expects the stream to stand. */
export type ExpectedVersion = bigint | 'no-stream' | 'stream-exists' | 'any';

export type Refusal =
  | { readonly refused: 'wrong-expected-version'; readonly current: bigint | undefined }
  | { readonly refused: 'stream-deleted'; readonly stream: string }
  | { readonly refused: 'too-large'; readonly limit: number };

export type AppendOutcome =
  /** `revision` and `position` are the last event's; no position when an event appended before cannot be read any more. */
  { readonly revision: bigint; readonly position: LogPosition | undefined } | Refusal;

/** The revision of a tombstone, and the `$tb` of a soft-deleted stream: the largest signed 64-bit number. */
export const deletedRevision = 2n ** 63n - 1n;

export const isRun = (entry: Entry): entry is Run => 'template' in entry;

export const countOf = (entry: Entry): number => (isRun(entry) ? entry.count : 1);

export const firstRevisionOf = (entry: Entry): bigint =>
  isRun(entry) ? entry.firstRevision : entry.revision;

export const lastRevisionOf = (entry: Entry): bigint =>
  isRun(entry) ? entry.firstRevision + BigInt(entry.count) - 1n : entry.revision;

/** The event at an index within its entry. */
export function eventIn(entry: Entry, index: number): StoredEvent {
  if (!isRun(entry)) return entry;
  const commit = entry.firstCommit + BigInt(index) * sizeOf(entry.template);
  const number = entry.number + index;
  return {
    ...entry.template,
    id: `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`,
    stream: entry.stream,
    revision: entry.firstRevision + BigInt(index),
    position: { commit, prepare: commit },
    end: commit + sizeOf(entry.template),
    number,
    createdAt: entry.createdAt,
  };
}

/** Bytes that an event takes in the log. */
export const sizeOf = ({ data, metadata }: Pick<ProposedEvent, 'data' | 'metadata'>): bigint =>
  BigInt(100 + data.length + metadata.length);

/** Less than, equal to or greater than zero as `a` lies before, at or behind `b`. */
export function compareLogPositions(a: LogPosition, b: LogPosition): number {
  if (a.commit !== b.commit) return a.commit < b.commit ? -1 : 1;
  return a.prepare < b.prepare ? -1 : a.prepare > b.prepare ? 1 : 0;
}
