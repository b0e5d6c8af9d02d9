import { bucketOf } from '../../domain/rollup.ts';
import type { LedgerCounts, LedgerKey, LedgerRow, TelemetryTables } from '../ports/read-models.ts';
import type { CachedDevice, TelemetryCache } from './telemetry-cache.ts';

type Counts = { -readonly [Key in keyof LedgerCounts]: number };

/** What became of readings, by device and UTC day of arrival. */
export type LedgerChanges = {
  /** The counts to add to or, where something is no longer so, to take from. */
  of(deviceId: string, receivedAt: number): Counts;
  readonly byDevice: ReadonlyMap<string, ReadonlyMap<number, LedgerCounts>>;
};

export const noLedgerCounts: LedgerCounts = {
  stored: 0,
  duplicate: 0,
  corrected: 0,
  deadLettered: 0,
  late: 0,
  retracted: 0,
};

export function ledgerChanges(): LedgerChanges {
  const byDevice = new Map<string, Map<number, Counts>>();
  return {
    byDevice,
    of(deviceId, receivedAt) {
      const days = byDevice.get(deviceId) ?? new Map<number, Counts>();
      if (days.size === 0) byDevice.set(deviceId, days);
      const day = bucketOf('1d', receivedAt);
      const counts = days.get(day);
      if (counts) return counts;
      const none = { ...noLedgerCounts };
      days.set(day, none);
      return none;
    },
  };
}

/** Brings the changes into the ledger's rows. */
export async function countLedger(
  { byDevice }: LedgerChanges,
  cache: TelemetryCache,
  tables: TelemetryTables,
): Promise<void> {
  const devices = await cache.load([...byDevice.keys()], tables);
  const unknown: LedgerKey[] = [];
  for (const [deviceId, days] of byDevice)
    for (const day of days.keys())
      if (!devices.get(deviceId)?.ledger.has(day)) unknown.push({ deviceId, day });
  for (const { deviceId, day, ...counts } of await tables.ledger(unknown))
    devices.get(deviceId)?.ledger.set(day, counts);

  const rows: LedgerRow[] = [];
  for (const [deviceId, days] of byDevice) {
    const { ledger } = devices.get(deviceId) as CachedDevice;
    for (const [day, change] of days) {
      const before = ledger.get(day) ?? noLedgerCounts;
      const after = {
        stored: before.stored + change.stored,
        duplicate: before.duplicate + change.duplicate,
        corrected: before.corrected + change.corrected,
        deadLettered: before.deadLettered + change.deadLettered,
        late: before.late + change.late,
        retracted: before.retracted + change.retracted,
      };
      ledger.set(day, after);
      rows.push({ deviceId, day, ...after });
    }
  }
  await tables.write({ ledger: rows });
}
