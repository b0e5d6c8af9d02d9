import type { Labels, RegisteredDevice } from '../../domain/device.ts';
import type { RetentionTarget } from '../../domain/retention.ts';
import type { RollupLevel, RollupStats } from '../../domain/rollup.ts';
import type { Metrics } from '../../domain/telemetry.ts';
import type { DetectionTables } from './detection.ts';
import type { EventPlace, LogMark, Position } from './event-source.ts';

/** One built copy of a projection's tables. Readers use the active one; a rebuild fills the next beside it. */
export type GenerationId = { readonly projection: string; readonly generation: number };

/** The write side of the read models: what a projector changes, and nothing a query needs. */
export interface ReadModels {
  /** The checkpoint of a generation in a partition, `null` before its first event. */
  checkpoint(generation: GenerationId, partition: number): Promise<Position | null>;

  /** How far beyond the checkpoint other programs' events have been skipped, `null` when that is not known. */
  skipped(generation: GenerationId, partition: number): Promise<EventPlace | null>;

  /** Stores it, for as long as the checkpoint stays at `after`; does nothing when it is elsewhere already. */
  skip(generation: GenerationId, partition: number, after: Position | null, to: EventPlace): Promise<void>;

  /** The checkpoint with the identity of its log. */
  logMark(generation: GenerationId, partition: number): Promise<LogMark | null>;

  /**
   * Runs `work` in one transaction with the partition's checkpoint row locked, then stores the position it answers
   * as the new checkpoint, with the log's mark or, for a position alone, without. Rolled back when it throws. A transaction lost to a deadlock or a broken connection
   * is run again as a whole, so `work` must not change anything but what it is given.
   *
   * `expected` lets `work` begin before the checkpoint is locked, as if it were this one, where the engine can. Throws
   * `CheckpointMoved`, rolled back, when it is another.
   */
  transact(
    generation: GenerationId,
    partition: number,
    work: (tables: ProjectionTables, locked: LockedCheckpoint) => Promise<LogMark | Position | null>,
    expected?: LockedCheckpoint,
  ): Promise<void>;

  /**
   * Runs `work` as `transact` does, for changes that do not come from consuming the log: the checkpoint stays, and
   * its epoch grows, so that a worker notices and forgets what it has cached.
   */
  repair(
    generation: GenerationId,
    partition: number,
    work: (tables: ProjectionTables) => Promise<void>,
  ): Promise<void>;
}

export type LockedCheckpoint = {
  readonly position: Position | null;
  /** Grows whenever the tables were changed other than by consuming the log: what was cached is then stale. */
  readonly epoch: number;
};

/** The tables of one generation, inside one transaction. */
export interface ProjectionTables {
  readonly devices: DeviceTable;
  readonly history: DeviceHistoryTable;
  readonly telemetry: TelemetryTables;
  readonly detection: DetectionTables;
  readonly deadLetters: DeadLetterTable;
  readonly expiry: ExpiryTables;
}

export type DeviceRow = RegisteredDevice & {
  readonly deviceId: string;
  readonly revision: number;
  /** ISO 8601. */
  readonly registeredAt: string;
  /** ISO 8601. */
  readonly updatedAt: string;
};

export interface DeviceTable {
  find(deviceIds: readonly string[]): Promise<ReadonlyMap<string, DeviceRow>>;
  /** Inserts or replaces whole rows. `before` says, when given, what the table holds of them: the others are new. */
  put(rows: readonly DeviceRow[], before?: ReadonlyMap<string, DeviceRow>): Promise<void>;
  /** Removes rows, with their labels. */
  remove(deviceIds: readonly string[]): Promise<void>;
}

export type FieldChange = {
  readonly field: 'name' | 'type' | 'labels' | 'status';
  readonly from: string | Labels | null;
  readonly to: string | Labels;
};

export type DeviceHistoryRow = {
  readonly deviceId: string;
  readonly revision: number;
  readonly event: string;
  readonly changes: readonly FieldChange[];
  readonly reason: string | null;
  readonly actor: string;
  /** ISO 8601. */
  readonly at: string;
  readonly correlationId: string;
  readonly causationId: string;
  readonly eventId: string;
  /** The device after the event: the state the next row's changes refer to. */
  readonly state: RegisteredDevice;
};

export interface DeviceHistoryTable {
  /** The last row of each device. */
  latest(deviceIds: readonly string[]): Promise<ReadonlyMap<string, DeviceHistoryRow>>;
  put(rows: readonly DeviceHistoryRow[]): Promise<void>;
  /** Every row of these devices. */
  remove(deviceIds: readonly string[]): Promise<void>;
}

/** One row a reading: a device at a moment of its own time, with all it measured then. */
export type ReadingRow = {
  readonly deviceId: string;
  /** Epoch milliseconds, the device's time. */
  readonly timestamp: number;
  readonly metrics: Metrics;
  /** Epoch milliseconds, the API's time, of the first reading that brought this row. */
  readonly receivedAt: number;
  readonly correlationId: string;
  readonly position: Position;
  /** The correlation id of the last reading that changed the row, `null` when none did. */
  readonly correctedBy: string | null;
};

/** `isStored`: the tables have it. */
export type ExpiredRow = ReadingKey & Pick<ReadingRow, 'receivedAt'> & { readonly isStored: boolean };

export type ReadingKey = { readonly deviceId: string; readonly timestamp: number };

/** By metric: the value of the greatest timestamp and that timestamp. */
export type LatestMetrics = ReadonlyMap<string, readonly [value: Metrics[string], timestamp: number]>;

export type LatestRow = {
  readonly deviceId: string;
  /** The greatest timestamp of any reading row of the device. */
  readonly timestamp: number;
  readonly metrics: LatestMetrics;
};

export type RollupKey = { readonly deviceId: string; readonly level: RollupLevel; readonly bucket: number };
export type RollupRow = RollupKey & { readonly metrics: ReadonlyMap<string, RollupStats> };

/**
 * What became of the readings received on one UTC day: each is counted once, as one of these. A reading that
 * changes or adds a metric of a row already there is `corrected`; one that changes nothing is a `duplicate`.
 */
export type LedgerCounts = {
  readonly stored: number;
  readonly duplicate: number;
  readonly corrected: number;
  readonly deadLettered: number;
  /** Past the retention horizon on arrival: in no table. */
  readonly late: number;
  /** Rows that a retraction emptied, of those counted as stored. */
  readonly retracted: number;
};

export type LedgerTotals = LedgerCounts & {
  /** Rows removed by retention, of those counted as stored. */
  readonly expired: number;
};

/** `day` is epoch milliseconds of its first instant. */
export type LedgerRow = { readonly deviceId: string; readonly day: number } & LedgerCounts;

export type TelemetryChanges = {
  /** Removed before anything is inserted, and counted as expired on the day they came. */
  readonly expired: readonly ExpiredRow[];
  /** Rows known to be new. */
  readonly inserted: readonly ReadingRow[];
  readonly replaced: readonly ReadingRow[];
  readonly removed: readonly ReadingKey[];
  readonly latest: readonly LatestRow[];
  /** Devices that no longer have any reading. */
  readonly forgotten: readonly string[];
  readonly rollups: readonly RollupRow[];
  readonly emptied: readonly RollupKey[];
  /** Counts to add to what is there: another partition may have counted for the same device and day. */
  readonly ledger: readonly LedgerRow[];
};

export interface TelemetryTables {
  latest(deviceIds: readonly string[]): Promise<readonly LatestRow[]>;
  readings(keys: readonly ReadingKey[]): Promise<readonly ReadingRow[]>;
  /** In order of time, `from` inclusive, `to` exclusive; the first `limit` when given. */
  readingsBetween(deviceId: string, from: number, to: number, limit?: number): Promise<readonly ReadingRow[]>;
  /** The last reading before `before` that has the metric, or any when `null`. */
  lastReading(deviceId: string, metric: string | null, before: number): Promise<ReadingRow | undefined>;
  rollups(keys: readonly RollupKey[]): Promise<readonly RollupRow[]>;
  rollupsBetween(
    level: RollupLevel,
    deviceId: string,
    from: number,
    to: number,
  ): Promise<readonly RollupRow[]>;
  write(changes: Partial<TelemetryChanges>): Promise<void>;
}

export type TrimOrder = {
  readonly kind: RetentionTarget;
  readonly deviceId: string;
  /** Of points their times, of rollups their buckets; `from` inclusive, `to` exclusive. */
  readonly from: number;
  readonly to: number;
  /** What is older goes, by metric. */
  readonly horizonOf: (metric: string) => number;
  /** Rows looked at at most. */
  readonly limit: number;
};

/** How far retention has come, for what is applied behind it. */
export interface ExpiryTables {
  /** The moment for which a sweep has passed a device, epoch milliseconds; `null` before the first. */
  sweptAt(deviceId: string): Promise<number | null>;
  /**
   * Removes what a sweep would have, and counts points that go as expired. Answers with where the next call begins, `null` when the
   * range is done.
   */
  trim(order: TrimOrder): Promise<number | null>;
}

/**
 * Why an event was parked: its own fault, or standing behind one of its stream that was. `wrong-partition`: it is not
 * in the partition of its device, whose rows only one worker may write.
 */
export type DeadLetterCause =
  | 'malformed'
  | 'unknown-type'
  | 'unknown-device'
  | 'future'
  | 'wrong-partition'
  | 'failed'
  | 'behind';

export type DeadLetter = {
  readonly partition: number;
  readonly position: Position;
  readonly stream: string;
  readonly eventId: string;
  readonly eventType: string;
  readonly cause: DeadLetterCause;
  readonly error: string;
  readonly stack: string | null;
  readonly correlationId: string;
  /** The event as the source gave it. */
  readonly event: unknown;
  /** Epoch milliseconds. */
  readonly parkedAt: number;
  /** By whom it was given up and why; `null` while it waits. One that was holds nothing up any more. */
  readonly discarded: Discard | null;
};

/** `at` is epoch milliseconds. */
export type Discard = { readonly by: string; readonly reason: string; readonly at: number };

/** `id` grows in log order within a stream. */
export type WaitingLetter = DeadLetter & { readonly id: number };

export interface DeadLetterTable {
  /** The streams of a partition that have dead letters waiting; with `holds`, of such causes and event types. */
  parkedStreams(
    partition: number,
    holds?: (cause: DeadLetterCause, eventType: string) => boolean,
  ): Promise<ReadonlySet<string>>;
  /** Adds dead letters for events that have none. */
  park(deadLetters: readonly DeadLetter[]): Promise<void>;
  /** The first waiting dead letters of a stream after the id `after`, in log order. */
  waiting(
    partition: number,
    stream: string,
    limit: number,
    after?: number,
  ): Promise<readonly WaitingLetter[]>;
  /** Their events have been applied. */
  remove(partition: number, positions: readonly Position[]): Promise<void>;
  /** Tried again in vain: what is wrong now. */
  failedAgain(
    deadLetter: Pick<DeadLetter, 'partition' | 'position' | 'cause' | 'error' | 'stack'>,
  ): Promise<void>;
  /** The event as it is to be when it is retried. */
  replaceEvent(partition: number, position: Position, event: unknown): Promise<void>;
  /** Discards waiting dead letters. */
  discard(partition: number, positions: readonly Position[], discard: Discard): Promise<void>;
}

/** The checkpoint was not the expected one. */
export class CheckpointMoved extends Error {
  override readonly name = 'CheckpointMoved';
}

/** The read models cannot be reached now; the same call may be made again. */
export class ReadModelsUnavailable extends Error {
  override readonly name = 'ReadModelsUnavailable';
}

/** The engine refuses a value that it was given to store: trying again is of no use, and nothing else is affected. */
export class UnfitValue extends Error {
  override readonly name = 'UnfitValue';
}
