import { addExactly, type ExactSum, mergeExactly, zero } from './exact-sum.ts';
import type { MetricValue } from './reading.ts';

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

export function addPoint(stats: RollupStats | undefined, value: MetricValue, timestamp: number): RollupStats {
  const number = typeof value === 'number' ? value : null;
  if (stats === undefined)
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
  const earlier = timestamp < stats.firstAt;
  const later = timestamp > stats.lastAt;
  return {
    count: stats.count + 1,
    numbers: number === null ? stats.numbers : stats.numbers + 1,
    sum: number === null ? stats.sum : addExactly(stats.sum, number),
    min: number === null ? stats.min : lesser(stats.min, number),
    max: number === null ? stats.max : greater(stats.max, number),
    first: earlier ? value : stats.first,
    firstAt: earlier ? timestamp : stats.firstAt,
    last: later ? value : stats.last,
    lastAt: later ? timestamp : stats.lastAt,
  };
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
