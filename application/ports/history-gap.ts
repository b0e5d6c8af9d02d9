import type { Position } from './position.ts';
import type { Generation, ReadingRow } from './read-models.ts';

/** The position up to which the events of a device are no longer in the log; `null` where all are. */
export type ExpiredUpTo = (deviceId: string) => Position | null;

/** Readings in the tables whose events the log no longer has. Every call throws `ReadModelsUnavailable`. */
export interface HistoryGap {
  /** How many there are and when the first of them arrived, epoch milliseconds. */
  count(
    of: Generation,
    expired: ExpiredUpTo,
  ): Promise<{ readonly readings: number; readonly from: number | null }>;

  /** The readings themselves, in chunks. */
  readings(of: Generation, expired: ExpiredUpTo): AsyncIterable<readonly ReadingRow[]>;
}
