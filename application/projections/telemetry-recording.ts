import { bucketOf, rollupLevels } from '../../domain/telemetry/rollup.ts';
import type { ReadingKey, ReadingRow, RollupKey, TelemetryTables } from '../ports/read-models.ts';
import type { TelemetryCache } from './telemetry-cache.ts';
import {
  bucketsToLookUp,
  type DeviceInHand,
  inHand,
  place,
  type ReadingFact,
  settle,
  timesToLookUp,
} from './telemetry-in-hand.ts';
import { countLedger, ledgerChanges } from './telemetry-ledger.ts';
import { rebuildRollups } from './telemetry-rollups.ts';
import { addRow, rowsInOrder } from './telemetry-rows.ts';

/** Stores readings that come in log order; the tables then say what the set of all readings so far says. */
export async function recordReadings(
  facts: readonly ReadingFact[],
  cache: TelemetryCache,
  tables: TelemetryTables,
): Promise<void> {
  const hands = await open(facts, cache, tables);
  const changes = ledgerChanges();
  for (const hand of hands) {
    const { deviceId } = hand.device;
    for (const fact of hand.facts) changes.of(deviceId, fact.logged.receivedAt)[place(fact, hand)] += 1;
    settle(hand);
  }
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
  facts: readonly ReadingFact[],
  cache: TelemetryCache,
  tables: TelemetryTables,
): Promise<readonly DeviceInHand[]> {
  const factsOf = new Map<string, ReadingFact[]>();
  for (const fact of facts) {
    const { deviceId } = fact.event.data;
    const known = factsOf.get(deviceId);
    if (known) known.push(fact);
    else factsOf.set(deviceId, [fact]);
  }
  const devices = await cache.load([...factsOf.keys()].sort(), tables);
  const hands = new Map<string, DeviceInHand>();
  const readings: ReadingKey[] = [];
  const rollups: RollupKey[] = [];
  for (const [deviceId, device] of devices) {
    const hand = inHand(device, factsOf.get(deviceId) ?? []);
    hands.set(deviceId, hand);
    for (const timestamp of timesToLookUp(hand)) readings.push({ deviceId, timestamp });
    for (const key of bucketsToLookUp(hand)) rollups.push(key);
  }

  for (const row of await tables.readings(readings)) {
    const hand = hands.get(row.deviceId);
    if (hand) addRow(hand.rows, { ...row, state: 'stored' });
  }
  for (const { deviceId, level, bucket, metrics } of await tables.rollups(rollups))
    devices.get(deviceId)?.buckets[level].set(bucket, new Map(metrics));
  return [...hands.values()];
}

/** Rows in the order the tables keep them, which is the order they are cheapest to write in. */
async function write(hands: readonly DeviceInHand[], tables: TelemetryTables): Promise<void> {
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
