import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { TelemetryRecord } from '../../../application/ports/telemetry-log.ts';
import { telemetryProjection } from '../../../application/projections/telemetry.ts';
import { Projector } from '../../../application/projector.ts';
import { currentRetention } from '../../../application/retention/policy.ts';
import { sweepDevices } from '../../../application/retention/sweep.ts';
import type { RetentionSchedule, TypePeriods } from '../../../domain/retention.ts';
import type { MetricValue } from '../../../domain/telemetry.ts';
import { eventRegistry } from '../../../infrastructure/event-registry.ts';
import { tableOf, tablesOf } from '../../../infrastructure/sql/generation-tables.ts';
import { sqlReadModels } from '../../../infrastructure/sql/read-models.ts';
import { sqlRetentionRecords } from '../../../infrastructure/sql/retention.ts';
import { sqlRetentionTables } from '../../../infrastructure/sql/retention-sweep.ts';
import { type EmptiedReadModels, emptiedReadModels } from '../../support/emptied-read-models.ts';

const day = 86_400_000;
const begin = 20_000 * day;
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const of = { projection: 'telemetry', generation: 1 };
const devices = ['a', 'b'];

// Few moments, values and limits, so that readings that come late, twice and corrected meet them all the time.
const ages = fc.constantFrom(0, 1, 60_000, day / 2, day, 1.5 * day, 2 * day, 3 * day, 5 * day);
const value = fc.constantFrom<MetricValue>(1, 2, 0.1, true);
const metrics = fc.dictionary(fc.constantFrom('temp', 'vib'), value, {
  minKeys: 1,
  maxKeys: 2,
  noNullPrototype: true,
});
const deviceId = fc.constantFrom(...devices);
/** How long after the event before. */
const later = fc.constantFrom(0, 1, day / 4, day, day);

type Step = { readonly later: number; readonly sweep: boolean; readonly cut: boolean } & (
  | { readonly is: 'reading'; readonly deviceId: string; readonly age: number; readonly metrics: object }
  | {
      readonly is: 'retraction';
      readonly deviceId: string;
      readonly age: number;
      readonly length: number;
      readonly metric: string | undefined;
    }
);

const common = { later, sweep: fc.boolean(), cut: fc.boolean(), deviceId };
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ ...common, is: fc.constant('reading' as const), age: ages, metrics }) },
  {
    weight: 1,
    arbitrary: fc.record({
      ...common,
      is: fc.constant('retraction' as const),
      age: ages,
      length: fc.constantFrom(1, 60_001, 2 * day),
      metric: fc.option(fc.constantFrom('temp', 'vib'), { nil: undefined }),
    }),
  },
);

const days = fc.option(fc.constantFrom(1, 2, 3), { nil: null });
const rule = fc.record({
  type: fc.option(fc.constantFrom('boiler', 'meter'), { nil: undefined }),
  metric: fc.option(fc.constant('vib'), { nil: undefined }),
  points: days,
  more: fc.constantFrom(0, 1, 2),
});
const vibrationIsShort = { type: undefined, metric: 'vib', points: 1, more: 0 };
const ruleSets = fc.oneof(
  fc.array(rule, { maxLength: 3 }),
  fc.array(rule, { maxLength: 1 }).map((rules) => [vibrationIsShort, ...rules]),
);
const policy = ruleSets.map((rules) =>
  rules.map(({ type, metric, points, more }) => ({
    ...(type !== undefined && { type }),
    ...(metric !== undefined && { metric }),
    // Rollups for longer than any points.
    keep: {
      points,
      '1m': points === null ? null : 3 + more,
      '1h': points === null ? null : 4 + more,
      '1d': null,
    },
  })),
);
const at = fc.integer({ min: -1, max: 12 }).map((n) => begin + n * (day / 2));
const schedule: fc.Arbitrary<RetentionSchedule> = fc
  .uniqueArray(fc.record({ since: at, policy }), { maxLength: 3, selector: ({ since }) => since })
  .map((some) => some.sort((a, b) => a.since - b.since));
const types: fc.Arbitrary<TypePeriods> = fc
  .uniqueArray(fc.record({ since: at, type: fc.constantFrom('boiler', 'meter') }), {
    minLength: 1,
    maxLength: 2,
    selector: ({ since }) => since,
  })
  .map((some) => some.sort((a, b) => a.since - b.since));

const boiler: TypePeriods = [{ since: begin, type: 'boiler' }];
const vibrationForADay = [{ metric: 'vib', keep: { points: 1, '1m': 3, '1h': 4, '1d': null } }];

/** A value is corrected, and the row it stands in expires before the next batch: the rollups keep the correction. */
const correctedThenExpired: [Step[], RetentionSchedule, TypePeriods, TypePeriods] = [
  [
    {
      later: day / 2,
      sweep: false,
      cut: false,
      is: 'reading',
      deviceId: 'b',
      age: day / 2,
      metrics: { vib: 1 },
    },
    {
      later: day,
      sweep: false,
      cut: false,
      is: 'reading',
      deviceId: 'b',
      age: 1.5 * day,
      metrics: { vib: 2 },
    },
    { later: 1.5 * day, sweep: false, cut: true, is: 'reading', deviceId: 'a', age: 0, metrics: { temp: 1 } },
    { later: 0, sweep: false, cut: false, is: 'reading', deviceId: 'b', age: 3 * day, metrics: { temp: 1 } },
  ],
  [{ since: begin, policy: vibrationForADay }],
  boiler,
  boiler,
];

function logOf(steps: readonly Step[]): readonly TelemetryRecord[] {
  let receivedAt = begin;
  return steps.map((one, i) => {
    receivedAt += one.later;
    const slot = day / 4;
    const time = Math.floor((receivedAt - one.age) / slot) * slot + (one.age % 2);
    const data =
      one.is === 'reading'
        ? { deviceId: one.deviceId, timestamp: time, metrics: one.metrics }
        : {
            deviceId: one.deviceId,
            from: time,
            to: time + one.length,
            reason: 'wrong',
            ...(one.metric !== undefined && { metric: one.metric }),
          };
    return {
      id: `p/${i}`,
      type: one.is === 'reading' ? 'TelemetryRecorded' : 'TelemetryRetracted',
      schemaVersion: 1,
      position: String(i + 1),
      receivedAt,
      correlationId: `c${i}`,
      actor: 'test',
      data,
    };
  });
}

describe('Telemetry under retention', function () {
  this.timeout(120_000);
  let readModels: EmptiedReadModels;

  before(async () => {
    readModels = await emptiedReadModels();
  });
  after(() => readModels.close());

  /** A projector and a sweep over empty tables. */
  async function start(policies: RetentionSchedule, typesOf: ReadonlyMap<string, TypePeriods>) {
    const { db } = readModels;
    await readModels.empty();
    const clock = { now: () => begin };
    const records = sqlRetentionRecords(db, clock.now);
    for (const { since, policy: rules } of policies)
      await db.write('insert', 'retention_policies', ['since', 'policy'], [[since, JSON.stringify(rules)]]);
    const retention = currentRetention(records, clock);
    const directory = {
      peek: () => undefined,
      find: async (ids: ReadonlySet<string>) =>
        new Map([...ids].map((id) => [id, { status: 'active' as const, types: typesOf.get(id) ?? [] }])),
    };
    const ports = { records, tables: sqlRetentionTables(db), directory, retention };
    const projection = telemetryProjection(eventRegistry, directory, retention, async () => () => 0);
    const observer = { consumed() {}, failed() {} };
    const consumer = new Projector({
      projection,
      generation: of,
      readModels: sqlReadModels(db, clock),
      clock,
      log: quiet,
      observer,
    });
    let sweptTo: number | null = null;
    return {
      consume: (events: readonly TelemetryRecord[], after: string | null) =>
        consumer.consume({ partition: 0, after, events }),
      async sweep(target: number) {
        const signal = new AbortController().signal;
        const known = await ports.tables.devices(of, '', 100);
        await sweepDevices(of, known, () => ({ before: sweptTo, target }), ports, signal);
        sweptTo = target;
      },
      async tables() {
        const all: Record<string, unknown> = {};
        for (const { base, columns } of tablesOf('telemetry'))
          all[base] = (
            await db.all<{ metrics?: string }>(
              `SELECT * FROM ${tableOf(base, 1)} ORDER BY ${columns.slice(0, 2).join(', ')}`,
            )
          ).map((row) => ({
            ...row,
            ...(row.metrics !== undefined && { metrics: JSON.parse(row.metrics) as unknown }),
          }));
        all.deadLetters = await db.all('SELECT position, error FROM dead_letters');
        const sum = async (text: string) => Number((await db.rows<[number]>(text))[0]?.[0] ?? 0);
        return {
          all,
          accounted: await sum(
            'SELECT SUM(stored_count + duplicate + corrected + dead_lettered + late) FROM telemetry_ledger_g1',
          ),
          kept: await sum('SELECT SUM(stored_count - retracted) FROM telemetry_ledger_g1'),
          expired: await sum('SELECT SUM(expired) FROM telemetry_expired_g1'),
          rows: await sum('SELECT COUNT(*) FROM telemetry_g1'),
        };
      },
    };
  }

  it('ends the same whenever what is too old was removed, and balances', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 40 }),
        schedule,
        types,
        types,
        async (steps, policies, typesOfA, typesOfB) => {
          const events = logOf(steps);
          const typesOf = new Map([
            ['a', typesOfA],
            ['b', typesOfB],
          ]);
          const last = events.at(-1)!.receivedAt;

          const now = await start(policies, typesOf);
          let from = 0;
          for (const [i, { cut, sweep }] of steps.entries()) {
            if (!cut && i < steps.length - 1) continue;
            await now.consume(events.slice(from, i + 1), from === 0 ? null : String(from));
            from = i + 1;
            if (sweep) await now.sweep(events[i]!.receivedAt);
          }
          await now.sweep(last);
          const removedAsItCame = await now.tables();

          const again = await start(policies, typesOf);
          await again.consume(events, null);
          await again.sweep(last);
          const removedAtTheEnd = await again.tables();

          assert.deepEqual(removedAsItCame, removedAtTheEnd);
          assert.equal(removedAsItCame.accounted, steps.filter(({ is }) => is === 'reading').length);
          assert.equal(removedAsItCame.rows, removedAsItCame.kept - removedAsItCame.expired);
          assert.deepEqual(removedAsItCame.all.deadLetters, []);
        },
      ),
      { numRuns: 400, examples: [correctedThenExpired] },
    );
  });
});
