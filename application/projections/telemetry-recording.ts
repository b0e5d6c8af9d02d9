import { bucketOf, rollupLevels } from '../../domain/telemetry/rollup.ts';
import type {
  LedgerCounts,
  LedgerKey,
  LedgerRow,
  ReadingKey,
  ReadingRow,
  RollupKey,
  TelemetryTables,
} from '../ports/read-models.ts';
import type { CachedDevice, TelemetryCache } from './telemetry-cache.ts';
import {
  bucketsToLookUp,
  type DeviceInHand,
  inHand,
  place,
  type ReadingFact,
  settle,
  timesToLookUp,
} from './telemetry-in-hand.ts';
import { rebuildRollups } from './telemetry-rollups.ts';

/** What became of one reading, or is no longer so when `by` is -1. */
type Fate = {
  readonly deviceId: string;
  readonly receivedAt: number;
  readonly as: keyof LedgerCounts;
  readonly by?: 1 | -1;
};

/** Stores readings that come in log order; the tables then say what the set of all readings so far says. */
export async function recordReadings(
  facts: readonly ReadingFact[],
  cache: TelemetryCache,
  tables: TelemetryTables,
): Promise<void> {
  const hands = await open(facts, cache, tables);
  const fates: Fate[] = [];
  for (const hand of hands) {
    const { deviceId } = hand.device;
    for (const fact of hand.facts)
      fates.push({ deviceId, receivedAt: fact.logged.receivedAt, as: place(fact, hand) });
    settle(hand);
  }
  await write(hands, tables);
  for (const { device, corrected } of hands)
    for (const minute of corrected) {
      await rebuildRollups(device.deviceId, minute, minute + 1, tables);
      // They are to be read again when they are needed.
      for (const level of rollupLevels) device.buckets[level].delete(bucketOf(level, minute));
    }
  await countLedger(fates, cache, tables);
}

/** Takes the devices of the batch into hand, in the order of their ids, asking only for what cannot be known. */
async function open(
  facts: readonly ReadingFact[],
  cache: TelemetryCache,
  tables: TelemetryTables,
): Promise<readonly DeviceInHand[]> {
  const factsOf = new Map<string, ReadingFact[]>();
  for (const fact of facts) {
    const known = factsOf.get(fact.reading.deviceId);
    if (known) known.push(fact);
    else factsOf.set(fact.reading.deviceId, [fact]);
  }
  const devices = await loadDevices([...factsOf.keys()].sort(), cache, tables);
  const hands = new Map<string, DeviceInHand>();
  const readings: ReadingKey[] = [];
  const rollups: RollupKey[] = [];
  for (const [deviceId, device] of devices) {
    const hand = inHand(device, factsOf.get(deviceId) ?? []);
    hands.set(deviceId, hand);
    for (const timestamp of timesToLookUp(hand)) readings.push({ deviceId, timestamp });
    for (const key of bucketsToLookUp(hand)) rollups.push(key);
  }

  for (const row of await tables.readings(readings))
    hands.get(row.deviceId)?.rows.set(row.timestamp, { row, isNew: false, changed: false });
  for (const { deviceId, level, bucket, metrics } of await tables.rollups(rollups))
    devices.get(deviceId)?.buckets[level].set(bucket, new Map(metrics));
  return [...hands.values()];
}

async function loadDevices(
  deviceIds: readonly string[],
  cache: TelemetryCache,
  tables: TelemetryTables,
): Promise<Map<string, CachedDevice>> {
  const missing = deviceIds.filter((id) => !cache.get(id));
  const rows = new Map((await tables.latest(missing)).map((row) => [row.deviceId, row]));
  for (const id of missing) cache.add(id, rows.get(id));
  return new Map(deviceIds.map((id) => [id, cache.get(id) as CachedDevice]));
}

/** Rows in the order the tables keep them, which is the order they are cheapest to write in. */
async function write(hands: readonly DeviceInHand[], tables: TelemetryTables): Promise<void> {
  const inserted: ReadingRow[] = [];
  const replaced: ReadingRow[] = [];
  for (const { rows } of hands)
    for (const { row, isNew, changed } of [...rows.values()].sort(
      (a, b) => a.row.timestamp - b.row.timestamp,
    ))
      if (isNew) inserted.push(row);
      else if (changed) replaced.push(row);
  await tables.write({
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

/** Counts what became of readings, by device and day of arrival. */
export async function countLedger(
  fates: readonly Fate[],
  cache: TelemetryCache,
  tables: TelemetryTables,
): Promise<void> {
  const changes = changesOf(fates);
  const devices = await loadDevices([...changes.keys()], cache, tables);
  const unknown: LedgerKey[] = [];
  for (const [deviceId, days] of changes)
    for (const day of days.keys())
      if (!devices.get(deviceId)?.ledger.has(day)) unknown.push({ deviceId, day });
  for (const { deviceId, day, ...counts } of await tables.ledger(unknown))
    devices.get(deviceId)?.ledger.set(day, counts);

  const rows: LedgerRow[] = [];
  for (const [deviceId, days] of changes) {
    const { ledger } = devices.get(deviceId) as CachedDevice;
    for (const [day, change] of days) {
      const before = ledger.get(day) ?? nothingYet;
      const after = {
        stored: before.stored + change.stored,
        duplicate: before.duplicate + change.duplicate,
        corrected: before.corrected + change.corrected,
        deadLettered: before.deadLettered + change.deadLettered,
        retracted: before.retracted + change.retracted,
      };
      ledger.set(day, after);
      rows.push({ deviceId, day, ...after });
    }
  }
  await tables.write({ ledger: rows });
}

type Counts = { -readonly [Key in keyof LedgerCounts]: number };

const nothingYet: LedgerCounts = { stored: 0, duplicate: 0, corrected: 0, deadLettered: 0, retracted: 0 };

/** By device and day. */
function changesOf(fates: readonly Fate[]): ReadonlyMap<string, ReadonlyMap<number, LedgerCounts>> {
  const changes = new Map<string, Map<number, Counts>>();
  for (const { deviceId, receivedAt, as, by = 1 } of fates) {
    const days = changes.get(deviceId) ?? new Map<number, Counts>();
    changes.set(deviceId, days);
    const day = bucketOf('1d', receivedAt);
    const counts = days.get(day) ?? { ...nothingYet };
    days.set(day, counts);
    counts[as] += by;
  }
  return changes;
}
