import type { DeviceRetention } from '../../domain/retention.ts';
import {
  addTo,
  bucketOf,
  type MutableStats,
  mergeStats,
  newStats,
  type RollupLevel,
  type RollupStats,
  rollupLevels,
} from '../../domain/rollup.ts';
import type { Metrics, MetricValue, Reading } from '../../domain/telemetry.ts';
import type {
  ExpiredRow,
  LedgerCounts,
  ReadingKey,
  ReadingRow,
  RollupKey,
  RollupRow,
  TelemetryTables,
} from '../ports/read-models.ts';
import type { TelemetryRecord } from '../ports/telemetry-log.ts';
import { type CachedDevice, countLedger, ledgerChanges, type TelemetryCache } from './telemetry-cache.ts';
import { rebuildRollups } from './telemetry-corrections.ts';

/** A checked reading with what the log says of it. */
export type DecodedReading = {
  readonly logged: TelemetryRecord;
  readonly event: { readonly type: 'TelemetryRecorded'; readonly data: Reading };
  /** Added by `validate`; absent when nothing of the device expires. */
  readonly retention?: DeviceRetention;
};

/** By bucket and metric. */
type Gathered = Map<number, Map<string, RollupStats>>;

/** One device in the current batch: what to look up, the pending rows and the buckets that change. */
type DeviceBatch = {
  readonly device: CachedDevice;
  /** Times of readings whose rows may be in the tables already. */
  readonly timesToLookUp: Set<number>;
  /** Buckets that the tables may know more of. */
  readonly bucketsToLookUp: RollupKey[];
  /** The minute whose buckets were seen to last. */
  lastMinute: number;
  readonly rows: PendingRows;
  /** Rows found that were too old for each of their metrics, and gave way to a reading of another metric. */
  readonly expired: ExpiredRow[];
  /** By minute and metric: the points that rollups and newest values do not have yet. */
  readonly added: Map<number, Map<string, MutableStats>>;
  /** The buckets that changed, by their metrics. */
  readonly rollups: Map<ReadonlyMap<string, RollupStats>, RollupRow>;
  /** Minutes in which a value was replaced, and of which metrics: their rollups cannot be found by adding. */
  readonly corrected: Map<number, Set<string>>;
};

const newDeviceBatch = (device: CachedDevice): DeviceBatch => ({
  device,
  timesToLookUp: new Set(),
  bucketsToLookUp: [],
  lastMinute: Number.NaN,
  rows: newPendingRows(),
  expired: [],
  added: new Map(),
  rollups: new Map(),
  corrected: new Map(),
});

/** Collects the rows and buckets this reading may touch, so that they are fetched in one query. */
function collectLookups(timestamp: number, batch: DeviceBatch): void {
  const { deviceId, lastAt, buckets } = batch.device;
  if (timestamp <= lastAt) batch.timesToLookUp.add(timestamp);
  const minute = bucketOf('1m', timestamp);
  if (minute === batch.lastMinute) return;
  batch.lastMinute = minute;
  for (const level of rollupLevels) {
    const bucket = bucketOf(level, minute);
    if (buckets[level].has(bucket)) continue;
    buckets[level].set(bucket, new Map());
    if (bucket <= lastAt) batch.bucketsToLookUp.push({ deviceId, level, bucket });
  }
}

/**
 * Puts one reading where it belongs and returns its outcome; `undefined`, with nothing changed, when rollups have to be
 * rebuilt first from a row that this reading takes the place of.
 */
function applyReading(
  { logged, event, retention }: DecodedReading,
  batch: DeviceBatch,
): keyof LedgerCounts | undefined {
  const { deviceId, timestamp, metrics } = event.data;
  const { device, rows } = batch;
  const found = rowAt(rows, timestamp);
  const held = found && isExpired(found, logged.receivedAt, retention) ? undefined : found;
  if (!held) {
    if (found && batch.corrected.has(bucketOf('1m', timestamp))) return undefined;
    const { receivedAt, correlationId, position } = logged;
    const row: PendingRow = {
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
      batch.expired.push({
        deviceId,
        timestamp,
        receivedAt: found.receivedAt,
        isStored: found.state !== 'new',
      });
      Object.assign(found, row);
    } else addRow(rows, row);
    if (timestamp > device.lastAt) device.lastAt = timestamp;
    const stats = pointsOfMinute(batch, timestamp);
    for (const name in metrics) add(stats, name, metrics[name] as MetricValue, timestamp);
    return 'stored';
  }

  let changed = false;
  const merged: Record<string, Metrics[string]> = { ...held.metrics };
  for (const name in metrics) {
    const value = metrics[name] as MetricValue;
    if (!Object.hasOwn(merged, name)) add(pointsOfMinute(batch, timestamp), name, value, timestamp);
    else if (merged[name] !== value) correct(batch, name, value, timestamp);
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
  retention: DeviceRetention | undefined,
): boolean {
  return (
    retention !== undefined &&
    timestamp < retention.newest('points', at) &&
    Object.keys(metrics).every((name) => timestamp < retention.horizon('points', name, at))
  );
}

/** Brings the points added so far into rollups and newest values. */
function flushPoints({ device, added, rollups }: DeviceBatch): void {
  let gathered: Gathered = new Map(added);
  added.clear();
  for (const metrics of gathered.values())
    for (const [name, { last, lastAt }] of metrics) updateLatest(device, name, last, lastAt);
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

function pointsOfMinute({ added }: DeviceBatch, timestamp: number): Map<string, MutableStats> {
  const minute = bucketOf('1m', timestamp);
  const known = added.get(minute);
  if (known) return known;
  const stats = new Map<string, MutableStats>();
  added.set(minute, stats);
  return stats;
}

function add(stats: Map<string, MutableStats>, name: string, value: MetricValue, timestamp: number): void {
  const tally = stats.get(name);
  if (tally) addTo(tally, value, timestamp);
  else stats.set(name, newStats(value, timestamp));
}

function correct(batch: DeviceBatch, name: string, value: MetricValue, timestamp: number): void {
  // What was added before must not take the place of the correction.
  flushPoints(batch);
  updateLatest(batch.device, name, value, timestamp);
  const minute = bucketOf('1m', timestamp);
  const metrics = batch.corrected.get(minute);
  if (metrics) metrics.add(name);
  else batch.corrected.set(minute, new Set([name]));
}

function updateLatest(device: CachedDevice, name: string, value: MetricValue, timestamp: number): void {
  const newest = device.latest.get(name);
  if (!newest || timestamp >= newest[1]) device.latest.set(name, [value, timestamp]);
}

/** A row of one device in the current batch: as the tables have it, to be replaced there, or to be added. */
type PendingRow = { -readonly [Key in keyof ReadingRow]: ReadingRow[Key] } & {
  state: 'stored' | 'changed' | 'new';
};

/** One device's rows. Nearly all readings are newer than those before them: only others are looked up by time. */
type PendingRows = {
  readonly rows: PendingRow[];
  newestAt: number;
  isInOrder: boolean;
  byTime: Map<number, PendingRow> | undefined;
};

const newPendingRows = (): PendingRows => ({
  rows: [],
  newestAt: Number.NEGATIVE_INFINITY,
  isInOrder: true,
  byTime: undefined,
});

function rowAt(batch: PendingRows, timestamp: number): PendingRow | undefined {
  if (timestamp > batch.newestAt) return undefined;
  batch.byTime ??= new Map(batch.rows.map((row) => [row.timestamp, row]));
  return batch.byTime.get(timestamp);
}

/** Adds a row of a time that none has. */
function addRow(batch: PendingRows, row: PendingRow): void {
  batch.rows.push(row);
  batch.byTime?.set(row.timestamp, row);
  if (row.timestamp > batch.newestAt) batch.newestAt = row.timestamp;
  else batch.isInOrder = false;
}

function rowsInOrder({ rows, isInOrder }: PendingRows): readonly PendingRow[] {
  return isInOrder ? rows : rows.toSorted((a, b) => a.timestamp - b.timestamp);
}

/**
 * Stores readings that come in log order; the tables then say what the set of all readings so far says. They are gone
 * through as they came, not by device, for that is how they lie in memory.
 */
export async function recordReadings(
  facts: readonly DecodedReading[],
  cache: TelemetryCache,
  tables: TelemetryTables,
): Promise<void> {
  const batchOf = await open(facts, cache, tables);
  const changes = ledgerChanges();
  let applied = 0;
  for (const fact of facts) {
    const { deviceId } = fact.event.data;
    const outcome = applyReading(fact, batchOf.get(deviceId) as DeviceBatch);
    if (outcome === undefined) break;
    changes.of(deviceId, fact.logged.receivedAt)[outcome] += 1;
    applied += 1;
  }
  const batches = [...batchOf.values()];
  for (const batch of batches) flushPoints(batch);
  await write(batches, tables);
  for (const { device, corrected } of batches)
    for (const [minute, metrics] of corrected) {
      await rebuildRollups(device.deviceId, minute, minute + 1, metrics, tables);
      // They are to be read again when they are needed.
      for (const level of rollupLevels) device.buckets[level].delete(bucketOf(level, minute));
    }
  await countLedger(changes, tables);
  if (applied < facts.length) await recordReadings(facts.slice(applied), cache, tables);
}

/** Loads the batch's devices, ordered by id, and only the rows the cache cannot rule out. */
async function open(
  facts: readonly DecodedReading[],
  cache: TelemetryCache,
  tables: TelemetryTables,
): Promise<ReadonlyMap<string, DeviceBatch>> {
  const deviceIds = new Set<string>();
  for (const { event } of facts) deviceIds.add(event.data.deviceId);
  const batches = new Map<string, DeviceBatch>();
  for (const [deviceId, device] of await cache.load([...deviceIds].sort(), tables))
    batches.set(deviceId, newDeviceBatch(device));
  for (const { event } of facts) {
    const { deviceId, timestamp } = event.data;
    collectLookups(timestamp, batches.get(deviceId) as DeviceBatch);
  }

  const readings: ReadingKey[] = [];
  for (const [deviceId, { timesToLookUp }] of batches)
    for (const timestamp of timesToLookUp) readings.push({ deviceId, timestamp });
  for (const row of await tables.readings(readings)) {
    const batch = batches.get(row.deviceId);
    if (batch) addRow(batch.rows, { ...row, state: 'stored' });
  }
  const rollups = [...batches.values()].flatMap(({ bucketsToLookUp }) => bucketsToLookUp);
  for (const { deviceId, level, bucket, metrics } of await tables.rollups(rollups))
    batches.get(deviceId)?.device.buckets[level].set(bucket, new Map(metrics));
  return batches;
}

/** Rows in the order the tables keep them, which is the order they are cheapest to write in. */
async function write(batches: readonly DeviceBatch[], tables: TelemetryTables): Promise<void> {
  const inserted: ReadingRow[] = [];
  const replaced: ReadingRow[] = [];
  for (const { rows } of batches)
    for (const row of rowsInOrder(rows))
      if (row.state === 'new') inserted.push(row);
      else if (row.state === 'changed') replaced.push(row);
  await tables.write({
    expired: batches.flatMap(({ expired }) => expired),
    inserted,
    replaced,
    latest: batches.map(({ device: { deviceId, lastAt, latest } }) => ({
      deviceId,
      timestamp: lastAt,
      metrics: latest,
    })),
    rollups: batches.flatMap(({ rollups }) => [...rollups.values()]),
  });
}
