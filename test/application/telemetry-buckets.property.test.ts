import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DateTime } from 'luxon';
import type { Point } from '../../application/ports/queries.ts';
import { bucketCalendar, parseInterval } from '../../application/telemetry/bucket-calendar.ts';
import { type Bucket, type BucketQuery, telemetryBuckets } from '../../application/telemetry/buckets.ts';
import { addPoint, type RollupStats } from '../../domain/rollup.ts';
import { luxonCalendar } from '../../infrastructure/luxon-calendar.ts';
import { collected } from '../support/collected.ts';
import { inMemoryTelemetry } from '../support/in-memory-telemetry.ts';

const hour = 3_600_000;
const day = 24 * hour;

/** Time zones with moments at which their clocks were put back or forward, by up to a day, or would have been. */
const zones: Readonly<Record<string, readonly string[]>> = {
  'Africa/Casablanca': ['2024-03-10T02:00Z', '2024-04-14T02:00Z'],
  'Africa/Monrovia': ['1919-03-01T00:43:08Z', '1972-01-07T00:44:30Z'],
  'America/Juneau': ['1867-10-19T00:31:13Z', '1983-10-30T09:00Z'],
  'America/New_York': ['1883-11-18T17:00Z', '1942-02-09T07:00Z', '2024-03-10T07:00Z', '2024-11-03T06:00Z'],
  'America/Sao_Paulo': ['2018-02-18T02:00Z', '2018-11-04T03:00Z'],
  // Back from one minute past midnight, so that some days were shown again after they had ended.
  'America/St_Johns': ['1988-10-30T01:31Z', '2005-04-03T03:31Z', '2005-10-30T02:31Z'],
  'Asia/Kolkata': ['1941-09-30T18:06:40Z', '1942-05-14T17:30Z', '2024-01-01T18:30Z'],
  'Asia/Manila': ['1844-12-31T15:56:08Z', '1899-09-06T04:00Z'],
  'Australia/Lord_Howe': ['1981-02-28T14:00Z', '2024-04-06T15:00Z', '2024-10-05T15:30Z'],
  'Europe/Berlin': ['1893-03-31T23:06:32Z', '1945-05-24T00:00Z', '2024-03-31T01:00Z', '2024-10-27T01:00Z'],
  'Pacific/Apia': ['1892-07-04T11:26:56Z', '2011-12-30T10:00Z', '2012-03-31T14:00Z'],
  'Pacific/Kwajalein': ['1969-09-30T13:00Z', '1993-08-21T12:00Z'],
  UTC: ['1970-01-01T00:00Z', '2024-02-29T00:00Z'],
};

const intervals = [
  { interval: '1m', reach: hour },
  { interval: '15m', reach: 6 * hour },
  { interval: '30m', reach: 12 * hour },
  { interval: '1h', reach: day },
  { interval: '2h', reach: 2 * day },
  { interval: '6h', reach: 4 * day },
  { interval: '12h', reach: 4 * day },
  { interval: '24h', reach: 8 * day },
  { interval: '1d', reach: 8 * day },
  { interval: '3d', reach: 30 * day },
  { interval: '1w', reach: 60 * day },
  { interval: '2w', reach: 90 * day },
  { interval: '1mo', reach: 300 * day },
  { interval: '3mo', reach: 1000 * day },
  { interval: '1y', reach: 2000 * day },
  { interval: '10y', reach: 20_000 * day },
] as const;

const widths: Readonly<Record<string, number>> = { m: hour / 60, h: hour };

/** Whether two points lie in one bucket, computed with Luxon from the points themselves and from changes close to them. */
function inOneBucket(earlier: number, later: number, { interval, tz }: BucketQuery): boolean {
  const [, digits = '', unit = ''] = /^(\d+)(\w+)$/.exec(interval) ?? [];
  const count = Number(digits);
  const width = widths[unit];
  if (width === undefined) return furthest(earlier) === furthest(later);
  if (shown(earlier) !== shown(later)) return false;
  const back = putBack(earlier, later, tz);
  return !back || (back.by < count * width && shown(back.at - 1) === shown(back.at));

  function shown(instant: number): number {
    const local = DateTime.fromMillis(instant, { zone: tz });
    const dayNumber = Date.UTC(local.year, local.month - 1, local.day) / day;
    if (width !== undefined) {
      const time = ((local.hour * 60 + local.minute) * 60 + local.second) * 1000;
      return Math.floor((dayNumber * day + time) / (count * width));
    }
    if (unit === 'd') return Math.floor(dayNumber / count);
    if (unit === 'w') return Math.floor((dayNumber - local.weekday + 1 + 3) / 7 / count);
    if (unit === 'mo') return Math.floor((local.year * 12 + local.month - 1) / count);
    return Math.floor(local.year / count);
  }

  /** What the calendar had shown by then: clocks put back over midnight do not take it back. */
  function furthest(instant: number): number {
    const back = putBack(instant - 2 * day, instant, tz);
    return back ? Math.max(shown(instant), shown(back.at - 1)) : shown(instant);
  }
}

/** When and by how much clocks were put back between two instants at most two days apart. */
function putBack(from: number, to: number, tz: string): { at: number; by: number } | undefined {
  const offsetAt = (instant: number) => DateTime.fromMillis(instant, { zone: tz }).offset * 60_000;
  const offset = offsetAt(from);
  const by = offset - offsetAt(to);
  if (by <= 0) return undefined;
  let at = to;
  for (let unchanged = from; at - unchanged > 1; ) {
    const middle = Math.floor((unchanged + at) / 2);
    if (offsetAt(middle) === offset) unchanged = middle;
    else at = middle;
  }
  return { at, by };
}

type Folded = { readonly metric: string; readonly stats: RollupStats };

function naiveFold(points: readonly Point[], query: BucketQuery): readonly Folded[] {
  const { from = -Infinity, to = Infinity } = query.range;
  const sorted = points
    .filter(({ deviceId }) => 'devices' in query.scope || deviceId === query.scope.deviceId)
    .filter(({ metric }) => query.metrics?.includes(metric) ?? true)
    .filter(({ timestamp }) => timestamp >= from && timestamp < to)
    .sort((a, b) => a.timestamp - b.timestamp || (a.deviceId < b.deviceId ? -1 : 1));
  const buckets: Map<string, RollupStats>[] = [];
  let metrics = new Map<string, RollupStats>();
  for (const [i, { metric, value, timestamp }] of sorted.entries()) {
    const before = sorted[i - 1];
    if (!before || !inOneBucket(before.timestamp, timestamp, query)) {
      metrics = new Map();
      buckets.push(metrics);
    }
    metrics.set(metric, addPoint(metrics.get(metric), value, timestamp));
  }
  if (query.order === 'desc') buckets.reverse();
  return buckets.flatMap((bucket) =>
    [...bucket].sort(([a], [b]) => (a < b ? -1 : 1)).map(([metric, stats]) => ({ metric, stats })),
  );
}

async function inPages(points: readonly Point[], query: BucketQuery): Promise<readonly Bucket[]> {
  const { buckets } = telemetryBuckets(inMemoryTelemetry(points).queries, luxonCalendar());
  const all: Bucket[] = [];
  for (;;) {
    const after = all.at(-1)?.start;
    const page = await collected(buckets({ ...query, ...(after !== undefined && { after }) }));
    all.push(...page);
    if (page.length < query.limit) return all;
  }
}

async function expectNaiveFold(points: readonly Point[], query: BucketQuery): Promise<void> {
  const buckets = await inPages(points, query);
  assert.deepEqual(
    buckets.map(({ metric, stats }) => ({ metric, stats })),
    naiveFold(points, query),
  );
  for (const { start, end, stats } of buckets)
    assert.ok(start <= stats.firstAt && stats.lastAt < end, 'a bucket holds its points');
}

const fromBeforeTo = (range: { from?: number; to?: number }) =>
  range.from !== undefined && range.to !== undefined
    ? { from: Math.min(range.from, range.to), to: Math.max(range.from, range.to) }
    : range;

const cases = fc
  .record({ tz: fc.constantFrom(...Object.keys(zones)), by: fc.constantFrom(...intervals) })
  .chain(({ tz, by }) => casesAround(zones[tz] ?? [], tz, by));

function casesAround(
  moments: readonly string[],
  tz: string,
  by: { readonly interval: string; readonly reach: number },
) {
  const anchor = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...moments).map((iso) => Date.parse(iso)) },
    fc.integer({ min: Date.UTC(1883, 10, 20), max: Date.UTC(2030, 0) }),
  );
  return anchor.chain((middle) => {
    const instant = fc.oneof(
      fc.integer({ min: middle - by.reach, max: middle + by.reach }),
      fc.integer({ min: -8, max: 8 }).map((n) => middle + n * 15 * 60_000),
      fc.integer({ min: -3, max: 3 }).map((n) => middle + n),
    );
    return fc.record({
      points: fc.uniqueArray(
        fc.record({
          deviceId: fc.constantFrom('d-1', 'd-2', 'd-3'),
          timestamp: instant,
          metric: fc.constantFrom('temperature', 'constructor', 'toString'),
          value: fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean(), fc.string()),
        }),
        {
          selector: ({ deviceId, timestamp, metric }) => `${deviceId} ${timestamp} ${metric}`,
          maxLength: 40,
        },
      ),
      query: fc.record({
        scope: fc.constantFrom<BucketQuery['scope']>({ deviceId: 'd-1' }, { devices: {} }),
        interval: fc.constant(by.interval),
        tz: fc.constant(tz),
        order: fc.constantFrom('asc' as const, 'desc' as const),
        limit: fc.integer({ min: 1, max: 12 }),
        range: fc.record({ from: instant, to: instant }, { requiredKeys: [] }).map(fromBeforeTo),
      }),
      metrics: fc.option(fc.constantFrom(['temperature'], ['constructor', 'toString'], ['none'])),
    });
  });
}

describe('Telemetry buckets of any points', () => {
  it('are those of a naive fold of all points', async () => {
    await fc.assert(
      fc.asyncProperty(cases, ({ points, query, metrics }) =>
        expectNaiveFold(points, { ...query, ...(metrics && { metrics }) }),
      ),
      { numRuns: 1500 },
    );
  });

  for (const order of ['asc', 'desc'] as const)
    it(`are those of a naive fold on either side of a day that was twice, ${order}`, async () => {
      const back = Date.parse('1892-07-04T11:26:56Z');
      const points = [back - 1, back, back + day - 1, back + day].map((timestamp) => ({
        deviceId: 'd-1',
        timestamp,
        metric: 'temperature',
        value: '',
      }));
      for (const { interval } of intervals) {
        const query = {
          scope: { deviceId: 'd-1' },
          interval,
          tz: 'Pacific/Apia',
          order,
          limit: 1,
          range: {},
        };
        await expectNaiveFold(points, query);
      }
    });

  it('have edges that do not depend on where one asks', () => {
    const calendar = luxonCalendar();
    fc.assert(
      fc.property(cases, ({ points, query: { tz, interval } }) => {
        const bucketOf = (instant: number) =>
          bucketCalendar(parseInterval(interval), calendar.zone(tz))(instant);
        for (const { timestamp } of points) {
          const bucket = bucketOf(timestamp);
          const { start, end } = bucket;
          assert.ok(start <= timestamp && timestamp < end);
          assert.deepEqual(bucketOf(start), bucket);
          assert.deepEqual(bucketOf(end - 1), bucket);
          assert.equal(bucketOf(start - 1).end, start);
          assert.equal(bucketOf(end).start, end);
          for (const other of points)
            if (other.timestamp >= start && other.timestamp < end)
              assert.deepEqual(bucketOf(other.timestamp), bucket);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
