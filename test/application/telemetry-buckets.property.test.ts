import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DateTime } from 'luxon';
import { bucketCalendar } from '../../application/buckets/bucket-calendar.ts';
import { parseInterval } from '../../application/buckets/interval.ts';
import type { Point } from '../../application/ports/queries.ts';
import { type Bucket, type BucketQuery, telemetryBuckets } from '../../application/telemetry-buckets.ts';
import { addPoint, type RollupStats } from '../../domain/telemetry/rollup.ts';
import { luxonCalendar } from '../../infrastructure/calendar/luxon-calendar.ts';
import { collected } from '../support/collected.ts';
import { inMemoryTelemetry } from '../support/in-memory-telemetry.ts';

const hour = 3_600_000;
const day = 24 * hour;

/** Time zones with moments at which their clocks were put back or forward, or would have been. */
const zones = {
  'Europe/Berlin': ['1893-03-31T23:06:32Z', '1945-05-24T00:00Z', '2024-03-31T01:00Z', '2024-10-27T01:00Z'],
  'America/New_York': ['1883-11-18T17:00Z', '1942-02-09T07:00Z', '2024-03-10T07:00Z', '2024-11-03T06:00Z'],
  'Asia/Kolkata': ['1941-09-30T18:06:40Z', '1942-05-14T17:30Z', '2024-01-01T18:30Z'],
  'Australia/Lord_Howe': ['1981-02-28T14:00Z', '2024-04-06T15:00Z', '2024-10-05T15:30Z'],
  'Pacific/Apia': ['1892-07-05T11:26:56Z', '2011-12-30T10:00Z', '2012-03-31T14:00Z'],
  'Africa/Casablanca': ['2024-03-10T02:00Z', '2024-04-14T02:00Z'],
  'America/Sao_Paulo': ['2018-02-18T02:00Z', '2018-11-04T03:00Z'],
  UTC: ['1970-01-01T00:00Z', '2024-02-29T00:00Z'],
} as const;

const intervals = [
  { interval: '1m', reach: hour },
  { interval: '15m', reach: 6 * hour },
  { interval: '30m', reach: 12 * hour },
  { interval: '1h', reach: day },
  { interval: '2h', reach: 2 * day },
  { interval: '6h', reach: 4 * day },
  { interval: '12h', reach: 4 * day },
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

/** What two points of one bucket have in common, told by Luxon from each point by itself. */
function keyOf(timestamp: number, interval: string, tz: string): string {
  const local = DateTime.fromMillis(timestamp, { zone: tz });
  const [, digits = '', unit = ''] = /^(\d+)(\w+)$/.exec(interval) ?? [];
  const count = Number(digits);
  const dayNumber = Date.UTC(local.year, local.month - 1, local.day) / day;
  const width = widths[unit];
  if (width !== undefined) {
    const shown = dayNumber * day + ((local.hour * 60 + local.minute) * 60 + local.second) * 1000;
    return `${Math.floor(shown / (count * width))} after ${timesPutBack(timestamp, count * width, tz)}`;
  }
  if (unit === 'd') return String(Math.floor(dayNumber / count));
  if (unit === 'w') {
    const monday = Date.UTC(local.year, local.month - 1, local.day - local.weekday + 1) / day;
    return String(Math.floor((monday + 3) / 7 / count));
  }
  if (unit === 'mo') return String(Math.floor((local.year * 12 + local.month - 1) / count));
  return String(Math.floor(local.year / count));
}

/** How often until then clocks were put back by `width` or more, of the moments above. */
const timesPutBack = (timestamp: number, width: number, tz: string): number =>
  zones[tz as keyof typeof zones].filter((iso) => {
    const change = Date.parse(iso);
    const offset = (instant: number) => DateTime.fromMillis(instant, { zone: tz }).offset * 60_000;
    return change <= timestamp && offset(change - 1) - offset(change) >= width;
  }).length;

type Folded = { readonly metric: string; readonly stats: RollupStats };

function naiveFold(points: readonly Point[], query: BucketQuery): readonly Folded[] {
  const { from = -Infinity, to = Infinity } = query.range;
  const sorted = points
    .filter(({ deviceId }) => 'devices' in query.scope || deviceId === query.scope.deviceId)
    .filter(({ metric }) => query.metrics?.includes(metric) ?? true)
    .filter(({ timestamp }) => timestamp >= from && timestamp < to)
    .sort((a, b) => a.timestamp - b.timestamp || (a.deviceId < b.deviceId ? -1 : 1));
  const buckets = new Map<string, Map<string, RollupStats>>();
  for (const { metric, value, timestamp } of sorted) {
    const key = keyOf(timestamp, query.interval, query.tz);
    const metrics = buckets.get(key) ?? new Map<string, RollupStats>();
    buckets.set(key, metrics.set(metric, addPoint(metrics.get(metric), value, timestamp)));
  }
  const inOrder = query.order === 'asc' ? [...buckets.values()] : [...buckets.values()].reverse();
  return inOrder.flatMap((metrics) =>
    [...metrics].sort(([a], [b]) => (a < b ? -1 : 1)).map(([metric, stats]) => ({ metric, stats })),
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

/** Here clocks went back from one minute past midnight, so some days are shown again after they have ended. */
const backOverMidnight = { 'America/St_Johns': ['2005-10-30T02:31Z', '2005-04-03T03:31Z'] } as const;

const fromBeforeTo = (range: { from?: number; to?: number }) =>
  range.from !== undefined && range.to !== undefined
    ? { from: Math.min(range.from, range.to), to: Math.max(range.from, range.to) }
    : range;

const casesIn = (changes: Readonly<Record<string, readonly string[]>>) =>
  fc
    .record({ tz: fc.constantFrom(...Object.keys(changes)), by: fc.constantFrom(...intervals) })
    .chain(({ tz, by }) => casesAround(changes[tz] ?? [], tz, by));

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
      fc.asyncProperty(casesIn(zones), async ({ points, query, metrics }) => {
        const wanted = { ...query, ...(metrics && { metrics }) };
        const buckets = await inPages(points, wanted);
        assert.deepEqual(
          buckets.map(({ metric, stats }) => ({ metric, stats })),
          naiveFold(points, wanted),
        );
        for (const { start, end, stats } of buckets)
          assert.ok(start <= stats.firstAt && stats.lastAt < end, 'a bucket holds its points');
      }),
      { numRuns: 1500 },
    );
  });

  it('have edges that do not depend on where one asks', () => {
    const calendar = luxonCalendar();
    fc.assert(
      fc.property(casesIn({ ...zones, ...backOverMidnight }), ({ points, query: { tz, interval } }) => {
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
