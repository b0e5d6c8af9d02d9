import type { DeviceRetention } from '../../domain/retention.ts';
import {
  addToTally,
  bucketOf,
  mergeStats,
  type RollupLevel,
  type RollupStats,
  type RollupTally,
  rollupLevels,
  tallyOf,
} from '../../domain/rollup.ts';
import type { Metrics, MetricValue, Reading } from '../../domain/telemetry.ts';
import type { ExpiredRow, LedgerCounts, ReadingRow, RollupKey, RollupRow } from '../ports/read-models.ts';
import type { LoggedTelemetry } from '../ports/telemetry-log.ts';
import type { CachedDevice } from './telemetry-cache.ts';
import { addRow, type RowInHand, type RowsInHand, rowAt, rowsInHand } from './telemetry-rows.ts';

/** A checked reading with what the log says of it. */
export type ReadingFact = {
  readonly logged: LoggedTelemetry;
  readonly event: { readonly type: 'TelemetryRecorded'; readonly data: Reading };
  /** Told by `refuse`; absent where the device is kept whole for ever. */
  kept?: DeviceRetention;
};

/** By bucket and metric. */
type Gathered = Map<number, Map<string, RollupStats>>;

/** One device in a batch under way: what to look up, the rows in hand and the buckets that change. */
export type DeviceInHand = {
  readonly device: CachedDevice;
  /** Times of readings whose rows may be in the tables already. */
  readonly timesToLookUp: Set<number>;
  /** Buckets that the tables may know more of. */
  readonly bucketsToLookUp: RollupKey[];
  /** The minute whose buckets were seen to last. */
  lastMinute: number;
  readonly rows: RowsInHand;
  /** Rows found that were too old for each of their metrics, and gave way to a reading of another metric. */
  readonly expired: ExpiredRow[];
  /** By minute and metric: the points that rollups and newest values do not have yet. */
  readonly added: Map<number, Map<string, RollupTally>>;
  /** The buckets that changed, by their metrics. */
  readonly rollups: Map<ReadonlyMap<string, RollupStats>, RollupRow>;
  /** Minutes in which a value was replaced, and of which metrics: their rollups cannot be told by adding. */
  readonly corrected: Map<number, Set<string>>;
};

export const inHand = (device: CachedDevice): DeviceInHand => ({
  device,
  timesToLookUp: new Set(),
  bucketsToLookUp: [],
  lastMinute: Number.NaN,
  rows: rowsInHand(),
  expired: [],
  added: new Map(),
  rollups: new Map(),
  corrected: new Map(),
});

/** Notes what the tables may know of a reading of that time, and puts its buckets in the cache. */
export function anticipate(timestamp: number, hand: DeviceInHand): void {
  const { deviceId, lastAt, buckets } = hand.device;
  if (timestamp <= lastAt) hand.timesToLookUp.add(timestamp);
  const minute = bucketOf('1m', timestamp);
  if (minute === hand.lastMinute) return;
  hand.lastMinute = minute;
  for (const level of rollupLevels) {
    const bucket = bucketOf(level, minute);
    if (buckets[level].has(bucket)) continue;
    buckets[level].set(bucket, new Map());
    if (bucket <= lastAt) hand.bucketsToLookUp.push({ deviceId, level, bucket });
  }
}

/** Puts one reading where it belongs and says what became of it. */
export function place({ logged, event, kept }: ReadingFact, hand: DeviceInHand): keyof LedgerCounts {
  const { deviceId, timestamp, metrics } = event.data;
  const { device, rows } = hand;
  const found = rowAt(rows, timestamp);
  const held = found && isExpired(found, logged.receivedAt, kept) ? undefined : found;
  if (!held) {
    const { receivedAt, correlationId, position } = logged;
    const row: RowInHand = {
      deviceId,
      timestamp,
      metrics,
      receivedAt,
      correlationId,
      position,
      correctedBy: null,
      state: 'new',
    };
    if (found) {
      hand.expired.push({
        deviceId,
        timestamp,
        receivedAt: found.receivedAt,
        isStored: found.state !== 'new',
      });
      Object.assign(found, row);
    } else addRow(rows, row);
    if (timestamp > device.lastAt) device.lastAt = timestamp;
    const tallies = talliesOf(hand, timestamp);
    for (const name in metrics) add(tallies, name, metrics[name] as MetricValue, timestamp);
    return 'stored';
  }

  let changed = false;
  const merged: Record<string, Metrics[string]> = { ...held.metrics };
  for (const name in metrics) {
    const value = metrics[name] as MetricValue;
    if (!Object.hasOwn(merged, name)) add(talliesOf(hand, timestamp), name, value, timestamp);
    else if (merged[name] !== value) correct(hand, name, value, timestamp);
    else continue;
    merged[name] = value;
    changed = true;
  }
  if (!changed) return 'duplicate';
  held.metrics = merged;
  held.correctedBy = logged.correlationId;
  if (held.state === 'stored') held.state = 'changed';
  return 'corrected';
}

/** Whether or not it has been removed by now, a row must be taken for one that has been. */
function isExpired(
  { timestamp, metrics }: ReadingRow,
  at: number,
  kept: DeviceRetention | undefined,
): boolean {
  return (
    kept !== undefined &&
    timestamp < kept.newest('points', at) &&
    Object.keys(metrics).every((name) => timestamp < kept.horizon('points', name, at))
  );
}

/** Brings the points added so far into rollups and newest values. */
export function settle({ device, added, rollups }: DeviceInHand): void {
  let gathered: Gathered = new Map(added);
  added.clear();
  for (const metrics of gathered.values())
    for (const [name, { last, lastAt }] of metrics) keepLatest(device, name, last, lastAt);
  for (const level of rollupLevels) {
    gathered = gatheredBy(level, gathered);
    for (const [bucket, metrics] of gathered) {
      const stored = device.buckets[level].get(bucket) as Map<string, RollupStats>;
      for (const [name, stats] of metrics) stored.set(name, mergeStats(stored.get(name), stats));
      if (!rollups.has(stored))
        rollups.set(stored, { deviceId: device.deviceId, level, bucket, metrics: stored });
    }
  }
}

/** The same by wider buckets. */
function gatheredBy(level: RollupLevel, finer: Gathered): Gathered {
  const wider: Gathered = new Map();
  for (const [start, metrics] of finer) {
    const bucket = bucketOf(level, start);
    const known = wider.get(bucket);
    if (!known) wider.set(bucket, new Map(metrics));
    else for (const [name, stats] of metrics) known.set(name, mergeStats(known.get(name), stats));
  }
  return wider;
}

function talliesOf({ added }: DeviceInHand, timestamp: number): Map<string, RollupTally> {
  const minute = bucketOf('1m', timestamp);
  const known = added.get(minute);
  if (known) return known;
  const tallies = new Map<string, RollupTally>();
  added.set(minute, tallies);
  return tallies;
}

function add(tallies: Map<string, RollupTally>, name: string, value: MetricValue, timestamp: number): void {
  const tally = tallies.get(name);
  if (tally) addToTally(tally, value, timestamp);
  else tallies.set(name, tallyOf(value, timestamp));
}

function correct(hand: DeviceInHand, name: string, value: MetricValue, timestamp: number): void {
  // What was added before must not take the place of the correction.
  settle(hand);
  keepLatest(hand.device, name, value, timestamp);
  const minute = bucketOf('1m', timestamp);
  const metrics = hand.corrected.get(minute);
  if (metrics) metrics.add(name);
  else hand.corrected.set(minute, new Set([name]));
}

function keepLatest(device: CachedDevice, name: string, value: MetricValue, timestamp: number): void {
  const newest = device.latest.get(name);
  if (!newest || timestamp >= newest[1]) device.latest.set(name, [value, timestamp]);
}
