import assert from 'node:assert/strict';
import type { Point } from '../../application/ports/queries.ts';
import {
  type Bucket,
  type BucketQuery,
  InvalidInterval,
  InvalidTimeZone,
  telemetryBuckets,
} from '../../application/telemetry/buckets.ts';
import { luxonCalendar } from '../../infrastructure/luxon-calendar.ts';
import { collected } from '../support/collected.ts';
import { inMemoryTelemetry } from '../support/in-memory-telemetry.ts';

const at = (iso: string): number => Date.parse(iso);
const hour = 3_600_000;

const point = (
  time: string | number,
  value: Point['value'] = 1,
  metric = 'temperature',
  deviceId = 'd-1',
) => ({
  deviceId,
  timestamp: typeof time === 'string' ? at(time) : time,
  metric,
  value,
});

const query: BucketQuery = {
  scope: { deviceId: 'd-1' },
  range: {},
  interval: '1d',
  tz: 'Europe/Berlin',
  order: 'asc',
  limit: 1000,
};

function bucketsOf(points: readonly Point[]) {
  const { queries, asked } = inMemoryTelemetry(points);
  const { buckets } = telemetryBuckets(queries, luxonCalendar());
  const all = (wanted: Partial<BucketQuery> = {}): Promise<readonly Bucket[]> =>
    collected(buckets({ ...query, ...wanted }));
  return { all, asked };
}

/** A point in every quarter of an hour from the one to the other, so that no bucket is empty. */
const quarters = (from: string, to: string): readonly Point[] =>
  Array.from({ length: (at(to) - at(from)) / (hour / 4) }, (_, i) => point(at(from) + (i * hour) / 4));

const hoursOf = (buckets: readonly Bucket[]): readonly number[] =>
  buckets.map(({ start, end }) => (end - start) / hour);

describe('Telemetry buckets', () => {
  describe('follow the calendar of the time zone', () => {
    it('makes a day as long as the clocks make it', async () => {
      const spring = bucketsOf(quarters('2024-03-29T23:00Z', '2024-04-01T22:00Z'));
      assert.deepEqual(hoursOf(await spring.all()), [24, 23, 24]);
      const autumn = bucketsOf(quarters('2024-10-25T22:00Z', '2024-10-28T23:00Z'));
      assert.deepEqual(hoursOf(await autumn.all()), [24, 25, 24]);
      assert.deepEqual(
        (await autumn.all()).map(({ stats }) => stats.count),
        [96, 100, 96],
      );
    });

    it('tells the hour that comes twice twice', async () => {
      const { all } = bucketsOf(quarters('2024-10-26T23:00Z', '2024-10-27T03:00Z'));
      const starts = (await all({ interval: '1h' })).map(({ start }) =>
        new Date(start).toISOString().slice(11, 16),
      );
      assert.deepEqual(starts, ['23:00', '00:00', '01:00', '02:00']);
    });

    it('lengthens and shortens what is longer than the change of the clocks', async () => {
      const autumn = bucketsOf(quarters('2024-10-26T22:00Z', '2024-10-27T23:00Z'));
      assert.deepEqual(hoursOf(await autumn.all({ interval: '6h' })), [7, 6, 6, 6]);
      assert.deepEqual(hoursOf(await autumn.all({ interval: '2h' })).slice(0, 3), [2, 3, 2]);
      const spring = bucketsOf(quarters('2024-03-30T23:00Z', '2024-03-31T22:00Z'));
      assert.deepEqual(hoursOf(await spring.all({ interval: '6h' })), [5, 6, 6, 6]);
      assert.deepEqual(hoursOf(await spring.all({ interval: '2h' })).slice(0, 3), [2, 1, 2]);
    });

    it('puts a clock back by half an hour', async () => {
      const { all } = bucketsOf(quarters('2024-04-06T14:00Z', '2024-04-06T17:30Z'));
      const zone = { tz: 'Australia/Lord_Howe' };
      assert.deepEqual(hoursOf(await all({ ...zone, interval: '1h' })), [1.5, 1, 1]);
      assert.deepEqual(hoursOf(await all({ ...zone, interval: '30m' })), [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]);
    });

    it('knows of a day that never was and of one that was twice', async () => {
      const skipped = bucketsOf([point('2011-12-30T09:59Z'), point('2011-12-30T10:00Z')]);
      const days = await skipped.all({ tz: 'Pacific/Apia' });
      assert.deepEqual(
        days.map(({ start }) => new Date(start).toISOString()),
        ['2011-12-29T10:00:00.000Z', '2011-12-30T10:00:00.000Z'],
      );
      const twice = bucketsOf([point('1892-07-04T11:00Z'), point('1892-07-05T11:00Z')]);
      assert.deepEqual(hoursOf(await twice.all({ tz: 'Pacific/Apia' })), [48]);
    });

    it('tells either half of a day that was twice twice', async () => {
      // Clocks went back to the beginning of the fourth of July as it ended, at 11:26:56Z.
      const { all } = bucketsOf([point('1892-07-04T11:26:55.999Z'), point('1892-07-05T11:26:55.999Z')]);
      const halves = await all({ tz: 'Pacific/Apia', interval: '12h', limit: 1 });
      const [first] = halves;
      assert.deepEqual(
        [
          ...halves,
          ...(await all({ tz: 'Pacific/Apia', interval: '12h', limit: 1, after: first?.start ?? 0 })),
        ].map(({ start, stats }) => [new Date(start).toISOString(), stats.count]),
        [
          ['1892-07-03T23:26:56.000Z', 1],
          ['1892-07-04T23:26:56.000Z', 1],
        ],
      );
    });

    it('begins a day when the calendar first shows it, though clocks go back over midnight', async () => {
      const { all } = bucketsOf(quarters('2005-10-29T02:30Z', '2005-10-31T03:30Z'));
      assert.deepEqual(hoursOf(await all({ tz: 'America/St_Johns' })), [24, 25]);
    });

    it('begins weeks on Monday, months on the first and years in January', async () => {
      const { all } = bucketsOf([point('2024-05-15T12:00Z')]);
      const startOf = async (interval: string) => {
        const [bucket] = await all({ interval, tz: 'America/New_York' });
        return bucket && new Date(bucket.start).toISOString();
      };
      assert.equal(await startOf('1w'), '2024-05-13T04:00:00.000Z');
      assert.equal(await startOf('1mo'), '2024-05-01T04:00:00.000Z');
      assert.equal(await startOf('3mo'), '2024-04-01T04:00:00.000Z');
      assert.equal(await startOf('1y'), '2024-01-01T05:00:00.000Z');
      assert.equal(await startOf('10y'), '2020-01-01T05:00:00.000Z');
    });

    it('tells the whole bucket and what the range holds of it', async () => {
      const { all } = bucketsOf(quarters('2024-01-01T00:00Z', '2024-01-02T00:00Z'));
      const range = { from: at('2024-01-01T00:15Z'), to: at('2024-01-01T03:45Z') };
      const [bucket] = await all({ tz: 'UTC', range });
      assert.equal(bucket?.start, at('2024-01-01T00:00Z'));
      assert.equal(bucket.end, at('2024-01-02T00:00Z'));
      assert.equal(bucket.stats.count, 14);
      assert.equal(bucket.stats.firstAt, range.from);
    });
  });

  describe('come in pages', () => {
    const threeDays = ['2024-01-01', '2024-01-02', '2024-01-03'].flatMap((date) => [
      point(`${date}T12:00Z`, 1, 'a'),
      point(`${date}T12:00Z`, 2, 'b'),
      point(`${date}T13:00Z`, 3, 'c', 'd-2'),
    ]);
    const shape = (buckets: readonly Bucket[]) =>
      buckets.map(({ start, metric }) => `${new Date(start).getUTCDate()}${metric}`);

    for (const scope of [{ deviceId: 'd-1' }, { devices: {} }])
      it(`of whole buckets, with no row lost or doubled, for ${Object.keys(scope)[0]}`, async () => {
        const { all } = bucketsOf(threeDays);
        for (const order of ['asc', 'desc'] as const)
          for (const limit of [1, 2, 3, 4, 5, 100]) {
            const whole = await all({ scope, order, tz: 'UTC' });
            const pages: Bucket[][] = [];
            let after: number | undefined;
            do {
              const page = await all({
                scope,
                order,
                tz: 'UTC',
                limit,
                ...(after !== undefined && { after }),
              });
              pages.push([...page]);
              after = page.at(-1)?.start;
            } while ((pages.at(-1)?.length ?? 0) >= limit);
            assert.deepEqual(shape(pages.flat()), shape(whole));
            for (const page of pages.slice(0, -1)) {
              const last = page.at(-1)?.start;
              const within = whole.filter(({ start }) => start === last);
              assert.deepEqual(shape(page.slice(-within.length)), shape(within));
            }
          }
      });

    it('within the range, whatever bucket was seen last', async () => {
      const { all } = bucketsOf(threeDays);
      const range = { from: at('2024-01-02T00:00Z'), to: at('2024-01-03T00:00Z') };
      const days = { asc: at('2023-12-01T00:00Z'), desc: at('2024-02-01T00:00Z') };
      for (const [order, after] of Object.entries(days) as ['asc' | 'desc', number][])
        assert.deepEqual(shape(await all({ range, order, after, tz: 'UTC' })), ['2a', '2b']);
    });

    it('gives metrics by name', async () => {
      const { all } = bucketsOf(threeDays);
      const rows = await all({ scope: { devices: {} }, order: 'desc', tz: 'UTC', limit: 1 });
      assert.deepEqual(shape(rows), ['3a', '3b', '3c']);
    });
  });

  describe('are made from rollups', () => {
    const year = Array.from({ length: 365 * 24 }, (_, i) => point(at('2023-01-01T00:30Z') + i * hour));
    const range = { from: at('2023-01-01T00:00Z'), to: at('2024-01-01T00:00Z') };

    it('of a day for a year in UTC', async () => {
      const { all, asked } = bucketsOf(year);
      assert.equal((await all({ tz: 'UTC', range })).length, 365);
      assert.deepEqual(asked, { points: 0, '1m': 0, '1h': 0, '1d': 365 });
    });

    it('of hours, and of minutes where an hour is cut', async () => {
      const berlin = bucketsOf(year);
      assert.equal((await berlin.all({ range })).length, 366);
      assert.deepEqual(berlin.asked, { points: 0, '1m': 0, '1h': 365 * 24, '1d': 365 });

      const kolkata = bucketsOf(year);
      assert.equal((await kolkata.all({ tz: 'Asia/Kolkata', range })).length, 366);
      assert.deepEqual(kolkata.asked, { points: 0, '1m': 365, '1h': 365 * 24, '1d': 365 });
    });

    it('and of points only where the range cuts a minute', async () => {
      const { all, asked } = bucketsOf(year);
      const cut = { from: at('2023-01-01T00:30Z') - 1, to: range.to };
      assert.equal((await all({ tz: 'UTC', range: cut })).length, 365);
      assert.deepEqual(asked, { points: 0, '1m': 1, '1h': 24, '1d': 365 });
    });

    for (const order of ['asc', 'desc'] as const)
      it(`of only the buckets that are wanted across devices, ${order}`, async () => {
        const many = ['d-2', 'd-3', 'd-4'].flatMap((deviceId) => year.map((one) => ({ ...one, deviceId })));
        const { all, asked } = bucketsOf(many);
        const rows = await all({ scope: { devices: {} }, interval: '1h', range, limit: 10, order });
        assert.deepEqual(
          rows.map(({ stats }) => stats.count),
          Array(10).fill(3),
        );
        assert.ok(asked['1h'] < 60, `${asked['1h']} rollups were read for 10 buckets of 3 devices`);
      });
  });

  describe('refuse at once', () => {
    const { buckets } = telemetryBuckets(inMemoryTelemetry([]).queries, luxonCalendar());

    for (const interval of [
      '',
      '0m',
      '7m',
      '5h',
      '25h',
      '5mo',
      '24mo',
      '1s',
      '1M',
      '-1d',
      '1.5h',
      '10000d',
      'd',
      '1d ',
    ])
      it(`an interval of "${interval}"`, () => {
        assert.throws(() => buckets({ ...query, interval }), InvalidInterval);
        assert.throws(() => buckets({ ...query, interval }), /interval must be .* such as 15m/);
      });

    for (const tz of ['', 'Mars/Olympus', 'local', '+05:30', '../etc', 'constructor'])
      it(`a time zone of "${tz}"`, () => {
        assert.throws(() => buckets({ ...query, tz }), InvalidTimeZone);
        assert.throws(() => buckets({ ...query, tz }), /tz must be .* such as Europe\/Berlin/);
      });

    it('nothing that is right', () => {
      for (const interval of ['1m', '90m', '1440m', '24h', '400d', '2w', '12mo', '9999y'])
        buckets({ ...query, interval });
    });
  });
});
