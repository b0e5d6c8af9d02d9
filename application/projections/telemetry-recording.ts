import { bucketOf, rollupLevels } from '../../domain/rollup.ts';
import type { ReadingKey, ReadingRow, TelemetryTables } from '../ports/read-models.ts';
import type { TelemetryCache } from './telemetry-cache.ts';
import {
  anticipate,
  type DeviceInHand,
  inHand,
  place,
  type ReadingFact,
  settle,
} from './telemetry-in-hand.ts';
import { countLedger, ledgerChanges } from './telemetry-ledger.ts';
import { rebuildRollups } from './telemetry-rollups.ts';
import { addRow, rowsInOrder } from './telemetry-rows.ts';

/**
 * Stores readings that come in log order; the tables then say what the set of all readings so far says. They are gone
 * through as they came, not by device, for that is how they lie in memory.
 */
export async function recordReadings(
  facts: readonly ReadingFact[],
  cache: TelemetryCache,
  tables: TelemetryTables,
): Promise<void> {
  const handOf = await open(facts, cache, tables);
  const changes = ledgerChanges();
  for (const fact of facts) {
    const { deviceId } = fact.event.data;
    const hand = handOf.get(deviceId) as DeviceInHand;
    changes.of(deviceId, fact.logged.receivedAt)[place(fact, hand)] += 1;
  }
  const hands = [...handOf.values()];
  for (const hand of hands) settle(hand);
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
): Promise<ReadonlyMap<string, DeviceInHand>> {
  const deviceIds = new Set<string>();
  for (const { event } of facts) deviceIds.add(event.data.deviceId);
  const hands = new Map<string, DeviceInHand>();
  for (const [deviceId, device] of await cache.load([...deviceIds].sort(), tables))
    hands.set(deviceId, inHand(device));
  for (const { event } of facts) {
    const { deviceId, timestamp } = event.data;
    anticipate(timestamp, hands.get(deviceId) as DeviceInHand);
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
