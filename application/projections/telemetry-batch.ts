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

/** One device in a batch under way: what to look up, the rows in hand and the buckets that change. */
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
  /** Minutes in which a value was replaced, and of which metrics: their rollups cannot be told by adding. */
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

/** Notes what the tables may know of a reading of that time, and puts its buckets in the cache. */
function collectLookups(timestamp: number, hand: DeviceBatch): void {
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
function applyReading(
  { logged, event, retention: kept }: DecodedReading,
  hand: DeviceBatch,
): keyof LedgerCounts {
  const { deviceId, timestamp, metrics } = event.data;
  const { device, rows } = hand;
  const found = rowAt(rows, timestamp);
  const held = found && isExpired(found, logged.receivedAt, kept) ? undefined : found;
  if (!held) {
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
      hand.expired.push({
        deviceId,
        timestamp,
        receivedAt: found.receivedAt,
        isStored: found.state !== 'new',
      });
      Object.assign(found, row);
    } else addRow(rows, row);
    if (timestamp > device.lastAt) device.lastAt = timestamp;
    const tallies = pointsOfMinute(hand, timestamp);
    for (const name in metrics) add(tallies, name, metrics[name] as MetricValue, timestamp);
    return 'stored';
  }

  let changed = false;
  const merged: Record<string, Metrics[string]> = { ...held.metrics };
  for (const name in metrics) {
    const value = metrics[name] as MetricValue;
    if (!Object.hasOwn(merged, name)) add(pointsOfMinute(hand, timestamp), name, value, timestamp);
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
  const tallies = new Map<string, MutableStats>();
  added.set(minute, tallies);
  return tallies;
}

function add(tallies: Map<string, MutableStats>, name: string, value: MetricValue, timestamp: number): void {
  const tally = tallies.get(name);
  if (tally) addTo(tally, value, timestamp);
  else tallies.set(name, newStats(value, timestamp));
}

function correct(hand: DeviceBatch, name: string, value: MetricValue, timestamp: number): void {
  // What was added before must not take the place of the correction.
  flushPoints(hand);
  updateLatest(hand.device, name, value, timestamp);
  const minute = bucketOf('1m', timestamp);
  const metrics = hand.corrected.get(minute);
  if (metrics) metrics.add(name);
  else hand.corrected.set(minute, new Set([name]));
}

function updateLatest(device: CachedDevice, name: string, value: MetricValue, timestamp: number): void {
  const newest = device.latest.get(name);
  if (!newest || timestamp >= newest[1]) device.latest.set(name, [value, timestamp]);
}

/** A row of one device in a batch under way: as the tables have it, to be replaced there, or to be added. */
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

function rowAt(hand: PendingRows, timestamp: number): PendingRow | undefined {
  if (timestamp > hand.newestAt) return undefined;
  hand.byTime ??= new Map(hand.rows.map((row) => [row.timestamp, row]));
  return hand.byTime.get(timestamp);
}

/** Adds a row of a time that none has. */
function addRow(hand: PendingRows, row: PendingRow): void {
  hand.rows.push(row);
  hand.byTime?.set(row.timestamp, row);
  if (row.timestamp > hand.newestAt) hand.newestAt = row.timestamp;
  else hand.isInOrder = false;
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
  const handOf = await open(facts, cache, tables);
  const changes = ledgerChanges();
  for (const fact of facts) {
    const { deviceId } = fact.event.data;
    const hand = handOf.get(deviceId) as DeviceBatch;
    changes.of(deviceId, fact.logged.receivedAt)[applyReading(fact, hand)] += 1;
  }
  const hands = [...handOf.values()];
  for (const hand of hands) flushPoints(hand);
  await write(hands, tables);
  for (const { device, corrected } of hands)
    for (const [minute, metrics] of corrected) {
      await rebuildRollups(device.deviceId, minute, minute + 1, metrics, tables);
      // They are to be read again when they are needed.
      for (const level of rollupLevels) device.buckets[level].delete(bucketOf(level, minute));
    }
  await countLedger(changes, cache, tables);
}

/** Takes the devices of the batch into hand, in the order of their ids, asking only for what cannot be known. */
async function open(
  facts: readonly DecodedReading[],
  cache: TelemetryCache,
  tables: TelemetryTables,
): Promise<ReadonlyMap<string, DeviceBatch>> {
  const deviceIds = new Set<string>();
  for (const { event } of facts) deviceIds.add(event.data.deviceId);
  const hands = new Map<string, DeviceBatch>();
  for (const [deviceId, device] of await cache.load([...deviceIds].sort(), tables))
    hands.set(deviceId, newDeviceBatch(device));
  for (const { event } of facts) {
    const { deviceId, timestamp } = event.data;
    collectLookups(timestamp, hands.get(deviceId) as DeviceBatch);
  }

  const readings: ReadingKey[] = [];
  for (const [deviceId, { timesToLookUp }] of hands)
    for (const timestamp of timesToLookUp) readings.push({ deviceId, timestamp });
  for (const row of await tables.readings(readings)) {
    const hand = hands.get(row.deviceId);
    if (hand) addRow(hand.rows, { ...row, state: 'stored' });
  }
  const rollups = [...hands.values()].flatMap(({ bucketsToLookUp }) => bucketsToLookUp);
  for (const { deviceId, level, bucket, metrics } of await tables.rollups(rollups))
    hands.get(deviceId)?.device.buckets[level].set(bucket, new Map(metrics));
  return hands;
}

/** Rows in the order the tables keep them, which is the order they are cheapest to write in. */
async function write(hands: readonly DeviceBatch[], tables: TelemetryTables): Promise<void> {
  const inserted: ReadingRow[] = [];
  const replaced: ReadingRow[] = [];
  for (const { rows } of hands)
    for (const row of rowsInOrder(rows))
      if (row.state === 'new') inserted.push(row);
      else if (row.state === 'changed') replaced.push(row);
  await tables.write({
    expired: hands.flatMap(({ expired }) => expired),
    inserted,
    replaced,
    latest: hands.map(({ device: { deviceId, lastAt, latest } }) => ({
      deviceId,
      timestamp: lastAt,
      metrics: latest,
    })),
    rollups: hands.flatMap(({ rollups }) => [...rollups.values()]),
  });
}
