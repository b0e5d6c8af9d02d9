import type { RetentionPolicy, RetentionSchedule, RetentionTarget } from '../../domain/retention.ts';
import type { LeaseOwner } from './generations.ts';
import type { GenerationId, TrimOrder } from './read-models.ts';

/** Rows that were removed, by kind; of documents that stay, how many lost a metric. */
export type RemovedCounts = Readonly<Record<RetentionTarget, number>> & { readonly trimmed: number };

/** Progress of the retention sweep of one generation. Times are epoch milliseconds. */
export type Sweep = {
  /** All data expired at this moment has been removed; `null` before the first sweep has ended. */
  readonly sweptTo: number | null;
  /** The moment of the running sweep, which has passed the device `after` in id order. */
  readonly target: number | null;
  readonly after: string;
  /** By all sweeps so far. */
  readonly removed: RemovedCounts;
  /** When the last sweep ended. */
  readonly endedAt: number | null;
};

/** The moment for which a device has been swept. */
export const sweptAt = (
  { target, after, sweptTo }: Pick<Sweep, 'target' | 'after' | 'sweptTo'>,
  deviceId: string,
): number | null => (target !== null && deviceId <= after ? target : sweptTo);

/** Retention records beside the read models: policies, sweeps, the lease. Every call throws `ReadModelsUnavailable`. */
export interface RetentionRecords {
  /** By the clock of the database server, epoch milliseconds; infinity where that is this machine's. */
  now(): Promise<number>;
  schedule(): Promise<RetentionSchedule>;
  /** Brings a policy into force at `since` unless the newest is the same. Answers with whether it did. */
  announce(policy: RetentionPolicy, since: number): Promise<boolean>;

  sweepOf(generation: GenerationId): Promise<Sweep | undefined>;
  /** Of the active generation of a projection. */
  activeSweep(projection: string): Promise<Sweep | undefined>;
  saveSweep(generation: GenerationId, sweep: Sweep): Promise<void>;

  /** Acquires or renews the sweeper's lease; `false` when another owner holds it and it has not expired. */
  acquireLease(owner: LeaseOwner): Promise<boolean>;
  releaseLease(owner: LeaseOwner): Promise<void>;
}

type SweepOrder = TrimOrder & {
  /** Some metrics of the range are retained: projectors are locked out while its rows change. */
  readonly shared: boolean;
};

/**
 * Removes expired data from the tables of a generation, each call one short transaction. Unless
 * the range is `shared`, it holds nothing that a projector would wait for. Every call throws `ReadModelsUnavailable`.
 */
export interface RetentionTables {
  /** Devices that have any telemetry, in order of id, those after `after`. */
  devices(generation: GenerationId, after: string, limit: number): Promise<readonly string[]>;
  /** `next` is the cursor of the next call; `null` when the range is done. Rows of points removed are counted as expired. */
  trim(
    generation: GenerationId,
    order: SweepOrder,
  ): Promise<{ readonly removed: number; readonly trimmed: number; readonly next: number | null }>;
  /**
   * Copies the rollups of a device's removed points into another generation, replacing what is
   * there: rollups, by what `horizonOf` says of points, and newest values.
   */
  carry(
    from: GenerationId,
    to: GenerationId,
    order: Pick<TrimOrder, 'deviceId' | 'horizonOf' | 'to'>,
  ): Promise<void>;
  /** Whether there are rollups of removed points. */
  hasOrphanRollups(generation: GenerationId): Promise<boolean>;
  /**
   * Brings into the running totals of a generation's ledger what a worker of a release without them has counted, once
   * none writes any longer. `now`: epoch milliseconds.
   */
  completeTotals(generation: GenerationId, now: number): Promise<void>;
  /** The number of rows in the range. */
  count(
    generation: GenerationId,
    range: Pick<TrimOrder, 'kind' | 'deviceId' | 'from' | 'to'>,
  ): Promise<number>;
}

/** An erasure of which something may be left to do. */
export type PendingErasure = {
  readonly deviceId: string;
  /** Of the event that erased the device, the last one of its stream. */
  readonly revision: number;
  /** When it was recorded, epoch milliseconds. */
  readonly erasedAt: number;
  /** The event store has truncated what came before. */
  readonly isTruncated: boolean;
};

/** The read models' remains of devices that were erased or deleted. Every call throws `ReadModelsUnavailable`. */
export interface ErasedDevices {
  /** Of devices that the active generation of devices knows to be erased, in order of id. */
  pending(): Promise<readonly PendingErasure[]>;
  truncated(erasure: PendingErasure, now: number): Promise<void>;
  /** They are pending no longer. */
  finish(deviceIds: readonly string[], now: number): Promise<void>;
  /** Those that the active generation of devices knows to be erased, in order of id. */
  list(): Promise<readonly string[]>;
  /** Those of them of which a generation of the telemetry projection has anything but what the ledger counts. */
  withTelemetry(generation: GenerationId): Promise<readonly string[]>;
  /**
   * Some devices that a generation has something of and the active device list or history does not: they were deleted, or are yet to
   * be listed.
   */
  unlisted(generation: GenerationId): Promise<readonly string[]>;
  /** Those erased devices of which a generation of detection has a state or an alarm, in order of id. */
  watched(generation: GenerationId): Promise<readonly string[]>;
  /**
   * Removes what a generation has of a device whose stream was deleted; of detection also of one that was erased. Of telemetry it counts all that was applied as
   * late, as it comes out when a rebuild reads it; points and rollups have been removed before.
   */
  removeDeleted(generation: GenerationId, deviceId: string): Promise<void>;
  /** Whether a generation of the telemetry projection has anything of a device but what the ledger counts. */
  hasTelemetry(generation: GenerationId, deviceId: string): Promise<boolean>;
  /**
   * Removes a device's newest values from a generation of the telemetry projection; of its dead letters, in every
   * generation, it leaves what the ledger and a rebuild have to know, and gives up those that wait.
   */
  removeRest(generation: GenerationId, deviceId: string, now: number): Promise<void>;
  /** Removes what other generations than the active ones know of a device from before it was erased. */
  removeRetired(deviceId: string): Promise<void>;
}
