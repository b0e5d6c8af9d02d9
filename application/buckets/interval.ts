const minute = 60_000;
const hour = 60 * minute;
export const day = 24 * hour;

/** The least time that one bucket of a unit lasts but for changes of the clocks, in milliseconds. */
const leastOf = { m: minute, h: hour, d: day, w: 7 * day, mo: 28 * day, y: 365 * day } as const;

/** `m` and `h` count time on the clock, the others whole days of the calendar. */
export type Interval = { readonly count: number; readonly unit: keyof typeof leastOf };

export class InvalidInterval extends Error {
  override readonly name = 'InvalidInterval';

  constructor(interval: string) {
    super(
      `interval must be a whole number of m, h, d, w, mo or y such as 15m, 6h, 1d, 1w, 3mo or 1y, where m and h divide a day and mo divides a year, not "${interval}"`,
    );
  }
}

/** Throws `InvalidInterval`. */
export function parseInterval(text: string): Interval {
  const [, count, unit] = /^([1-9]\d{0,3})(mo|[mhdwy])$/.exec(text) ?? [];
  if (count === undefined || unit === undefined) throw new InvalidInterval(text);
  const interval = { count: Number(count), unit: unit as Interval['unit'] };
  const divides =
    interval.unit === 'mo'
      ? 12 % interval.count === 0
      : !isOnClock(interval) || day % leastLength(interval) === 0;
  if (!divides) throw new InvalidInterval(text);
  return interval;
}

export const leastLength = ({ count, unit }: Interval): number => count * leastOf[unit];

export const isOnClock = ({ unit }: Interval): boolean => unit === 'm' || unit === 'h';
