import {
  addPoint,
  bucketOf,
  mergeStats,
  type RollupLevel,
  type RollupStats,
  rollupWidth,
} from '../../domain/telemetry/rollup.ts';
import type { TelemetryTables } from '../ports/read-models.ts';

type Buckets = Map<number, Map<string, RollupStats>>;

/**
 * Tells every rollup that overlaps a range of one device's time anew, minutes from the readings, hours from the
 * minutes and days from the hours, for when a value was replaced or taken back.
 */
export async function rebuildRollups(
  deviceId: string,
  from: number,
  to: number,
  tables: TelemetryTables,
): Promise<void> {
  const minutes = aligned('1m', from, to);
  const points: Buckets = new Map();
  for (const row of await tables.readingsBetween(deviceId, minutes.from, minutes.to)) {
    const metrics = inBucket(points, bucketOf('1m', row.timestamp));
    for (const [name, value] of Object.entries(row.metrics))
      metrics.set(name, addPoint(metrics.get(name), value, row.timestamp));
  }
  await replaceRollups(deviceId, '1m', minutes, points, tables);

  for (const [level, finer] of [
    ['1h', '1m'],
    ['1d', '1h'],
  ] as const) {
    const range = aligned(level, from, to);
    const merged: Buckets = new Map();
    for (const row of await tables.rollupsBetween(finer, deviceId, range.from, range.to)) {
      const metrics = inBucket(merged, bucketOf(level, row.bucket));
      for (const [name, stats] of row.metrics) metrics.set(name, mergeStats(metrics.get(name), stats));
    }
    await replaceRollups(deviceId, level, range, merged, tables);
  }
}

async function replaceRollups(
  deviceId: string,
  level: RollupLevel,
  { from, to }: { from: number; to: number },
  buckets: Buckets,
  tables: TelemetryTables,
): Promise<void> {
  const before = await tables.rollupsBetween(level, deviceId, from, to);
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
