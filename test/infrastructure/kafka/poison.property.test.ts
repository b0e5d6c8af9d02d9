import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { KafkaMessage } from 'kafkajs';
import type { TelemetryRecord } from '../../../application/ports/telemetry-log.ts';
import { telemetryProjection } from '../../../application/projections/telemetry.ts';
import { Projector } from '../../../application/projector.ts';
import { eventRegistry } from '../../../infrastructure/event-registry.ts';
import { eventsIn, telemetryChunks } from '../../../infrastructure/kafka/telemetry-codec.ts';
import { sqlDeadLetters } from '../../../infrastructure/sql/dead-letters.ts';
import { sqlReadModels } from '../../../infrastructure/sql/read-models.ts';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import type { SqlDatabase } from '../../../infrastructure/sql/sql.ts';
import { anyJson, anyName, mangled } from '../../support/any-input.ts';
import { type EmptiedReadModels, emptiedReadModels } from '../../support/emptied-read-models.ts';
import { runs } from '../../support/runs.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';
import { openMysql } from '../mysql/open-mysql.ts';
import { ownDatabase } from '../mysql/own-database.ts';

const origin = { topic: `t${'o'.repeat(248)}`, partition: 3 };
const clock = { now: () => 1_760_000_000_000 };
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const generation = { projection: 'telemetry', generation: 1 };
/** Only device `a` is registered. */
const directory = {
  peek: (id: string) => (id === 'a' ? { status: 'active' as const, types: [] } : undefined),
  find: async () => new Map(),
};

const reading = '{"deviceId":"a","timestamp":1760000000000,"metrics":{"t":1}}';
const packed = {
  id: '"0190d3c8-0000-7000-8000-000000000000"',
  type: '"TelemetryRecorded"',
  schemaVersion: '1',
  receivedAt: '1760000000000',
  correlationId: '"c"',
  actor: '"device:a"',
  traceparent: `"00-${'1'.repeat(32)}-${'2'.repeat(16)}-01"`,
  indexes: '[0,1]',
  events: `[${reading},${reading}]`,
};
/** What the columns of a dead letter or a row have no room for. */
const evilScalar = fc.constantFrom(
  ...['1e300', '-1e300', '1e18', '0.5', '-1', `"${'x'.repeat(200)}"`, `"${'é'.repeat(161)}"`, '"\\ud800"'],
);
const evilJson = fc.oneof(
  anyJson,
  fc.constantFrom('1e300', '-1e300', '1e18', '-1', '0.5', '[{"toString":1},1e300]', '[-1,"x"]', '"\\u0000"'),
  fc.integer({ min: 20_000, max: 60_000 }).map((depth) => `[${'['.repeat(depth)}${']'.repeat(depth)},1]`),
  fc.constantFrom('"é'.padEnd(200, '😀').concat('"'), '"a "', '"A"'),
);
const value = fc.oneof(
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  evilJson.map((text) => Buffer.from(text)),
  fc
    .oneof(mangled(packed), mangled({ deviceId: '"a"', timestamp: '1', metrics: '{"t":1}' }))
    .map(({ text }) => Buffer.from(text)),
  fc
    .tuple(fc.constantFrom(...Object.keys(packed)), evilJson)
    .map(([field, json]) =>
      Buffer.from(
        `{${Object.entries({ ...packed, [field]: json }).map(([name, text]) => `${JSON.stringify(name)}:${text}`)}}`,
      ),
    ),
  fc
    .tuple(evilJson, evilJson)
    .map(([one, other]) =>
      Buffer.from(
        `{${Object.entries({ ...packed, events: `[${one},${other}]` }).map(([name, text]) => `"${name}":${text}`)}}`,
      ),
    ),
  fc
    .tuple(fc.constantFrom('receivedAt', 'schemaVersion', 'id', 'type', 'correlationId', 'actor'), evilScalar)
    .map(([field, json]) =>
      Buffer.from(
        `{${Object.entries({ ...packed, [field]: json }).map(([name, text]) => `"${name}":${text}`)}}`,
      ),
    ),
  fc.constant(Buffer.from(reading)),
  fc.constant(null),
);
const anyText = fc.oneof(
  fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
  anyName.map((text) => Buffer.from(text)),
  fc.constantFrom('1e300', '-5', 'NaN', '3', 'a', '999999999').map((text) => Buffer.from(text)),
);
const message = fc.record({
  key: fc.oneof(fc.constant(Buffer.from('a')), fc.constant(null), anyText),
  value,
  headers: fc.dictionary(
    fc.constantFrom('ce_correlationid', 'ce_actor', 'ce_count', 'traceparent', 'x'),
    fc.oneof(anyText, fc.array(anyText, { maxLength: 2 })),
    { noNullPrototype: true },
  ),
  timestamp: fc.oneof(
    fc.constantFrom('-1', '0', '1760000000000', '9223372036854775807', '-9223372036854775808'),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
  ),
});

/** Whatever other producers write: it is stored or parked, counted once, and the checkpoint is behind it. */
function poisonTests(open: () => Promise<{ readonly db: SqlDatabase; empty(): Promise<void> }>): void {
  let db: SqlDatabase;
  let empty: () => Promise<void>;
  before(async () => {
    ({ db, empty } = await open());
  });

  async function consumed(messages: readonly KafkaMessage[]): Promise<readonly TelemetryRecord[]> {
    const readModels = sqlReadModels(db, clock);
    const projector = new Projector({
      projection: telemetryProjection(
        eventRegistry,
        directory,
        { refresh: async () => {}, forDevice: () => undefined, hasPolicy: false },
        async () => () => origin.partition,
      ),
      generation,
      readModels,
      clock,
      log: quiet,
      observer: { consumed() {}, failed() {} },
    });
    const all: TelemetryRecord[] = [];
    for (const events of telemetryChunks(messages, origin, { offset: 0n, events: 0 }, 5)) {
      await projector.consume({ partition: 3, after: all.at(-1)?.position ?? null, events });
      all.push(...events);
    }
    assert.equal(await readModels.checkpoint(generation, 3), all.at(-1)?.position);
    return all;
  }

  it('stores or parks every event of any messages, and counts each once', async () => {
    let stored = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 6 }), async (some) => {
        await empty();
        const events = await consumed(
          some.map((one, i) => ({ ...one, attributes: 0, offset: String(i) }) as KafkaMessage),
        );
        const [ledger] = await db.rows<[number, number]>(
          'SELECT SUM(stored_count + duplicate + corrected), SUM(dead_lettered) FROM telemetry_ledger_g1',
        );
        const [applied, parked] = (ledger ?? [0, 0]).map(Number) as [number, number];
        const parkedEvents = await sqlDeadLetters(db).ofGeneration(generation, { limit: 1000 });
        assert.equal(parkedEvents.length + applied, events.length - retracted(events, parkedEvents));
        assert.equal(
          parked,
          parkedEvents.filter(({ eventType }) => eventType !== 'TelemetryRetracted').length,
        );
        for (const deadLetter of parkedEvents) JSON.stringify(deadLetter);
        stored += applied;
        for (const one of some) assert.ok(eventsIn(one as KafkaMessage) >= 1);
      }),
      { numRuns: runs(500) },
    );
    assert.ok(stored > 0, 'some of them are readings');
  });
}

const retracted = (
  events: readonly TelemetryRecord[],
  parkedEvents: readonly { readonly eventId: string }[],
) =>
  events.filter(
    ({ type, id }) => type === 'TelemetryRetracted' && !parkedEvents.some(({ eventId }) => eventId === id),
  ).length;

describe('Messages of any producer, on SQLite', function () {
  this.timeout(120_000);
  let stored: EmptiedReadModels;
  after(() => stored.close());
  poisonTests(async () => {
    stored = await emptiedReadModels();
    return stored;
  });
});

onMariadbAndMysql('Messages of any producer', function (url) {
  this.timeout(300_000);
  const closing: (() => Promise<void>)[] = [];
  after(async () => {
    for (const close of closing) await close();
  });
  poisonTests(async () => {
    const own = await ownDatabase(url);
    const { db, close } = await openMysql(own.url);
    closing.push(close, own.drop);
    await migrateReadModels(db, 0);
    const tables = [
      'dead_letters',
      'checkpoints',
      'telemetry_g1',
      'telemetry_latest_g1',
      'telemetry_ledger_g1',
    ];
    const rollups = ['1m', '1h', '1d'].map((level) => `telemetry_${level}_g1`);
    return {
      db,
      empty: async () => {
        for (const table of [...tables, ...rollups]) await db.run(`DELETE FROM ${table}`);
      },
    };
  });
});
