import type { DeviceRetention } from '../../domain/retention.ts';
import {
  addPoint,
  bucketOf,
  mergeStats,
  type RollupLevel,
  type RollupStats,
  rollupWidth,
} from '../../domain/rollup.ts';
import type { Retraction } from '../../domain/telemetry.ts';
import type { LatestRow, ReadingRow, TelemetryTables } from '../ports/read-models.ts';
import { countLedger, ledgerChanges, type TelemetryCache } from './telemetry-cache.ts';

/**
 * Takes points back: rows lose the metric, rows left with none go, newest values and rollups follow. It reaches as
 * far back as points are kept at `receivedAt`, whether or not older ones have been removed already.
 */
export async function retract(
  { deviceId, metric, from, to }: Retraction,
  receivedAt: number,
  retention: DeviceRetention | undefined,
  cache: TelemetryCache,
  tables: TelemetryTables,
): Promise<void> {
  const horizonOf = (name: string) =>
    retention?.horizon('points', name, receivedAt) ?? Number.NEGATIVE_INFINITY;
  const isTaken = (name: string, timestamp: number) =>
    (metric === undefined || metric === name) && timestamp >= horizonOf(name);
  // An hour at a time, and only hours that have readings: a retraction may span years.
  const width = rollupWidth['1h'];
  for (const { bucket } of await tables.rollupsBetween('1h', deviceId, from - width + 1, to)) {
    const start = Math.max(from, bucket);
    const end = Math.min(to, bucket + width);
    const rows = await tables.readingsBetween(deviceId, start, end);
    const lost = new Set<string>();
    const left = rows.map((row) => without(row, isTaken, lost));
    const changed = left.filter((row, i) => row !== rows[i]);
    // What is too old may have been removed: a row that has nothing else goes, as one that has nothing at all.
    const isEmpty = ({ metrics, timestamp }: ReadingRow) =>
      Object.keys(metrics).every((name) => timestamp < horizonOf(name));
    const emptied = changed.filter(isEmpty);
    await tables.write({ replaced: changed.filter((row) => !isEmpty(row)), removed: emptied });
    if (lost.size > 0) await rebuildRollups(deviceId, start, end, lost, tables);
    const changes = ledgerChanges();
    for (const row of emptied) changes.of(deviceId, row.receivedAt).retracted += 1;
    await countLedger(changes, tables);
  }
  const [newest] = await tables.latest([deviceId]);
  if (newest) {
    const metrics = await latestWithout(newest, from, to, isTaken, horizonOf, tables);
    await tables.write(await latestAfter(newest, metrics, retention, tables));
  }
  cache.forget(deviceId);
}

/** Adds to `lost` the metrics that the row loses. */
function without(
  row: ReadingRow,
  isTaken: (name: string, timestamp: number) => boolean,
  lost: Set<string>,
): ReadingRow {
  const removed = Object.keys(row.metrics).filter((name) => isTaken(name, row.timestamp));
  if (removed.length === 0) return row;
  for (const name of removed) lost.add(name);
  return {
    ...row,
    metrics: Object.fromEntries(Object.entries(row.metrics).filter(([name]) => !removed.includes(name))),
  };
}

/** The newest values once the range is gone: each one that stood in it gives way to the last one before it. */
async function latestWithout(
  { deviceId, metrics }: LatestRow,
  from: number,
  to: number,
  isTaken: (name: string, timestamp: number) => boolean,
  horizonOf: (name: string) => number,
  tables: TelemetryTables,
): Promise<LatestRow['metrics']> {
  const left = new Map(metrics);
  for (const [name, [, timestamp]] of metrics) {
    if (timestamp < from || timestamp >= to || !isTaken(name, timestamp)) continue;
    const earlier = await tables.lastReading(deviceId, name, from);
    // One that is too old to be kept may be there still, or be gone: either way it is no longer the newest.
    if (earlier && earlier.timestamp >= horizonOf(name))
      left.set(name, [earlier.metrics[name] as never, earlier.timestamp]);
    else left.delete(name);
  }
  return left;
}

async function latestAfter(
  { deviceId, timestamp }: LatestRow,
  metrics: LatestRow['metrics'],
  retention: DeviceRetention | undefined,
  tables: TelemetryTables,
): Promise<Parameters<TelemetryTables['write']>[0]> {
  // Rows that are to be removed may stand up to the time that is on record, and rollups without rows do.
  if (retention) return { latest: [{ deviceId, timestamp, metrics }] };
  const last = await tables.lastReading(deviceId, null, Number.MAX_SAFE_INTEGER);
  return last ? { latest: [{ deviceId, timestamp: last.timestamp, metrics }] } : { forgotten: [deviceId] };
}

type Buckets = Map<number, Map<string, RollupStats>>;

/**
 * Tells the rollups of some metrics that overlap a range of one device's time anew, minutes from the readings, hours
 * from the minutes and days from the hours, for when a value was replaced or taken back. Of other metrics the points
 * may have expired: their rollups stay as they are.
 */
export async function rebuildRollups(
  deviceId: string,
  from: number,
  to: number,
  metrics: ReadonlySet<string>,
  tables: TelemetryTables,
): Promise<void> {
  const minutes = aligned('1m', from, to);
  const points: Buckets = new Map();
  for (const row of await tables.readingsBetween(deviceId, minutes.from, minutes.to))
    for (const name of metrics) {
      if (!Object.hasOwn(row.metrics, name)) continue;
      const bucket = inBucket(points, bucketOf('1m', row.timestamp));
      const value = row.metrics[name] as (typeof row.metrics)[string];
      bucket.set(name, addPoint(bucket.get(name), value, row.timestamp));
    }
  await replaceRollups(deviceId, '1m', minutes, metrics, points, tables);

  for (const [level, finer] of [
    ['1h', '1m'],
    ['1d', '1h'],
  ] as const) {
    const range = aligned(level, from, to);
    const merged: Buckets = new Map();
    for (const row of await tables.rollupsBetween(finer, deviceId, range.from, range.to))
      for (const name of metrics) {
        const stats = row.metrics.get(name);
        if (!stats) continue;
        const bucket = inBucket(merged, bucketOf(level, row.bucket));
        bucket.set(name, mergeStats(bucket.get(name), stats));
      }
    await replaceRollups(deviceId, level, range, metrics, merged, tables);
  }
}

async function replaceRollups(
  deviceId: string,
  level: RollupLevel,
  { from, to }: { from: number; to: number },
  replaced: ReadonlySet<string>,
  buckets: Buckets,
  tables: TelemetryTables,
): Promise<void> {
  const before = await tables.rollupsBetween(level, deviceId, from, to);
  for (const { bucket, metrics } of before)
    for (const [name, stats] of metrics) if (!replaced.has(name)) inBucket(buckets, bucket).set(name, stats);
  await tables.write({
    rollups: [...buckets].map(([bucket, metrics]) => ({ deviceId, level, bucket, metrics })),
    emptied: before.filter(({ bucket }) => !buckets.has(bucket)),
  });
}

function aligned(level: RollupLevel, from: number, to: number): { from: number; to: number } {
  return { from: bucketOf(level, from), to: bucketOf(level, to - 1) + rollupWidth[level] };
}

function inBucket(buckets: Buckets, bucket: number): Map<string, RollupStats> {
  const metrics = buckets.get(bucket) ?? new Map<string, RollupStats>();
  buckets.set(bucket, metrics);
  return metrics;
}
