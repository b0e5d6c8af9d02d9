import type { DeviceStatus } from '../../domain/device.ts';
import type { RollupLevel, RollupStats } from '../../domain/rollup.ts';
import type { MetricValue } from '../../domain/telemetry.ts';
import type { DeviceBounds } from '../device-bounds.ts';
import type { PartitionPosition } from './event-source.ts';
import type { DeviceHistoryRow, DeviceRow, LedgerTotals } from './read-models.ts';

export type DeviceFilter = {
  /** One of these. */
  readonly ids?: readonly string[];
  readonly status?: DeviceStatus;
  readonly type?: string;
  /** Every one of them must match. */
  readonly labels?: readonly { readonly key: string; readonly value: string }[];
  /** Part of the id or the name, whatever its case. */
  readonly text?: string;
  /** What the caller may see at all, whatever else is asked for. */
  readonly within?: DeviceBounds;
};

/** What analysts and operators ask of the device read models. Every call throws `ReadModelsUnavailable`. */
export interface DeviceQueries {
  /** In order of device id, those after `after`. */
  list(
    filter: DeviceFilter,
    page: { readonly limit: number; readonly after?: string },
  ): Promise<readonly DeviceRow[]>;
  /** Those of these devices that there are. */
  find(deviceIds: readonly string[]): Promise<ReadonlyMap<string, DeviceRow>>;
  /** In order of revision. */
  history(
    deviceId: string,
    page: { readonly limit: number; readonly after?: number },
  ): Promise<readonly Omit<DeviceHistoryRow, 'state'>[]>;
}

/** Whose telemetry: one device's, or that of every device the filter matches. */
export type TelemetryScope = { readonly deviceId: string } | { readonly devices: DeviceFilter };

/** Epoch milliseconds, `from` inclusive, `to` exclusive. */
export type TimeRange = { readonly from: number; readonly to: number };

export type Point = {
  readonly deviceId: string;
  /** Epoch milliseconds. */
  readonly timestamp: number;
  readonly metric: string;
  readonly value: MetricValue;
};

/** The key of the last point already seen: by device, then time, then metric name. */
export type PointKey = Pick<Point, 'deviceId' | 'timestamp' | 'metric'>;

export type PointQuery = {
  readonly scope: TelemetryScope;
  /** Every metric when absent. */
  readonly metrics?: readonly string[];
  readonly range: TimeRange;
  readonly order: 'asc' | 'desc';
  /** `Infinity` for all. */
  readonly limit: number;
  readonly after?: PointKey;
  /** Aborted when nobody wants the answer any more: the stream throws its reason. */
  readonly signal?: AbortSignal;
};

export type RollupQuery = {
  readonly scope: TelemetryScope;
  readonly metrics?: readonly string[];
  readonly range: TimeRange;
  readonly order: 'asc' | 'desc';
  /** The last device id already read. */
  readonly after?: string;
  readonly signal?: AbortSignal;
};

/** A device's bucket of a level, by its start in epoch milliseconds. */
export type BucketKey = { readonly deviceId: string; readonly bucket: number };

/** One metric of one device over one bucket of a level. */
export type RollupSlice = {
  readonly deviceId: string;
  readonly metric: string;
  readonly bucket: number;
  readonly stats: RollupStats;
};

/**
 * Queries of the telemetry read models. Streams yield non-empty chunks, and hold only a few in
 * memory. Every call throws `ReadModelsUnavailable`.
 */
export interface TelemetryQueries {
  /** By device id ascending; each device's points in `order` of time, metrics by name within a moment. */
  points(query: PointQuery): AsyncIterable<readonly Point[]>;

  /**
   * Stored rollups whose bucket starts in the range, by device, each in `order` of time. All metrics of a device's
   * bucket come in one chunk.
   */
  rollups(level: RollupLevel, query: RollupQuery): AsyncIterable<readonly RollupSlice[]>;

  /** Stored rollups of these buckets, all metrics of each, in any order. */
  rollupsAt(level: RollupLevel, buckets: readonly BucketKey[]): Promise<readonly RollupSlice[]>;

  /**
   * The newest value of each metric, metrics by name, of devices in order of id that have any; `after` is the last
   * device id already seen.
   */
  latest(
    scope: TelemetryScope,
    page: { readonly metrics?: readonly string[]; readonly limit: number; readonly after?: string },
  ): Promise<readonly { readonly deviceId: string; readonly points: readonly Omit<Point, 'deviceId'>[] }[]>;
}

export type ProjectionProgress = {
  readonly projection: string;
  readonly generation: number;
  readonly version: number;
  readonly checkpoints: readonly PartitionPosition[];
  /** How far that is in the log, with what was skipped of other programs' events behind the checkpoints. */
  readonly reached: readonly PartitionPosition[];
};

/** How far the active generations have come. */
export interface ProgressQueries {
  progress(): Promise<readonly ProjectionProgress[]>;
  /** Dead letters waiting, by projection and cause. */
  deadLetterCounts(): Promise<
    readonly { readonly projection: string; readonly cause: string; readonly count: number }[]
  >;
  /** Sums over the ledger: what became of every reading the active telemetry generation has consumed. */
  ledgerTotals(): Promise<LedgerTotals>;
}
