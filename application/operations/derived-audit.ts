import type { DeviceRetention, RetentionTarget } from '../../domain/retention.ts';
import {
  addTo,
  bucketOf,
  type MutableStats,
  mergeStats,
  newStats,
  type RollupLevel,
  type RollupStats,
} from '../../domain/rollup.ts';
import type { MetricValue } from '../../domain/telemetry.ts';
import type { AuditedReading } from '../ports/audit.ts';
import type { LatestRow, RollupRow } from '../ports/read-models.ts';
import type { AuditEntries } from './audit-entries.ts';

/** The retention of those devices of which something expires. */
export type RetentionLookup = (
  deviceIds: ReadonlySet<string>,
) => Promise<ReadonlyMap<string, Pick<DeviceRetention, 'horizon'>>>;

type Options = {
  readonly retentionOf: RetentionLookup;
  /** Epoch milliseconds. */
  readonly now: number;
  /** Of the device's time: buckets are compared that lie in it. */
  readonly from: number;
  readonly to: number;
  /** Newest values are of all time: a range says nothing of them. */
  readonly withLatest: boolean;
};

const coarserThan = { '1m': '1h', '1h': '1d', '1d': undefined } as const;

/**
 * Derives newest values and rollups from the level below, as rows come by in the order of devices and times, and adds
 * both sides to the entries: minutes from points, hours from minutes, days from hours. What retention may have
 * removed from either side is left out.
 */
export class DerivedAudit {
  readonly #entries: AuditEntries;
  readonly #options: Options;
  #retention: ReadonlyMap<string, Pick<DeviceRetention, 'horizon'>> = new Map();
  #deviceId: string | undefined;
  #lastAt = Number.NEGATIVE_INFINITY;
  readonly #latest = new Map<string, readonly [MetricValue, number]>();
  readonly #open: Record<RollupLevel, { bucket: number; metrics: Map<string, MutableStats | RollupStats> }>;

  constructor(entries: AuditEntries, options: Options) {
    this.#entries = entries;
    this.#options = options;
    this.#open = {
      '1m': { bucket: Number.NaN, metrics: new Map() },
      '1h': { bucket: Number.NaN, metrics: new Map() },
      '1d': { bucket: Number.NaN, metrics: new Map() },
    };
  }

  async readings(rows: readonly AuditedReading[]): Promise<void> {
    await this.#lookUp(rows);
    for (const row of rows) this.#addReading(row);
  }

  async rollups(rows: readonly RollupRow[]): Promise<void> {
    await this.#lookUp(rows);
    for (const row of rows) this.#addRollup(row);
  }

  async latest(rows: readonly LatestRow[]): Promise<void> {
    await this.#lookUp(rows);
    for (const row of rows) this.#addLatestRow(row);
  }

  /** The device before is still open. */
  async #lookUp(rows: readonly { readonly deviceId: string }[]): Promise<void> {
    const deviceIds = new Set(rows.map(({ deviceId }) => deviceId));
    if (this.#deviceId !== undefined) deviceIds.add(this.#deviceId);
    this.#retention = await this.#options.retentionOf(deviceIds);
  }

  #addReading({ deviceId, timestamp, metrics }: AuditedReading): void {
    this.#begin(deviceId);
    this.#lastAt = timestamp;
    const minute = this.#bucket('1m', timestamp);
    for (const name in metrics) {
      const value = metrics[name] as MetricValue;
      this.#latest.set(name, [value, timestamp]);
      const stats = minute.get(name) as MutableStats | undefined;
      if (stats) addTo(stats, value, timestamp);
      else minute.set(name, newStats(value, timestamp));
    }
  }

  #addRollup({ deviceId, level, bucket, metrics }: RollupRow): void {
    this.#begin(deviceId);
    this.#addRollups(level, 'found', bucket, metrics);
    const coarser = coarserThan[level];
    if (coarser === undefined) return;
    const wider = this.#bucket(coarser, bucket);
    for (const [name, stats] of metrics) wider.set(name, mergeStats(wider.get(name), stats));
  }

  #addLatestRow({ deviceId, timestamp, metrics }: LatestRow): void {
    this.#begin(deviceId);
    this.#addLatest('found', timestamp, metrics);
  }

  /** All rows of a table have come by. */
  end(): void {
    if (this.#deviceId === undefined) return;
    for (const level of ['1m', '1h', '1d'] as const) this.#close(level);
    this.#addLatest('expected', this.#lastAt, this.#latest);
    this.#latest.clear();
    this.#lastAt = Number.NEGATIVE_INFINITY;
    this.#deviceId = undefined;
  }

  #begin(deviceId: string): void {
    if (deviceId === this.#deviceId) return;
    this.end();
    this.#deviceId = deviceId;
  }

  #bucket(level: RollupLevel, at: number): Map<string, MutableStats | RollupStats> {
    const open = this.#open[level];
    const bucket = bucketOf(level, at);
    if (open.bucket !== bucket) {
      this.#close(level);
      open.bucket = bucket;
    }
    return open.metrics;
  }

  #close(level: RollupLevel): void {
    const open = this.#open[level];
    if (open.metrics.size > 0) this.#addRollups(level, 'expected', open.bucket, open.metrics);
    open.metrics = new Map();
    open.bucket = Number.NaN;
  }

  #addRollups(
    level: RollupLevel,
    side: 'expected' | 'found',
    bucket: number,
    metrics: ReadonlyMap<string, RollupStats>,
  ): void {
    const { from, to } = this.#options;
    if (bucket < from || bucket >= to) return;
    const at = { deviceId: this.#deviceId as string, at: bucket };
    for (const [name, { count, numbers, sum, min, max, firstAt, first, lastAt, last }] of metrics) {
      if (bucket < Math.max(this.#horizon(below[level], name), this.#horizon(level, name))) continue;
      const values = [name, count, numbers, sum, min, max, firstAt, first, lastAt, last];
      this.#entries.derive(level, side, at, count, values);
    }
  }

  #addLatest(side: 'expected' | 'found', lastAt: number, metrics: LatestRow['metrics']): void {
    if (!this.#options.withLatest) return;
    const deviceId = this.#deviceId as string;
    for (const [name, [value, at]] of metrics)
      if (at >= this.#horizon('points', name))
        this.#entries.derive('latest', side, { deviceId, at }, 1, [name, value]);
    // Where points expire it may be the time of one that is gone.
    if (lastAt !== Number.NEGATIVE_INFINITY && !this.#retention.has(deviceId))
      this.#entries.derive('latest', side, { deviceId, at: lastAt }, 0, null);
  }

  #horizon(target: RetentionTarget, metric: string): number {
    const retention = this.#retention.get(this.#deviceId as string);
    return retention?.horizon(target, metric, this.#options.now) ?? Number.NEGATIVE_INFINITY;
  }
}

const below = { '1m': 'points', '1h': '1m', '1d': '1h' } as const;
