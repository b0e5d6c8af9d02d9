import assert from 'node:assert/strict';
import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import type { TelemetryRecord } from '../../application/ports/telemetry-log.ts';
import { telemetryProjection } from '../../application/projections/telemetry.ts';
import { Projector } from '../../application/projector.ts';
import { eventRegistry } from '../../infrastructure/event-registry.ts';
import { sqlReadModels } from '../../infrastructure/sql/read-models.ts';
import { type EmptiedReadModels, emptiedReadModels } from '../support/emptied-read-models.ts';

const generation = { projection: 'telemetry', generation: 1 };
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const directory = {
  peek: () => ({ status: 'active' as const, types: [] }),
  find: async () => new Map(),
};
const reading = (deviceId: string, i: number, value: unknown = i): TelemetryRecord => ({
  id: `p/${i}`,
  type: 'TelemetryRecorded',
  schemaVersion: 1,
  position: String(i),
  receivedAt: 0,
  correlationId: 'c',
  actor: 'test',
  data: { deviceId, timestamp: i, metrics: { temp: value } },
});

describe('A fault of the read models that no error code explains', () => {
  let stored: EmptiedReadModels;
  let now = 0;
  let projector: Projector<TelemetryRecord, unknown>;
  const clock = { now: () => now };

  before(async () => {
    stored = await emptiedReadModels();
  });
  beforeEach(async () => {
    await stored.empty();
    now = 0;
    projector = new Projector({
      projection: telemetryProjection(
        eventRegistry,
        directory,
        { refresh: async () => {}, forDevice: () => undefined, hasPolicy: false },
        async () => () => 0,
      ),
      generation,
      readModels: sqlReadModels(stored.db, clock),
      clock,
      log: quiet,
      observer: { consumed() {}, failed() {} },
    }) as Projector<TelemetryRecord, unknown>;
  });
  after(() => stored.close());

  const consume = (...events: readonly TelemetryRecord[]) =>
    projector.consume({ partition: 0, after: null, events });
  const parked = async () =>
    (await stored.db.rows<[string, string]>('SELECT position, cause FROM dead_letters ORDER BY id')).map(
      (row) => [...row],
    );
  const points = async () => (await stored.db.rows('SELECT * FROM telemetry_g1')).length;

  /** Refuses readings of these devices with an error that says nothing. */
  async function whileRefusing(devices: readonly string[], test: () => Promise<void>) {
    // An integer overflow: an error that SQLite has no code for.
    await stored.db.run(
      `CREATE TRIGGER refusal BEFORE INSERT ON telemetry_g1 WHEN NEW.device_id IN (${devices.map((id) => `'${id}'`)})
       BEGIN SELECT abs(-9223372036854775807 - 1); END`,
    );
    try {
      await test();
    } finally {
      await stored.db.run('DROP TRIGGER refusal');
    }
  }

  it('is an outage when it hits all of many streams: nothing is parked, and all is stored once it is over', async () => {
    const events = ['a', 'b', 'c', 'd'].map((id, i) => reading(id, i + 1));
    await whileRefusing(['a', 'b', 'c', 'd'], async () => {
      await assert.rejects(consume(...events), ReadModelsUnavailable);
      assert.deepEqual(await parked(), []);
    });
    await consume(...events);
    assert.deepEqual([await parked(), await points()], [[], 4]);
  });

  it('is the fault of the events when others can be applied', async () => {
    await whileRefusing(['a', 'b', 'c', 'd'], async () => {
      await consume(
        reading('e', 1),
        ...['a', 'b', 'c', 'd'].map((id, i) => reading(id, i + 2)),
        reading('f', 6),
      );
    });
    assert.deepEqual(
      await parked(),
      ['2', '3', '4', '5'].map((position) => [position, 'failed']),
    );
    assert.equal(await points(), 2);
  });

  it('is the fault of the events when it hits few streams', async () => {
    await whileRefusing(['a', 'b'], async () => {
      await consume(reading('a', 1), reading('b', 2), reading('a', 3));
    });
    assert.deepEqual(
      (await parked()).map(([position]) => position),
      ['1', '2', '3'],
    );
  });

  it('parks after ten minutes what cannot be applied, so that no partition stands for ever', async () => {
    const events = ['a', 'b', 'c'].map((id, i) => reading(id, i + 1));
    await whileRefusing(['a', 'b', 'c'], async () => {
      await assert.rejects(consume(...events), ReadModelsUnavailable);
      now = 599_999;
      await assert.rejects(consume(...events), ReadModelsUnavailable);
      now = 600_000;
      await consume(...events);
    });
    assert.equal((await parked()).length, 3);
  });
});
