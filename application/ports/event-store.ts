import type { Position } from './event-source.ts';

/** Who caused an event and why. `$correlationId` and `$causationId` are the store's own convention. */
export type EventMetadata = {
  readonly $correlationId: string;
  readonly $causationId: string;
  readonly actor: string;
  /** ISO 8601, UTC, by the clock of the node that decided. */
  readonly recordedAt: string;
  readonly schemaVersion: number;
  /** SHA-256 of a command that had an Idempotency-Key, so that the key used for something else is noticed. */
  readonly commandDigest?: string;
  /** W3C trace context of the request that caused the event. */
  readonly traceparent?: string;
};

export type NewEvent = {
  /** The same when the same command is sent again under its idempotency key: appending again is recognised. */
  readonly id: string;
  readonly type: string;
  readonly data: unknown;
  readonly metadata: EventMetadata;
};

export type RecordedEvent = NewEvent & {
  readonly stream: string;
  /** Counts from 0 within the stream. */
  readonly revision: number;
  readonly position: Position;
};

/** A stream's last revision; `none` when the stream does not exist yet. */
export type ExpectedRevision = number | 'none';

/** Keeps each stream's events in order and refuses to fork a stream. */
export interface EventStore {
  /**
   * The stream's events in order, `[]` when it does not exist. Throws `EventStoreUnavailable`, `StreamDeleted`, and
   * `StreamUnreadable` when it exists and all of its events are hidden.
   */
  read(stream: string): Promise<readonly RecordedEvent[]>;

  /**
   * Whether somebody has deleted the stream in the store itself, for good or such that it can be begun anew, and it was
   * not. Throws `EventStoreUnavailable`.
   */
  isDeleted(stream: string): Promise<boolean>;

  /**
   * Atomic, and on disk before it resolves, with the events as recorded in the stream. Appending
   * the same event ids at the same expected revision again changes nothing and answers the same. Throws
   * `RevisionConflict` when the stream is elsewhere, `EventStoreUnavailable` when the outcome cannot be learnt,
   * `AppendTooLarge`, `StreamDeleted`.
   *
   * `ids` may be `unused` when no call before this one can have appended events with these ids: a store that cannot
   * distinguish an append from a repeated one then need not look at what is stored.
   */
  append(
    stream: string,
    events: readonly NewEvent[],
    expected: ExpectedRevision,
    ids?: 'unused',
  ): Promise<readonly RecordedEvent[]>;
}

/** Removes from a store what was erased, as far as the store can. */
export interface EventEraser {
  /**
   * Leaves of the events before `revision` nothing that is personal, or nothing at all, and leaves those from it on as
   * they are. May be called again. Throws `EventStoreUnavailable`, `StreamDeleted`.
   */
  eraseBefore(stream: string, revision: number): Promise<void>;
}

export class RevisionConflict extends Error {
  override readonly name = 'RevisionConflict';
  readonly stream: string;

  constructor(stream: string) {
    super(`Stream ${stream} was changed by someone else`);
    this.stream = stream;
  }
}

/** The store cannot be reached or did not answer in time; the same call may be made again. */
export class EventStoreUnavailable extends Error {
  override readonly name = 'EventStoreUnavailable';
  /** What an operator has to mend, without addresses or secrets; nothing for an outage that may pass by itself. */
  readonly reason: string | undefined;

  constructor(message: string, { reason, ...options }: ErrorOptions & { readonly reason?: string } = {}) {
    super(message, options);
    this.reason = reason;
  }
}

/** An append is larger than the store takes; nothing of it is stored. */
export class AppendTooLarge extends Error {
  override readonly name = 'AppendTooLarge';
  /** Bytes. */
  readonly limit: number;

  constructor(limit: number, options?: ErrorOptions) {
    super(`The events are larger than the event store takes at once, ${limit} bytes`, options);
    this.limit = limit;
  }
}

/**
 * The type of the event by which a store says that somebody deleted a stream in the store itself. It has no data, and
 * what the stream had before is gone; a stream that was not deleted for good may continue after it.
 */
export const streamDeletedType = '$streamDeleted';

/** The stream's beginning is gone, or somebody else wrote into it: what it was a stream of cannot be known. */
export class StreamUnreadable extends Error {
  override readonly name = 'StreamUnreadable';
  readonly stream: string;
  readonly revision: number;
  /** Nothing where the stream shows no event at all. */
  readonly eventType: string | undefined;

  constructor(
    { stream, revision, type }: Pick<RecordedEvent, 'stream' | 'revision'> & { readonly type?: string },
    cause: Error,
  ) {
    super(
      `Stream ${stream} cannot be read at revision ${revision}${type === undefined ? '' : `, ${type}`}: ${cause.message}. ` +
        'See "A device\'s stream cannot be read" in docs/runbook.md',
      { cause },
    );
    this.stream = stream;
    this.revision = revision;
    this.eventType = type;
  }
}

/** Somebody has deleted the stream in the store itself, for good: it cannot be read, nor appended to ever again. */
export class StreamDeleted extends Error {
  override readonly name = 'StreamDeleted';
  readonly stream: string;

  constructor(stream: string, options?: ErrorOptions) {
    super(`Stream ${stream} was deleted in the event store for good`, options);
    this.stream = stream;
  }
}

/** Whether nothing can be read of the stream, now or ever, which must not hold up what others need. */
export const isStreamLost = (error: unknown): error is StreamDeleted | StreamUnreadable =>
  error instanceof StreamDeleted || error instanceof StreamUnreadable;

/** For `catch`, where a stream that is lost counts as one without events. Throws any other error again. */
export function lostAsNone(error: unknown): readonly RecordedEvent[] {
  if (isStreamLost(error)) return [];
  throw error;
}
