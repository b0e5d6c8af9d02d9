export type Positioned = { readonly position: Position };

/** Consecutive events of one partition, in order, never empty. */
export type Batch<Event extends Positioned> = {
  readonly partition: number;
  /** The position before the first event: a consumer whose checkpoint is before it has missed some. */
  readonly after: Position | null;
  readonly events: readonly Event[];
  /** The identity of the log that they are from, where it is known. */
  readonly log?: string | null;
  /**
   * To be called, if at all, when nothing is left to do but to wait for the batch's effects to be durable. The next
   * batch may then come; its effects must not be durable unless those of this one are.
   */
  readonly onApplied?: () => void;
  /** To be called when a part of the effects is durable, of an event that takes long. */
  readonly onProgress?: () => void;
  /** Aborted when the source has left the partition and will hand the batch over again: to wait for anything else is in vain. */
  readonly signal?: AbortSignal;
};

export interface BatchConsumer<Event extends Positioned> {
  /**
   * The last position already consumed in a partition; `null` to start from its first event. Asked at each start, and when
   * the log begins to give positions that it has given before: throws `OperatorNeeded` where it is not the same log.
   */
  checkpoint(partition: number): Promise<Position | null>;

  /**
   * Resolves when the batch's effects are durable. When it throws, the source starts again at the checkpoint. Calls
   * `waiting` before it waits for something else than its own work, which other partitions must not wait for; it then
   * throws once the batch's `signal` is aborted, for the source waits for it.
   */
  consume(batch: Batch<Event>, waiting?: () => void): Promise<void>;

  /** The place beyond the checkpoint up to which nothing is left to consume, where one was stored. */
  skipped?(partition: number): Promise<EventPlace | null>;

  /**
   * Between `after`, the last position consumed, and `to` the log has nothing for this consumer, only what other
   * programs wrote. Called by sources whose log is shared. Worth storing once `to` names the event there.
   */
  skip?(
    partition: number,
    after: Position | null,
    to: EventPlace | { readonly position: Position },
  ): Promise<void>;
}

/** Where an event of the log is, and its id, by which the same log has it there. */
export type EventPlace = { readonly position: Position; readonly eventId: string };

/** All events of a source up to a place, which may be another program's event. */
export type KnownEvents<Event> = { readonly events: readonly Event[]; readonly upTo: EventPlace };

export type RunOptions = {
  /** Runs of one group share the partitions between them where the source can; another group has its own. */
  readonly group: string;
  readonly signal: AbortSignal;
  /**
   * A partition whose batches keep failing is tried again and again, and the others continue; `run` then does not
   * reject for it. A source of one partition need not heed it.
   */
  readonly keepsOthers?: boolean;
  /** Events of a batch at most, where the source can choose. */
  readonly batchEvents?: number;
};

/** An ordered, durable log that can be read from any position, again and again. */
export interface EventSource<Event extends Positioned> {
  readonly name: SourceName;

  /**
   * Hands over batches from each partition's checkpoint on, first the history and then what arrives, the next one of
   * a partition when the last is consumed or at least `handled`. Outlives lost connections. Resolves once `signal` is
   * aborted and the current batch is done; rejects only when `consume` keeps failing for a reason that is not the
   * source's.
   */
  run(consumer: BatchConsumer<Event>, options: RunOptions): Promise<void>;

  /**
   * The position at which each partition ends, `null` for an empty one. Its last event may be another program's: a
   * consumer has come there by what it consumed and what it skipped.
   */
  ends(): Promise<ReadonlyMap<number, Position | null>>;

  /** The position up to which each partition's events can no longer be read, `null` where none has expired. */
  expired(): Promise<ReadonlyMap<number, Position | null>>;

  /**
   * The position in each partition up to which every event had come before a moment, epoch milliseconds, by the clock of
   * the log; `null` where none had. Found without reading what lies before. Absent of logs that do not note when events
   * come.
   */
  positionsBefore?(time: number): Promise<ReadonlyMap<number, Position | null>>;

  /** The partition that a device's events go to. */
  partitioner(): Promise<(deviceId: string) => number>;

  /**
   * Identifies this log: one that is made anew or restored has another, a copy of its files the same.
   * `null` where the technology has none.
   */
  identity(): Promise<string | null>;

  /** The event at a position that an event had when it was consumed. */
  eventAt(partition: number, position: Position): Promise<EventAt>;

  /**
   * The events whose places were remembered last, by whichever process, read where they are. Nothing when the log lacks one
   * of them: it may be another one. Of sources with few events in a large log.
   */
  known?(): Promise<KnownEvents<Event> | undefined>;

  /** For whoever asks for what is `known` next; never rejects. `upTo` is the place of the last event, or behind it. */
  remember?(known: KnownEvents<EventPlace>): Promise<void>;

  /** How many events of a partition follow `position`, as far as that can be counted in about so many milliseconds. */
  countAfter(partition: number, position: Position | null, within?: number): Promise<EventCount>;
}

/** `isAtLeast`: there may be more, which would take too long to count. */
export type EventCount = { readonly events: number; readonly isAtLeast: boolean };

export const exactly = (events: number): EventCount => ({ events, isAtLeast: false });

/** The position at which each partition that has events ends. */
export async function lastPositions(
  source: Pick<EventSource<Positioned>, 'ends'>,
): Promise<ReadonlyMap<number, Position>> {
  return new Map([...(await source.ends())].filter((end): end is [number, Position] => end[1] !== null));
}

export const furthest = (a: Position | null, b: Position | null): Position | null =>
  comparePositions(a, b) < 0 ? b : a;

/**
 * `none`: the log ends before the position or has no event there, so it is not the log that was consumed. `unknown`:
 * what was there has expired, so it is unknown.
 */
export type EventAt = { readonly id: string } | 'none' | 'unknown';

/** The last event consumed of a partition, and the identity of its log; `null` where it was not known then. */
export type LogMark = {
  readonly position: Position;
  readonly eventId: string | null;
  readonly log: string | null;
};

/** To continue without an operator could leave events out or lose rows; the message is one line that says what to do. */
export class OperatorNeeded extends Error {
  override readonly name: string = 'OperatorNeeded';

  /** What readiness says of it. */
  get reason(): string {
    return this.message;
  }
}

/** The log has another number of partitions than its events were divided by. */
export class PartitionsChanged extends OperatorNeeded {
  override readonly name = 'PartitionsChanged';

  constructor(log: string, found: number, pinned: number) {
    super(
      `${log} has ${found} partitions and had ${pinned} when it was first used: readings of a device would be in two of ` +
        'them. Copy it to a topic with as many partitions as are wanted with `fieldlog topics migrate`',
    );
  }
}

/** How many partitions each log has, for ever: the partition of a device follows from it. */
export interface PartitionCounts {
  /** The number that is kept for a log, by its identity; it is `partitions` the first time. */
  pinned(log: string, partitions: number): Promise<number>;
}

/** The checkpoint is that of another log, or of a later copy of this one. */
export class CheckpointOfAnotherLog extends OperatorNeeded {
  override readonly name = 'CheckpointOfAnotherLog';
}

/**
 * The position of an event in its source's partition: one or more whole numbers joined by `-`, compared number by
 * number. SQLite counts events (`42`), Kafka counts messages and the events inside one (`1187-3`), EventStoreDB
 * gives commit and prepare (`4711-4711`). A string, because a 64-bit position does not fit a JavaScript number.
 */
export type Position = string;

export type PartitionPosition = { readonly partition: number; readonly position: Position };

/** Less than, equal to or greater than zero as `a` is before, at or after `b`; `null` is before everything. */
export function comparePositions(a: Position | null, b: Position | null): number {
  if (a === b) return 0;
  if (a === null) return -1;
  if (b === null) return 1;
  const left = a.split('-');
  const right = b.split('-');
  for (let i = 0; i < Math.max(left.length, right.length); i += 1) {
    const x = left[i] ?? '0';
    const y = right[i] ?? '0';
    if (x.length !== y.length) return x.length - y.length;
    if (x !== y) return x < y ? -1 : 1;
  }
  return 0;
}

/** The two logs a read model can be built from. */
export type SourceName = 'devices' | 'telemetry';

/** A position as callers see it and send it in `waitFor`: `telemetry:0:42`. */
export const positionToken = (source: SourceName, { partition, position }: PartitionPosition): string =>
  `${source}:${partition}:${position}`;
