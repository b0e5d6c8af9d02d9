import assert from 'node:assert/strict';
import fc from 'fast-check';
import { addPoint, addTo, bucketOf, mergeStats, newStats, type RollupStats } from '../../domain/rollup.ts';
import type { MetricValue } from '../../domain/telemetry.ts';

type Point = readonly [value: MetricValue, timestamp: number];

const statsOf = (points: readonly Point[]): RollupStats | undefined =>
  points.reduce<RollupStats | undefined>((stats, [value, at]) => addPoint(stats, value, at), undefined);

/** Values of exact binary fractions, at times that differ, in any order. */
const points = fc
  .uniqueArray(
    fc.tuple(
      fc.oneof<fc.Arbitrary<MetricValue>[]>(
        fc.integer({ min: -80, max: 80 }).map((eighths) => eighths / 8),
        fc.boolean(),
        fc.constantFrom('on', 'off'),
      ),
      fc.integer({ min: -1000, max: 1000 }),
    ),
    { selector: ([, at]) => at, minLength: 1, maxLength: 20 },
  )
  .map((some): readonly Point[] => some);

describe('Rollups', () => {
  it('begin at whole multiples of their width, before 1970 too', () => {
    const at = Date.parse('2026-03-01T12:34:56.789Z');
    assert.equal(bucketOf('1m', at), Date.parse('2026-03-01T12:34:00Z'));
    assert.equal(bucketOf('1h', at), Date.parse('2026-03-01T12:00:00Z'));
    assert.equal(bucketOf('1d', at), Date.parse('2026-03-01T00:00:00Z'));
    assert.equal(bucketOf('1d', -1), -86_400_000);
    assert.equal(bucketOf('1m', 60_000), 60_000);
    assert.equal(bucketOf('1m', 59_999), 0);
  });

  it('say of one point all there is to say', () => {
    assert.deepEqual(newStats(2.5, 7), {
      count: 1,
      numbers: 1,
      sum: [2.5],
      min: 2.5,
      max: 2.5,
      first: 2.5,
      firstAt: 7,
      last: 2.5,
      lastAt: 7,
    });
    assert.deepEqual(newStats('on', 7), {
      count: 1,
      numbers: 0,
      sum: [0],
      min: null,
      max: null,
      first: 'on',
      firstAt: 7,
      last: 'on',
      lastAt: 7,
    });
  });

  it('say of points what follows from them all, in whatever order they come', () => {
    fc.assert(
      fc.property(points, (some) => {
        const numbers = some.map(([value]) => value).filter((value) => typeof value === 'number');
        const byTime = some.toSorted(([, a], [, b]) => a - b);
        const [first, firstAt] = byTime[0] as Point;
        const [last, lastAt] = byTime.at(-1) as Point;
        const total = numbers.reduce((sum, value) => sum + value, 0);
        assert.deepEqual(statsOf(some), {
          count: some.length,
          numbers: numbers.length,
          sum: [total + 0],
          min: numbers.length === 0 ? null : Math.min(...numbers),
          max: numbers.length === 0 ? null : Math.max(...numbers),
          first,
          firstAt,
          last,
          lastAt,
        });
      }),
    );
  });

  it('of two parts are those of all', () => {
    fc.assert(
      fc.property(points, fc.nat(), (some, where) => {
        const cut = where % some.length;
        const rest = statsOf(some.slice(cut)) as RollupStats;
        assert.deepEqual(mergeStats(statsOf(some.slice(0, cut)), rest), statsOf(some));
      }),
    );
  });

  it('are gathered in place, or in a copy', () => {
    const before = newStats(1, 5);
    const copy = addPoint(before, 2, 6);
    assert.deepEqual(before, newStats(1, 5));
    addTo(before, 2, 6);
    assert.deepEqual(copy, before);
  });
});
