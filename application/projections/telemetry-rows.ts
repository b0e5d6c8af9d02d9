import type { ReadingRow } from '../ports/read-models.ts';

/** A row of one device in a batch under way: as the tables have it, to be replaced there, or to be added. */
export type RowInHand = { -readonly [Key in keyof ReadingRow]: ReadingRow[Key] } & {
  state: 'stored' | 'changed' | 'new';
};

/** One device's rows. Nearly all readings are newer than those before them: only others are looked up by time. */
export type RowsInHand = {
  readonly rows: RowInHand[];
  newestAt: number;
  isInOrder: boolean;
  byTime: Map<number, RowInHand> | undefined;
};

export const rowsInHand = (): RowsInHand => ({
  rows: [],
  newestAt: Number.NEGATIVE_INFINITY,
  isInOrder: true,
  byTime: undefined,
});

export function rowAt(hand: RowsInHand, timestamp: number): RowInHand | undefined {
  if (timestamp > hand.newestAt) return undefined;
  hand.byTime ??= new Map(hand.rows.map((row) => [row.timestamp, row]));
  return hand.byTime.get(timestamp);
}

/** Adds a row of a time that none has. */
export function addRow(hand: RowsInHand, row: RowInHand): void {
  hand.rows.push(row);
  hand.byTime?.set(row.timestamp, row);
  if (row.timestamp > hand.newestAt) hand.newestAt = row.timestamp;
  else hand.isInOrder = false;
}

export function rowsInOrder({ rows, isInOrder }: RowsInHand): readonly RowInHand[] {
  return isInOrder ? rows : rows.toSorted((a, b) => a.timestamp - b.timestamp);
}
