import { addExactly, type ExactSum, mergeExactly, zero } from './exact-sum.ts';
import type { MetricValue } from './telemetry.ts';

export type RollupLevel = '1m' | '1h' | '1d';

/** Finest first. Buckets start at whole multiples of the width since 1970-01-01T00:00:00Z. */
export const rollupLevels = ['1m', '1h', '1d'] as const satisfies readonly RollupLevel[];

/** Width of a bucket in milliseconds. */
export const rollupWidth = { '1m': 60_000, '1h': 3_600_000, '1d': 86_400_000 } as const satisfies Record<
  RollupLevel,
  number
>;

export const bucketOf = (level: RollupLevel, timestamp: number): number =>
  Math.floor(timestamp / rollupWidth[level]) * rollupWidth[level];

/**
 * What one metric did within one bucket: a function of the set of its points, whatever order they came in.
 * `sum`, `min` and `max` speak of the numbers among the values; the others of all of them.
 */
export type RollupStats = {
  readonly count: number;
  readonly numbers: number;
  readonly sum: ExactSum;
  readonly min: number | null;
  readonly max: number | null;
  readonly first: MetricValue;
  readonly firstAt: number;
  readonly last: MetricValue;
  readonly lastAt: number;
};

/** Stats still being gathered: a point that joins them makes no new object. */
export type MutableStats = { -readonly [Key in keyof RollupStats]: RollupStats[Key] };

export function newStats(value: MetricValue, timestamp: number): MutableStats {
  const number = typeof value === 'number' ? value : null;
  return {
    count: 1,
    numbers: number === null ? 0 : 1,
    sum: number === null ? zero : [number],
    min: number,
    max: number,
    first: value,
    firstAt: timestamp,
    last: value,
    lastAt: timestamp,
  };
}

export function addTo(tally: MutableStats, value: MetricValue, timestamp: number): void {
  tally.count += 1;
  if (typeof value === 'number') {
    tally.numbers += 1;
    tally.sum = addExactly(tally.sum, value);
    tally.min = lesser(tally.min, value);
    tally.max = greater(tally.max, value);
  }
  if (timestamp < tally.firstAt) {
    tally.first = value;
    tally.firstAt = timestamp;
  }
  if (timestamp > tally.lastAt) {
    tally.last = value;
    tally.lastAt = timestamp;
  }
}

export function addPoint(stats: RollupStats | undefined, value: MetricValue, timestamp: number): RollupStats {
  if (stats === undefined) return newStats(value, timestamp);
  const tally = { ...stats };
  addTo(tally, value, timestamp);
  return tally;
}

/** The stats of two sets of points that have none in common. */
export function mergeStats(a: RollupStats | undefined, b: RollupStats): RollupStats {
  if (a === undefined) return b;
  const early = a.firstAt <= b.firstAt ? a : b;
  const late = a.lastAt >= b.lastAt ? a : b;
  return {
    count: a.count + b.count,
    numbers: a.numbers + b.numbers,
    sum: mergeExactly(a.sum, b.sum),
    min: b.min === null ? a.min : lesser(a.min, b.min),
    max: b.max === null ? a.max : greater(a.max, b.max),
    first: early.first,
    firstAt: early.firstAt,
    last: late.last,
    lastAt: late.lastAt,
  };
}

const lesser = (a: number | null, b: number): number => (a === null || b < a ? b : a);
const greater = (a: number | null, b: number): number => (a === null || b > a ? b : a);

/** What may be asked of a bucket. */
export const aggregates = ['avg', 'min', 'max', 'sum', 'count', 'first', 'last'] as const;
export type Aggregate = (typeof aggregates)[number];
export const usualAggregates = ['avg', 'min', 'max', 'sum', 'count'] as const satisfies readonly Aggregate[];

/** `null` where there is no number among the values. */
export const aggregateOf: Readonly<Record<Aggregate, (stats: RollupStats) => MetricValue | null>> = {
  avg: (stats) => (stats.numbers === 0 ? null : sumOf(stats) / stats.numbers),
  min: ({ min }) => min,
  max: ({ max }) => max,
  sum: (stats) => (stats.numbers === 0 ? null : sumOf(stats)),
  count: ({ count }) => count,
  first: ({ first }) => first,
  last: ({ last }) => last,
};

/** The first part of an exact sum is the sum as a double. */
const sumOf = ({ sum }: RollupStats): number => sum[0] ?? 0;
