import type { ExpiredUpTo, HistoryGap } from '../ports/history-gap.ts';
import type { Position } from '../ports/position.ts';
import { ReplayRefused } from '../ports/projection-control.ts';
import type { Generation, ReadingRow, ReadModels } from '../ports/read-models.ts';
import type { Rebuildable } from './rebuildable.ts';

/** The log no longer reaches back to the first event: what is built from it would hold less than the live tables. */
export class HistoryExpired extends ReplayRefused {
  override readonly name = 'HistoryExpired';
  /** Readings that would be lost. */
  readonly readings: number;
  /** When the first of them arrived, epoch milliseconds. */
  readonly from: number | null;

  constructor(projection: string, readings: number, from: number | null) {
    const since = from === null ? '' : `, the first of which arrived at ${new Date(from).toISOString()}`;
    super(
      `The log no longer has the first events of ${projection}: ${readings} readings${since}, would be lost. ` +
        'To carry them over from the live generation, ask to keep what is older',
    );
    this.readings = readings;
    this.from = from;
  }
}

/** Which events the log has lost, `undefined` when it has all. */
export async function expiredHistory(what: Rebuildable): Promise<ExpiredUpTo | undefined> {
  const expired: ReadonlyMap<number, Position | null> = await what.expired();
  if ([...expired.values()].every((position) => position === null)) return undefined;
  const partitionOf = await what.partitioner();
  return (deviceId) => expired.get(partitionOf(deviceId)) ?? null;
}

export async function refuseLoss(
  what: Rebuildable,
  live: Generation,
  expired: ExpiredUpTo,
  gap: HistoryGap,
): Promise<void> {
  if (!what.carry) throw new HistoryExpired(what.name, 0, null);
  const { readings, from } = await gap.count(live, expired);
  if (readings > 0) throw new HistoryExpired(what.name, readings, from);
}

/**
 * Puts the live generation's readings that the log no longer has into a new one, before anything of the log. Only
 * the readings: which duplicates and corrections there once were, the log alone could tell.
 */
export async function carryOver(
  what: Rebuildable,
  live: Generation,
  next: Generation,
  expired: ExpiredUpTo,
  gap: HistoryGap,
  readModels: ReadModels,
): Promise<number> {
  const { carry } = what;
  if (!carry) return 0;
  const partitionOf = await what.partitioner();
  let carried = 0;
  for await (const rows of gap.readings(live, expired))
    for (const [partition, some] of Map.groupBy(rows, ({ deviceId }) => partitionOf(deviceId)))
      await readModels.transact(next, partition, async (tables, { position }) => {
        // Some may be there from a run that was killed; once the log is being read, all are.
        if (position !== null) return position;
        const there = new Set((await tables.telemetry.readings(some)).map(keyOf));
        const missing = some.filter((row) => !there.has(keyOf(row)));
        await carry(missing, tables);
        carried += missing.length;
        return null;
      });
  return carried;
}

const keyOf = ({ deviceId, timestamp }: Pick<ReadingRow, 'deviceId' | 'timestamp'>): string =>
  `${timestamp} ${deviceId}`;
