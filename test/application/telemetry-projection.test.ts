import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import type { TelemetryRecord } from '../../application/ports/telemetry-log.ts';
import { telemetryProjection } from '../../application/projections/telemetry.ts';
import { Projector } from '../../application/projector.ts';
import { addPoint, bucketOf, type RollupStats, rollupLevels } from '../../domain/rollup.ts';
import type { MetricValue, Reading, Retraction } from '../../domain/telemetry.ts';
import { eventRegistry } from '../../infrastructure/event-registry.ts';
import { readLatest, readMetrics, readRollup } from '../../infrastructure/sql/documents.ts';
import { sqlReadModels } from '../../infrastructure/sql/read-models.ts';
import type { SqlDatabase } from '../../infrastructure/sql/sql.ts';
import { type EmptiedReadModels, emptiedReadModels } from '../support/emptied-read-models.ts';

type Said =
  | { readonly type: 'TelemetryRecorded'; readonly data: Reading }
  | { readonly type: 'TelemetryRetracted'; readonly data: Retraction };

const clock = { now: () => 1_760_000_000_000 };
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const devices = ['a', 'b', 'constructor'];
const everyDevice = {
  peek: () => undefined,
  find: async (ids: ReadonlySet<string>) =>
    new Map([...ids].map((id) => [id, { status: 'active' as const, types: [] }])),
};
const day = 86_400_000;
const onePartition = async () => () => 0;
const keptForEver = { refresh: async () => {}, forDevice: () => undefined, hasPolicy: false };

// Few moments and few values, so that duplicates, corrections and late readings are the rule.
const moments = fc.constantFrom(
  -day,
  -1,
  0,
  1,
  59_999,
  60_000,
  60_001,
  3_599_999,
  3_600_000,
  7_200_000,
  day,
  3 * day,
);
const value = fc.constantFrom<MetricValue>(0.1, 0.2, 0.3, -7, 1e300, 3, true, 'ok');
const metrics = fc.oneof(
  fc.constant({ temp: 0.1 }),
  fc.dictionary(fc.constantFrom('temp', 'hum', 'toString'), value, {
    minKeys: 1,
    maxKeys: 3,
    noNullPrototype: true,
  }),
);
const reading = fc
  .record({ deviceId: fc.constantFrom(...devices), timestamp: moments, metrics })
  .map((data): Said => ({ type: 'TelemetryRecorded', data }));
const untimed = fc
  .record({ deviceId: fc.constantFrom(...devices), timestamp: moments, metrics })
  .map((data): Said => ({ type: 'TelemetryRecorded', data: { ...data, untimed: true } }));
const retraction = fc
  .record({
    deviceId: fc.constantFrom(...devices),
    from: moments,
    length: fc.constantFrom(1, 60_000, day, 5 * day),
    metric: fc.option(fc.constantFrom('temp', 'hum'), { nil: undefined }),
  })
  .map(
    ({ deviceId, from, length, metric }): Said => ({
      type: 'TelemetryRetracted',
      data: { deviceId, from, to: from + length, reason: 'wrong', ...(metric !== undefined && { metric }) },
    }),
  );

const logged = (said: Said, i: number): TelemetryRecord => ({
  id: `p/${i}`,
  schemaVersion: 1,
  position: String(i + 1),
  receivedAt: 1_760_000_000_000 + (i % 3) * day,
  correlationId: `c${i}`,
  actor: 'test',
  ...said,
});

describe('Telemetry projection', function () {
  this.timeout(60_000);
  let stored: EmptiedReadModels;

  before(async () => {
    stored = await emptiedReadModels();
  });
  after(() => stored.close());

  /**
   * A projector over empty tables; `restart` forgets what it remembers.
   */
  async function open(options?: Parameters<typeof telemetryProjection>[4]) {
    const { db } = stored;
    await stored.empty();
    let losses = 0;
    // Whose work is done before it is lost, as when the disk is full.
    const transaction: SqlDatabase['transaction'] = (work) =>
      db.transaction(async (tx) => {
        const result = await work(tx);
        if (losses === 0) return result;
        losses -= 1;
        throw new ReadModelsUnavailable('The disk is full');
      });
    const all: SqlDatabase['all'] = (...query) => db.all(...query);
    const readModels = sqlReadModels({ all, transaction } as SqlDatabase, clock);
    const generation = { projection: 'telemetry', generation: 1 };
    const start = () =>
      new Projector({
        projection: telemetryProjection(eventRegistry, everyDevice, keptForEver, onePartition, options),
        generation,
        readModels,
        clock,
        log: quiet,
        observer: { consumed() {}, failed() {} },
      });
    let consumer = start();
    return {
      restart: () => {
        consumer = start();
      },
      consume: (
        events: readonly TelemetryRecord[],
        after: string | null,
        handled?: () => void,
        onProgress?: () => void,
      ) =>
        consumer.consume({
          partition: 0,
          after,
          events,
          ...(handled && { onApplied: handled }),
          ...(onProgress && { onProgress }),
        }),
      checkpoint: () => readModels.checkpoint(generation, 0),
      repair: () => readModels.repair(generation, 0, async () => {}),
      /** The next transaction is lost when it is to be committed. */
      loseOne: () => {
        losses += 1;
      },
    };
  }

  async function tables() {
    const { db } = stored;
    const rows = async <Row extends object>(text: string) =>
      (await db.all<Row>(text)).map((row): Row => ({ ...row }));
    const documents = (text: string) =>
      Object.fromEntries([...readRollup(text)].sort(([a], [b]) => (a < b ? -1 : 1)));
    return {
      readings: (await rows<{ metrics: string }>('SELECT * FROM telemetry_g1 ORDER BY device_id, ts')).map(
        (row) => ({
          ...row,
          metrics: readMetrics(row.metrics),
        }),
      ),
      latest: (await rows<{ metrics: string }>('SELECT * FROM telemetry_latest_g1 ORDER BY device_id')).map(
        (row) => ({
          ...row,
          metrics: Object.fromEntries(readLatest(row.metrics)),
        }),
      ),
      rollups: await Promise.all(
        rollupLevels.map(async (level) =>
          (
            await rows<{ device_id: string; bucket: number; metrics: string }>(
              `SELECT * FROM telemetry_${level}_g1 ORDER BY device_id, bucket`,
            )
          ).map((row) => ({ ...row, metrics: documents(row.metrics) })),
        ),
      ),
      ledger: await rows('SELECT * FROM telemetry_ledger_g1 ORDER BY device_id, day'),
      deadLetters: await rows('SELECT stream, position, cause FROM dead_letters ORDER BY id'),
    };
  }

  async function afterOnePass(events: readonly TelemetryRecord[]) {
    const { consume } = await open();
    if (events.length > 0) await consume(events, null);
    return tables();
  }

  it('says the same of one log however it is cut, delivered again and interrupted', async () => {
    const cuts = fc.array(
      fc.record({ size: fc.integer({ min: 1, max: 6 }), again: fc.nat({ max: 4 }), restart: fc.boolean() }),
      { minLength: 1 },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(
            { weight: 8, arbitrary: reading },
            { weight: 3, arbitrary: untimed },
            { weight: 1, arbitrary: retraction },
          ),
          { maxLength: 40 },
        ),
        cuts,
        async (said, plan) => {
          const events = said.map(logged);
          const { consume, restart } = await open({
            rowsAtOnce: 1 + (events.length % 3),
            cacheBytes: 1000 * (events.length % 2),
          });
          for (let from = 0, i = 0; from < events.length; i += 1) {
            const { size, again, restart: interrupted } = plan[i % plan.length]!;
            if (interrupted) restart();
            const start = Math.max(0, from - again);
            await consume(events.slice(start, from + size), start === 0 ? null : String(start));
            from += size;
          }
          const result = await tables();
          assert.deepEqual(result, await afterOnePass(events));
        },
      ),
      { numRuns: 200 },
    );
  });

  describe('with a retraction over years', () => {
    const hours = 3000;
    const hourly = Array.from({ length: hours }, (_, i): Said => {
      const metrics = i % 2 ? { temp: i } : { temp: i, hum: i };
      return { type: 'TelemetryRecorded', data: { deviceId: 'a', timestamp: i * 3_600_000, metrics } };
    });
    const range = { from: 0, to: 5000 * day, reason: 'wrong', metric: 'temp' };
    const retracted: Said = { type: 'TelemetryRetracted', data: { deviceId: 'a', ...range } };
    const afterwards: Said = {
      type: 'TelemetryRecorded',
      data: { deviceId: 'a', timestamp: 7_200_000, metrics: { temp: 1 } },
    };
    const events = [...hourly, retracted, afterwards].map(logged);

    it('applies it in transactions of so many rows, with a sign of life after each', async () => {
      const whole = await afterOnePass(events);
      assert.equal(whole.readings.length, hours / 2);
      const { consume, checkpoint } = await open({ rowsAtOnce: 200 });
      const positions: (string | null)[] = [];
      let seen = Promise.resolve();
      await consume(events, null, undefined, () => {
        seen = seen.then(async () => void positions.push(await checkpoint()));
      });
      await seen;
      assert.ok(positions.length >= hours / 200, `${positions.length}`);
      assert.deepEqual(await tables(), whole);
    });

    it('finishes it after it was lost in the middle, and counts each row once', async () => {
      const whole = await afterOnePass(events);
      const { consume, checkpoint, loseOne, restart } = await open({ rowsAtOnce: 200 });
      let parts = 0;
      const dying = consume(events, null, undefined, () => {
        parts += 1;
        if (parts === 5) loseOne();
      });
      await assert.rejects(dying, /The disk is full/);
      assert.equal(await checkpoint(), String(hours));
      const { readings } = await tables();
      assert.ok(readings.length < hours, 'a part is done');
      restart();
      await consume(events.slice(hours), String(hours));
      assert.deepEqual(await tables(), whole);
    });
  });

  it('says the same when batches come while those before are being stored, or are lost', async () => {
    const chance = fc.integer({ min: 0, max: 3 }).map((n) => n === 0);
    const steps = fc.array(
      fc.record({
        size: fc.integer({ min: 1, max: 6 }),
        waits: chance,
        lost: chance,
        repaired: chance,
      }),
      { minLength: 1, maxLength: 20 },
    );
    const unreadable = fc
      .constantFrom(...devices)
      .map((deviceId) => ({ type: 'TelemetryRecorded', data: { deviceId } }) as unknown as Said);
    const said = fc.oneof(
      { weight: 16, arbitrary: reading },
      { weight: 2, arbitrary: retraction },
      { weight: 1, arbitrary: unreadable },
    );
    let overlapping = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(said, { maxLength: 40 }), steps, async (all, plan) => {
        const events = all.map(logged);
        const { consume, checkpoint, repair, loseOne } = await open();
        let underWay: Promise<void>[] = [];
        const add = (work: Promise<void>) => {
          underWay.push(work);
          // It is looked at later.
          work.catch(() => {});
        };
        for (let at = 0, i = 0; at < events.length || underWay.length > 0; i += 1) {
          // Once through the plan, everything goes well.
          const step = i < plan.length ? plan[i]! : { size: 6, waits: true, lost: false, repaired: false };
          if (step.lost) loseOne();
          if (step.repaired) add(repair());
          if (at < events.length) {
            const handled = Promise.withResolvers<void>();
            const batch = events.slice(at, at + step.size);
            const stored = consume(batch, at === 0 ? null : String(at), handled.resolve);
            if (underWay.length > 0) overlapping += 1;
            add(stored);
            await Promise.race([handled.promise, Promise.allSettled([stored])]);
            at += batch.length;
          }
          if (!step.waits && at < events.length) continue;
          const outcomes = await Promise.allSettled(underWay);
          underWay = [];
          if (outcomes.some(({ status }) => status === 'rejected')) at = Number((await checkpoint()) ?? 0);
        }
        const result = await tables();
        assert.deepEqual(result, await afterOnePass(events));
      }),
      { numRuns: 200 },
    );
    assert.ok(overlapping > 20, `${overlapping} batches came while another was in progress`);
  });

  it('says of a set of points what its points say, in whatever order they come', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(reading, { maxLength: 30 }),
        fc.infiniteStream(fc.nat()),
        async (said, random) => {
          const distinct = [
            ...new Map(
              said.map((one) => [`${one.data.deviceId} ${(one.data as Reading).timestamp}`, one]),
            ).values(),
          ];
          const shuffled = distinct
            .map((one) => ({ one, key: random.next().value as number }))
            .sort((a, b) => a.key - b.key)
            .map(({ one }) => one);
          const result = await afterOnePass(shuffled.map(logged));
          const expected = new Map<string, RollupStats>();
          for (const { data } of distinct.sort(
            (a, b) => (a.data as Reading).timestamp - (b.data as Reading).timestamp,
          )) {
            const { deviceId, timestamp, metrics: measured } = data as Reading;
            for (const [name, v] of Object.entries(measured))
              for (const level of rollupLevels) {
                const key = JSON.stringify([level, deviceId, bucketOf(level, timestamp), name]);
                expected.set(key, addPoint(expected.get(key), v, timestamp));
              }
          }
          const found = result.rollups.flatMap((rows, i) =>
            rows.flatMap(({ device_id, bucket, metrics: stats }) =>
              Object.entries(stats).map(
                ([name, s]) => [JSON.stringify([rollupLevels[i], device_id, bucket, name]), s] as const,
              ),
            ),
          );
          assert.deepEqual(new Map(found), expected);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('keeps every reading without a time of its own, however many came in one millisecond', async () => {
    const { consume } = await open();
    const at = (timestamp: number, n: number, own = false): Said => ({
      type: 'TelemetryRecorded',
      data: { deviceId: 'a', timestamp, metrics: { n }, ...(own ? {} : { untimed: true as const }) },
    });
    const said = [at(1000, 1), at(1000, 2), at(1001, 3, true), at(1000, 4), at(5000, 5, true), at(1000, 6)];
    const events = said.map(logged);
    await consume(events.slice(0, 2), null);
    await consume(events.slice(2), '2');
    const { readings, ledger } = await tables();
    assert.deepEqual(
      readings.map((row) => [(row as unknown as { ts: number }).ts, row.metrics]),
      [
        [1000, { n: 1 }],
        // A reading with this very time corrects what was placed there.
        [1001, { n: 3 }],
        [1002, { n: 4 }],
        [1003, { n: 6 }],
        [5000, { n: 5 }],
      ],
    );
    const sum = (name: string) =>
      (ledger as Record<string, number>[]).reduce((all, row) => all + (row[name] as number), 0);
    assert.deepEqual([sum('stored_count'), sum('corrected'), sum('duplicate')], [5, 1, 0]);
  });

  it('keeps accepted equal to stored, duplicate, corrected and dead-lettered', async () => {
    const { consume } = await open();
    const at = (deviceId: string, timestamp: number, temp: number): Said => ({
      type: 'TelemetryRecorded',
      data: { deviceId, timestamp, metrics: { temp } },
    });
    const said: unknown[] = [
      at('a', 1, 1),
      at('a', 1, 1),
      at('a', 1, 2),
      at('b', 1, 1),
      {
        type: 'TelemetryRecorded',
        data: { deviceId: 'b', timestamp: 2, metrics: { temp: 'x'.repeat(600) } },
      },
      at('b', 3, 1),
      at('a', 2, 1),
    ];
    await consume(
      (said as Said[]).map(logged).map((event) => ({ ...event, receivedAt: 0 })),
      null,
    );
    const { ledger, deadLetters } = await tables();
    assert.deepEqual(ledger, [
      {
        device_id: 'a',
        day: 0,
        stored_count: 2,
        duplicate: 1,
        corrected: 1,
        dead_lettered: 0,
        retracted: 0,
        late: 0,
      },
      {
        device_id: 'b',
        day: 0,
        stored_count: 2,
        duplicate: 0,
        corrected: 0,
        dead_lettered: 1,
        retracted: 0,
        late: 0,
      },
    ]);
    assert.deepEqual(deadLetters, [{ stream: 'device-b', position: '5', cause: 'malformed' }]);
  });
});
