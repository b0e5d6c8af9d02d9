import {
  addPoint,
  bucketOf,
  mergeStats,
  type RollupLevel,
  type RollupStats,
  rollupWidth,
} from '../../domain/rollup.ts';
import type { TelemetryTables } from '../ports/read-models.ts';

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
