import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import type { Point, PointKey, PointQuery, RollupQuery } from '../../application/ports/queries.ts';
import { addPoint, bucketOf, type RollupLevel, rollupLevels, rollupWidth } from '../../domain/rollup.ts';
import type { Reading } from '../../domain/telemetry.ts';
import { sqlTelemetryQueries } from '../../infrastructure/sql/telemetry-queries.ts';
import { collected } from '../support/collected.ts';
import type { ReadModelFixture } from '../support/read-model-fixture.ts';
import type { Opened } from './opened.ts';

const all = { from: -1e14, to: 1e14 };
const everything: PointQuery = { scope: { devices: {} }, range: all, order: 'asc', limit: Infinity };

const reading = (deviceId: string, timestamp: number, metrics: Reading['metrics'] = { a: 1 }): Reading => ({
  deviceId,
  timestamp,
  metrics,
});

const pointsOf = (readings: readonly Reading[]): readonly Point[] =>
  readings
    .flatMap(({ deviceId, timestamp, metrics }) =>
      Object.entries(metrics).map(([metric, value]) => ({ deviceId, timestamp, metric, value })),
    )
    .sort((a, b) => text(a.deviceId, b.deviceId) || a.timestamp - b.timestamp || text(a.metric, b.metric));

const text = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** What a query asks for, of points in ascending order. */
function expected(points: readonly Point[], { scope, metrics, range, order, limit, after }: PointQuery) {
  const direction = order === 'asc' ? 1 : -1;
  const compare = (a: PointKey, b: PointKey) =>
    text(a.deviceId, b.deviceId) || (a.timestamp - b.timestamp) * direction || text(a.metric, b.metric);
  return points
    .filter(({ deviceId }) => 'devices' in scope || scope.deviceId === deviceId)
    .filter(({ metric }) => metrics?.includes(metric) ?? true)
    .filter(({ timestamp }) => timestamp >= range.from && timestamp < range.to)
    .filter((point) => !after || compare(point, after) > 0)
    .sort(compare)
    .slice(0, limit);
}

/** Of long lists, where they differ first: to print the whole difference would take minutes. */
function assertSame(found: readonly Point[], wanted: readonly Point[]): void {
  const differs = wanted.findIndex((point, i) => !isDeepStrictEqual(found[i], point));
  if (differs >= 0)
    assert.deepEqual(found[differs], wanted[differs], `the points numbered ${differs} differ`);
  assert.equal(found.length, wanted.length);
}

/** What every TelemetryQueries must do. */
export function telemetryQueriesContract(
  adapter: string,
  open: () => Promise<Opened<{ readonly fixture: ReadModelFixture }>>,
): void {
  describe(`${adapter} honours TelemetryQueries`, function () {
    this.timeout(60_000);
    let opened: Awaited<ReturnType<typeof open>>;
    let fixture: ReadModelFixture;

    before(async () => {
      opened = await open();
      fixture = opened.fixture;
    });
    beforeEach(() => fixture.empty());
    after(() => opened?.close());

    async function pointsFor(query: Partial<PointQuery> = {}): Promise<readonly Point[]> {
      const points: Point[] = [];
      for await (const chunk of fixture.telemetry.points({ ...everything, ...query })) {
        assert.ok(chunk.length > 0, 'a chunk is empty');
        points.push(...chunk);
      }
      return points;
    }

    const registered = (...ids: readonly string[]) =>
      fixture.registered(...ids.map((deviceId) => ({ deviceId, labels: { site: deviceId.slice(-1) } })));

    describe('points', () => {
      it('are none where there are none', async () => {
        await registered('d-1');
        assert.deepEqual(await pointsFor(), []);
        assert.deepEqual(await pointsFor({ scope: { deviceId: 'd-1' } }), []);
      });

      it('keep their values', async () => {
        const metrics = {
          constructor: 1,
          toString: 'a "quoted" \\ 😀 \n text',
          hasOwnProperty: false,
          yes: true,
          tiny: 5e-324,
          great: -1.7976931348623157e308,
          third: 1 / 3,
          'a/b:c.d-e': '',
        };
        await fixture.measured(reading('d-1', -62_135_596_800_000, metrics));
        assert.deepEqual(
          await pointsFor({ scope: { deviceId: 'd-1' } }),
          pointsOf([reading('d-1', -62_135_596_800_000, metrics)]),
        );
        const [point] = await pointsFor({ scope: { deviceId: 'd-1' }, metrics: ['toString', 'valueOf'] });
        assert.equal(point?.value, metrics.toString);
        assert.deepEqual(await pointsFor({ scope: { deviceId: 'd-1' }, metrics: ['valueOf'] }), []);
      });

      it('are looked for only of devices that ever sent the metric', async () => {
        await registered('a', 'b', 'c');
        const times = Array.from({ length: 600 }, (_, n) => n);
        await fixture.measured(...['a', 'c'].flatMap((id) => times.map((time) => reading(id, time))));
        await fixture.measured(reading('b', 5, { rare: 1 }), reading('c', 700, { rare: 2 }));
        let rows = 0;
        const counting = sqlTelemetryQueries({
          dialect: fixture.db.dialect,
          all: (...statement) => fixture.db.all(...statement),
          rows: async <Row extends readonly unknown[]>(...statement: Parameters<typeof fixture.db.rows>) => {
            const found = await fixture.db.rows<Row>(...statement);
            if (/ FROM telemetry(_1m)?_g/.test(statement[0])) rows += found.length;
            return found;
          },
        });
        const found = async (metrics: readonly string[]) => {
          const { scope, range, order } = everything;
          const rollups = { scope, range, order, metrics };
          rows = 0;
          const points: Point[] = [];
          for await (const some of counting.points({ ...everything, metrics })) points.push(...some);
          for await (const some of counting.rollups('1m', rollups))
            assert.ok(some.every(({ metric }) => metrics.includes(metric)));
          return points.map(({ deviceId, value }) => [deviceId, value]);
        };
        assert.deepEqual(await found(['never']), []);
        assert.equal(rows, 0);
        assert.deepEqual(await found(['rare', 'never']), [
          ['b', 1],
          ['c', 2],
        ]);
        assert.ok(rows < 700, `${rows} rows read`);
      });

      it('are those from the start of the range to before its end', async () => {
        await fixture.measured(...[-2, -1, 0, 1, 2].map((time) => reading('d-1', time)));
        const times = async (query: Partial<PointQuery>) =>
          (await pointsFor({ scope: { deviceId: 'd-1' }, range: { from: -1, to: 2 }, ...query })).map(
            ({ timestamp }) => timestamp,
          );
        assert.deepEqual(await times({ order: 'asc' }), [-1, 0, 1]);
        assert.deepEqual(await times({ order: 'desc' }), [1, 0, -1]);
        const seen = (timestamp: number) => ({ after: { deviceId: 'd-1', timestamp, metric: 'a' } });
        assert.deepEqual(await times({ order: 'asc', ...seen(-9) }), [-1, 0, 1]);
        assert.deepEqual(await times({ order: 'desc', ...seen(9) }), [1, 0, -1]);
      });

      it('are those of the devices that the filter finds', async () => {
        await registered('d-1', 'd-2', 'd-3');
        await fixture.measured(...['d-1', 'd-2', 'd-3', 'unregistered'].map((id) => reading(id, 0)));
        const idsFor = async (devices: object) =>
          (await pointsFor({ scope: { devices } })).map(({ deviceId }) => deviceId);
        assert.deepEqual(await idsFor({}), ['d-1', 'd-2', 'd-3']);
        assert.deepEqual(await idsFor({ labels: [{ key: 'site', value: '2' }] }), ['d-2']);
        assert.deepEqual(await idsFor({ text: 'D-3' }), ['d-3']);
        assert.deepEqual(await idsFor({ status: 'suspended' }), []);
      });

      it('are the same in pages of any length, whatever is asked', async () => {
        const deviceId = fc.constantFrom('d-1', 'd-2', 'd-3');
        const name = fc.constantFrom('a', 'b', 'constructor', 'c');
        const time = fc.integer({ min: -5, max: 5 });
        const readings = fc.uniqueArray(
          fc.record({
            deviceId,
            timestamp: time,
            metrics: fc.dictionary(name, fc.integer(), { minKeys: 1, maxKeys: 2 }),
          }),
          { selector: (one) => `${one.deviceId} ${one.timestamp}`, minLength: 5, maxLength: 30 },
        );
        const query = fc.record({
          scope: fc.constantFrom({ deviceId: 'd-2' }, { devices: {} }),
          range: fc.oneof(
            fc.constant(all),
            fc.tuple(time, time).map(([a, b]) => ({ from: Math.min(a, b), to: Math.max(a, b) })),
          ),
          order: fc.constantFrom('asc' as const, 'desc' as const),
          limit: fc.integer({ min: 1, max: 12 }),
        });
        const metrics = fc.option(fc.uniqueArray(name, { minLength: 1 }), { freq: 1 });
        await fc.assert(
          fc
            .asyncProperty(readings, query, metrics, async (some, asked, names) => {
              await fixture.measured(...some);
              const wanted = { ...asked, ...(names && { metrics: names }) };
              const paged: Point[] = [];
              for (;;) {
                const { value: _, ...after } = paged.at(-1) ?? { value: 0 };
                const query = { ...wanted, ...('metric' in after && { after }) };
                const page = await pointsFor(query);
                assert.deepEqual(page, expected(pointsOf(some), query));
                paged.push(...page);
                if (page.length < wanted.limit) break;
              }
              assert.deepEqual(paged, expected(pointsOf(some), { ...wanted, limit: Infinity }));
            })
            .beforeEach(async () => {
              await fixture.empty();
              await registered('d-1', 'd-2', 'd-3');
            }),
          { numRuns: fixture.db.dialect === 'sqlite' ? 200 : 40 },
        );
      });

      it('come whole from devices with many and devices with few', async () => {
        const counts = [1, 0, 7000, 3, ...Array(600).fill(2), 2048, 256, 1, 300];
        const ids = counts.map((_, i) => `d-${String(i).padStart(4, '0')}`);
        await registered(...ids);
        const readings = counts.flatMap((count, i) =>
          Array.from({ length: count }, (_, n) => reading(ids[i] as string, n, { b: n, a: i })),
        );
        await fixture.measured(...readings);
        for (const order of ['asc', 'desc'] as const)
          for (const query of [
            { ...everything, order },
            { ...everything, order, metrics: ['b'], range: { from: 1, to: 3000 } },
            { ...everything, order, limit: 12_345 },
            { ...everything, order, after: { deviceId: 'd-0002', timestamp: 3000, metric: 'a' } },
            { ...everything, order, scope: { deviceId: 'd-0002' } },
          ])
            assertSame(await pointsFor(query), expected(pointsOf(readings), query));
      });

      it('come in chunks of bounded size however large the documents are', async () => {
        const metrics = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`m${i}`, 'x'.repeat(512)]));
        await fixture.measured(...Array.from({ length: 2000 }, (_, n) => reading('d-1', n, metrics)));
        const sizes: number[] = [];
        for await (const chunk of fixture.telemetry.points({ ...everything, scope: { deviceId: 'd-1' } }))
          sizes.push(chunk.length);
        assert.equal(
          sizes.reduce((sum, size) => sum + size, 0),
          2000 * 64,
        );
        assert.ok(Math.max(...sizes) <= 256 * 64, `a chunk has ${Math.max(...sizes)} points`);
      });
    });

    describe('rollups', () => {
      const hour = 3_600_000;
      const readings = ['d-1', 'd-2', 'd-3'].flatMap((id) =>
        Array.from({ length: 60 }, (_, n) =>
          reading(id, (n - 30) * hour + n * 61_000, { a: n, ...(n % 2 && { constructor: `t${n}` }) }),
        ),
      );

      async function rollupsFor(level: RollupLevel, query: Partial<RollupQuery> = {}) {
        const chunks: (readonly { deviceId: string; bucket: number }[])[] = [];
        const asked = { scope: { devices: {} }, range: all, order: 'asc' as const, ...query };
        const slices = await collected(
          (async function* () {
            for await (const chunk of fixture.telemetry.rollups(level, asked)) {
              chunks.push(chunk);
              yield chunk;
            }
          })(),
        );
        const split = chunks.filter((chunk, i) => {
          const [last, next] = [chunk.at(-1), chunks[i + 1]?.[0]];
          return last && next && last.deviceId === next.deviceId && last.bucket === next.bucket;
        });
        assert.deepEqual(split, [], 'a bucket is split between chunks');
        return slices;
      }

      function stored(level: RollupLevel, query: Partial<RollupQuery> = {}) {
        const { range = all, metrics, scope = { devices: {} }, after = '', order = 'asc' } = query;
        const stats = new Map<string, Awaited<ReturnType<typeof rollupsFor>>[number]>();
        for (const { deviceId, timestamp, metric, value } of pointsOf(readings)) {
          const bucket = bucketOf(level, timestamp);
          if (bucket < range.from || bucket >= range.to || deviceId <= after) continue;
          if (!(metrics?.includes(metric) ?? true) || ('deviceId' in scope && scope.deviceId !== deviceId))
            continue;
          const key = `${deviceId} ${bucket} ${metric}`;
          stats.set(key, {
            deviceId,
            metric,
            bucket,
            stats: addPoint(stats.get(key)?.stats, value, timestamp),
          });
        }
        return inOrder([...stats.values()], order);
      }

      /** Within a device's bucket the order of metrics is nobody's promise. */
      const inOrder = <T extends { deviceId: string; bucket: number; metric: string }>(
        slices: readonly T[],
        order: 'asc' | 'desc',
      ) =>
        slices.toSorted(
          (a, b) =>
            text(a.deviceId, b.deviceId) ||
            (order === 'asc' ? a.bucket - b.bucket : b.bucket - a.bucket) ||
            text(a.metric, b.metric),
        );

      it('tell of every level what was stored', async () => {
        await registered('d-1', 'd-2', 'd-3');
        await fixture.measured(...readings);
        for (const level of rollupLevels)
          for (const query of [
            {},
            { order: 'desc' as const },
            { scope: { deviceId: 'd-2' } },
            { metrics: ['constructor'] },
            { metrics: ['toString'] },
            { after: 'd-1' },
            { range: { from: -rollupWidth[level], to: rollupWidth[level] } },
          ]) {
            const found = await rollupsFor(level, query);
            assert.deepEqual(inOrder(found, query.order ?? 'asc'), stored(level, query));
            assert.deepEqual(
              found.map(({ deviceId, bucket }) => [deviceId, bucket]),
              stored(level, query).map(({ deviceId, bucket }) => [deviceId, bucket]),
            );
          }
      });

      it('are found by device and start, however many are asked for', async () => {
        await registered('d-1', 'd-2', 'd-3');
        await fixture.measured(...readings);
        for (const level of rollupLevels) {
          const all = stored(level);
          const wanted = all.filter(({ deviceId, bucket }) => deviceId !== 'd-2' || bucket < 0);
          const nobodys = Array.from({ length: 300 }, (_, i) => ({ deviceId: 'd-9', bucket: i }));
          const keys = new Map(wanted.map((slice) => [`${slice.deviceId} ${slice.bucket}`, slice]));
          const found = await fixture.telemetry.rollupsAt(level, [...nobodys, ...keys.values()]);
          assert.deepEqual(inOrder(found, 'asc'), wanted);
        }
      });
    });

    describe('latest', () => {
      const page = { limit: 100 };

      it('tells the newest value of each metric', async () => {
        await fixture.measured(
          reading('d-1', 1, { b: 1, constructor: 'old' }),
          reading('d-1', 3, { b: true }),
          reading('d-1', 2, { a: 'x' }),
        );
        const latest = [
          {
            deviceId: 'd-1',
            points: [
              { timestamp: 2, metric: 'a', value: 'x' },
              { timestamp: 3, metric: 'b', value: true },
              { timestamp: 1, metric: 'constructor', value: 'old' },
            ],
          },
        ];
        assert.deepEqual(await fixture.telemetry.latest({ deviceId: 'd-1' }, page), latest);
        assert.deepEqual(await fixture.telemetry.latest({ deviceId: 'd-1' }, { ...page, after: 'd-1' }), []);
        assert.deepEqual(await fixture.telemetry.latest({ deviceId: 'd-2' }, page), []);
      });

      it('finds devices by filter and continues after one', async () => {
        await registered('d-1', 'd-2', 'd-3', 'd-4');
        await fixture.measured(...['d-1', 'd-2', 'd-4', 'unregistered'].map((id) => reading(id, 0)));
        const idsFor = async (devices: object, asked: object = {}) =>
          (await fixture.telemetry.latest({ devices }, { ...page, ...asked })).map(
            ({ deviceId }) => deviceId,
          );
        assert.deepEqual(await idsFor({}), ['d-1', 'd-2', 'd-4']);
        assert.deepEqual(await idsFor({}, { limit: 2 }), ['d-1', 'd-2']);
        assert.deepEqual(await idsFor({}, { limit: 2, after: 'd-2' }), ['d-4']);
        assert.deepEqual(await idsFor({ labels: [{ key: 'site', value: '4' }] }), ['d-4']);
      });

      it('fills a page with devices that have any of the metrics', async () => {
        const ids = Array.from({ length: 600 }, (_, i) => `d-${1000 + i}`);
        await registered(...ids);
        await fixture.measured(
          ...ids.map((id, i) => reading(id, i, i % 100 === 99 ? { rare: i } : { a: i })),
        );
        const found = await fixture.telemetry.latest(
          { devices: {} },
          { metrics: ['rare', 'none'], limit: 5 },
        );
        assert.deepEqual(
          found.map(({ deviceId, points }) => [deviceId, points.map(({ value }) => value)]),
          [99, 199, 299, 399, 499].map((i) => [`d-${1000 + i}`, [i]]),
        );
        const rest = { metrics: ['rare'], limit: 5, after: 'd-1499' };
        assert.equal((await fixture.telemetry.latest({ devices: {} }, rest)).length, 1);
      });
    });

    describe('when a generation is replaced and dropped', () => {
      it('under a query, goes over to the new one', async () => {
        await registered('d-1');
        await fixture.measured(reading('d-1', 0));
        for (const scope of [{ deviceId: 'd-1' }, { devices: {} }] as const) {
          const query = { scope, range: all, order: 'asc', limit: Infinity } as const;
          assert.equal((await collected(fixture.replacedUnderWay().telemetry.points(query))).length, 1);
          assert.equal(
            (await collected(fixture.replacedUnderWay().telemetry.rollups('1d', query))).length,
            1,
          );
          assert.equal((await fixture.replacedUnderWay().telemetry.latest(scope, { limit: 1 })).length, 1);
        }
      });

      it('between two chunks, loses nothing and tells nothing twice', async () => {
        const readings = Array.from({ length: 3000 }, (_, n) => reading('d-1', n));
        await fixture.measured(...readings);
        const points: Point[] = [];
        for await (const chunk of fixture.telemetry.points({ ...everything, scope: { deviceId: 'd-1' } })) {
          points.push(...chunk);
          await fixture.replaceGeneration('telemetry');
        }
        assertSame(points, pointsOf(readings));
      });
    });
  });
}
