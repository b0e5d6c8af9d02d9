import { median } from './statistics.ts';
import type { HeldMemory, Usage } from './usage.ts';

/** What a figure must reach: a ratio to what it was measured against, or a bound in its own unit. */
export type Target =
  | { readonly ratioAtLeast: number }
  | { readonly ratioAtMost: number }
  | { readonly atMost: number }
  | { readonly atLeast: number };

/** One line of the table. The values are of one run, taken in turn with those they are set against. */
export type Row = {
  readonly figure: string;
  readonly unit: string;
  readonly values: readonly number[];
  /** What it is set against, of the same unit. */
  readonly against?: { readonly what: string; readonly values: readonly number[] } | undefined;
  readonly target: Target;
  /** Of the last round. */
  readonly usage: readonly Usage[];
};

/** A figure that cannot be taken here, and why. */
export type Pending = { readonly figure: string; readonly pending: string };

/** That a process holds about as much in the second half of its work as in the first. */
export const memoryRow = (figure: string, held: readonly HeldMemory[]): Row => ({
  figure,
  unit: 'MiB',
  values: held.map(({ secondHalf }) => secondHalf),
  against: { what: 'first half', values: held.map(({ firstHalf }) => firstHalf) },
  target: { ratioAtMost: 1.2 },
  usage: [],
});

/** Round by round, so that what slows the machine for a while slows both sides of a ratio. */
export const ratios = ({ values, against }: Row): readonly number[] =>
  values.map((value, i) => value / (against?.values[i] ?? Number.NaN));

export function passes(row: Row): boolean {
  const { target } = row;
  if ('atMost' in target) return median(row.values) <= target.atMost;
  if ('atLeast' in target) return median(row.values) >= target.atLeast;
  const ratio = median(ratios(row));
  return 'ratioAtLeast' in target ? ratio >= target.ratioAtLeast : ratio <= target.ratioAtMost;
}
