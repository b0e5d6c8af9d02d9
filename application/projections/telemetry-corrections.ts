import type { DeviceRetention } from '../../domain/retention.ts';
import {
  addPoint,
  bucketOf,
  mergeStats,
  type RollupLevel,
  type RollupStats,
  rollupWidth,
} from '../../domain/rollup.ts';
import type { TelemetryEvent } from '../../domain/telemetry.ts';
import type { LatestRow, ReadingRow, TelemetryTables } from '../ports/read-models.ts';
import type { TelemetryRecord } from '../ports/telemetry-log.ts';
import { countLedger, ledgerChanges } from './telemetry-cache.ts';

/** A checked retraction with what the log says of it. */
export type DecodedRetraction = {
  readonly logged: TelemetryRecord;
  readonly event: Extract<TelemetryEvent, { type: 'TelemetryRetracted' }>;
  /** Added by `validate`; absent when nothing of the device expires. */
  readonly retention?: DeviceRetention;
};

/** Which points a retraction takes back, of the times that it spans, and from when on a metric is kept. */
type Taken = {
  readonly horizonOf: (metric: string) => number;
  readonly isTaken: (metric: string, timestamp: number) => boolean;
};

export function takenBy({ logged, event, retention }: DecodedRetraction): Taken {
  const { metric } = event.data;
  const horizonOf = (name: string) =>
    retention?.horizon('points', name, logged.receivedAt) ?? Number.NEGATIVE_INFINITY;
  const isTaken = (name: string, timestamp: number) =>
    (metric === undefined || metric === name) && timestamp >= horizonOf(name);
  return { horizonOf, isTaken };
}

/**
 * Takes points back: rows lose the metric, rows left with none go, newest values and rollups follow. It reaches as
 * far back as points are kept at `receivedAt`, whether or not older ones have been removed already. It may span
 * years, so it looks only at the first `rowsAtOnce` rows from `since` on, and answers with the time at which it has
 * to be continued; `undefined` once all is done. Done again from its beginning it finds nothing there.
 */
export async function retract(
  retraction: DecodedRetraction,
  since: number,
  rowsAtOnce: number,
  tables: TelemetryTables,
): Promise<number | undefined> {
  const { event, retention } = retraction;
  const { deviceId, from, to } = event.data;
  const { horizonOf, isTaken } = takenBy(retraction);
  const rows = await tables.readingsBetween(deviceId, Math.max(since, from), to, rowsAtOnce);
  // Rollups of a time before a horizon cannot be distinguished from points, and horizons are at the beginning of days.
  const dayOf = ({ timestamp }: ReadingRow) => (retention ? bucketOf('1d', timestamp) : 0);
  for (const some of Map.groupBy(rows, dayOf).values())
    await takeFrom(deviceId, some, { horizonOf, isTaken }, tables);
  const last = rows.at(-1);
  if (last && rows.length === rowsAtOnce) return last.timestamp + 1;
  const [newest] = await tables.latest([deviceId]);
  if (newest) {
    const metrics = await latestWithout(newest, from, to, isTaken, horizonOf, tables);
    await tables.write(await latestAfter(newest, metrics, retention, tables));
  }
  return undefined;
}

async function takeFrom(
  deviceId: string,
  rows: readonly ReadingRow[],
  { horizonOf, isTaken }: Taken,
  tables: TelemetryTables,
): Promise<void> {
  const lost = new Set<string>();
  const left = rows.map((row) => without(row, isTaken, lost));
  const changed = left.filter((row, i) => row !== rows[i]);
  const [first, last] = [changed[0], changed.at(-1)];
  if (!first || !last) return;
  // What is too old may have been removed: a row that has nothing else goes, as one that has nothing at all.
  const isEmpty = ({ metrics, timestamp }: ReadingRow) =>
    Object.keys(metrics).every((name) => timestamp < horizonOf(name));
  const emptied = changed.filter(isEmpty);
  await tables.write({ replaced: changed.filter((row) => !isEmpty(row)), removed: emptied });
  await rebuildRollups(deviceId, first.timestamp, last.timestamp + 1, lost, tables);
  const changes = ledgerChanges();
  for (const row of emptied) changes.of(deviceId, row.receivedAt).retracted += 1;
  await countLedger(changes, tables);
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
 * Recomputes the rollups of some metrics that overlap a range of one device's time anew, minutes from the readings, hours
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
