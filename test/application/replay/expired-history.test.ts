import assert from 'node:assert/strict';
import { retryAll } from '../../../application/parking.ts';
import { type LeaseOwner, ReplayRefused } from '../../../application/ports/generations.ts';
import { HistoryExpired } from '../../../application/rebuild/expired-history.ts';
import type { ProjectionPipeline } from '../../../application/rebuild/projection-pipeline.ts';
import { activate, rebuild } from '../../../application/rebuild/rebuild.ts';
import { upgrade } from '../../../application/rebuild/upgrade.ts';
import { initialSweep, sweepPage } from '../../../application/retention/sweep.ts';
import { sweepPorts } from '../../../interfaces/composition/retention.ts';
import { onEachEngine, type ReadModelStore } from '../../support/each-engine.ts';
import { type ReplayFixture, replayFixture } from '../../support/replay-fixture.ts';

const builder: LeaseOwner = { id: 'a test', isExpired: () => false };
const options = () => ({ builder, signal: new AbortController().signal, handover: 0 });

onEachEngine('A rebuild from a log that has lost its beginning', (open) => {
  let stores: ReadModelStore;
  let fixture: ReplayFixture;
  let shortened: ProjectionPipeline;
  let lost: number;

  beforeEach(async () => {
    stores = await open();
    lost = 5;
    fixture = await replayFixture(stores.env);
    const { records } = await sweepPorts(fixture.container);
    await records.announce([{ keep: { points: 10 } }], 0);
    for (const id of ['a', 'b']) await fixture.register(id);
    for (let n = 1; n <= 10; n += 1)
      await fixture.publishRaw(
        { deviceId: n % 2 ? 'a' : 'b', timestamp: n * 1000, metrics: { n } },
        { receivedAt: 1_000_000 + n },
      );
    const stop = fixture.consuming();
    await fixture.consumed('telemetry');
    await stop();
    const { telemetry } = fixture.pipelines;
    shortened = {
      ...telemetry,
      expired: async () => new Map([[0, String(lost)]]),
      run: (consumer, of, signal) =>
        telemetry.run(
          {
            checkpoint: (partition) => consumer.checkpoint(partition),
            async consume(batch) {
              const events = batch.events.filter(({ position }) => Number(position) > lost);
              // As from a broker: what was lost is passed over, and reading continues behind it.
              if (events.length > 0) await consumer.consume({ ...batch, after: null, events });
            },
          },
          of,
          signal,
        ),
    };
  });
  afterEach(async () => {
    await fixture.close();
    await stores.drop();
  });

  it('refuses, and says how many readings would be lost and from when', async () => {
    await assert.rejects(rebuild(shortened, fixture.ports, options()), (error) => {
      assert.ok(error instanceof HistoryExpired);
      assert.equal(error.readings, lost);
      assert.equal(error.from, 1_000_001);
      assert.match(error.message, /5 readings, the first of which arrived at 1970-01-01T00:16:40\.001Z/);
      return true;
    });
    assert.equal(
      (await fixture.ports.control.states()).find(({ projection }) => projection === 'telemetry')?.generations
        .length,
      1,
    );
  });

  it('carries over what is older with `keepOlder`, with all that follows from it', async () => {
    const { comparison, switched } = await rebuild(shortened, fixture.ports, {
      ...options(),
      keepOlder: true,
    });
    assert.ok(switched);
    assert.ok(comparison.equal, JSON.stringify(comparison));
  });

  it('ends when all of the log is lost, at the position of the live generation', async () => {
    lost = Number((await fixture.pipelines.telemetry.ends()).get(0));
    const signal = AbortSignal.timeout(10_000);
    const keepOlder = true;
    const { comparison, switched } = await rebuild(shortened, fixture.ports, {
      ...options(),
      signal,
      keepOlder,
    });
    assert.ok(switched);
    assert.ok(comparison.equal && comparison.samePosition, JSON.stringify(comparison));
  });

  it('passes over the dead letters of a device that was erased', async () => {
    const { telemetry } = fixture.pipelines;
    lost = Number((await telemetry.ends()).get(0)) + 1;
    await fixture.publishRaw(
      { deviceId: 'c', timestamp: 1000, metrics: { n: 1 } },
      { receivedAt: 1_000_020 },
    );
    const stop = fixture.consuming();
    await fixture.consumed('telemetry');
    await stop();
    // As `removeRest` leaves them.
    assert.equal(
      await fixture.db.run(
        "UPDATE dead_letters SET event = 'null', discarded_at = 1, discarded_by = 'erased', discard_reason = 'erased'",
      ),
      1,
    );
    await assert.rejects(rebuild(shortened, fixture.ports, options()), (error) => {
      assert.ok(error instanceof HistoryExpired, String(error));
      assert.equal(error.readings, 10);
      return true;
    });
    const { switched } = await rebuild(shortened, fixture.ports, { ...options(), keepOlder: true });
    assert.ok(switched);
    const left = await fixture.db.rows('SELECT generation, event FROM dead_letters ORDER BY generation');
    assert.deepEqual(left, [
      [1, 'null'],
      [2, 'null'],
    ]);
  });

  it('is enough for a release of a newer version, which carries over what is older by itself', async () => {
    const rows = (table: string) => fixture.db.rows(`SELECT * FROM ${table} ORDER BY 1, 2`);
    const newer = { ...shortened, version: shortened.version + 1 };
    const outcome = await upgrade(newer, fixture.ports, options());
    assert.ok(outcome?.switched);
    for (const table of ['telemetry', 'telemetry_1m', 'telemetry_latest', 'telemetry_ledger'])
      assert.deepEqual(await rows(`${table}_g2`), await rows(`${table}_g1`), table);
  });

  describe('when retention has removed some of what the log has lost', () => {
    const day = 86_400_000;
    beforeEach(async () => {
      const at = Date.now() - 9 * day;
      await fixture.publishRaw({ deviceId: 'a', timestamp: at, metrics: { n: 11 } }, { receivedAt: at });
      const stop = fixture.consuming();
      await fixture.consumed('telemetry');
      await stop();
      const ports = await sweepPorts(fixture.container);
      const live = { projection: 'telemetry', generation: 1 };
      const target = Date.now();
      const sweep = { ...initialSweep, target };
      await sweepPage(live, sweep, ports, Date.now, new AbortController().signal);
      assert.equal((await fixture.db.rows('SELECT ts FROM telemetry_g1')).length, 1);
    });

    it('refuses, since nothing else tells of these points than their rollups', async () => {
      await assert.rejects(rebuild(shortened, fixture.ports, options()), /their rollups and newest values/);
    });

    it('carries over their rollups and newest values to a newer version', async () => {
      const rows = (table: string) => fixture.db.rows(`SELECT * FROM ${table} ORDER BY 1, 2`);
      const newer = { ...shortened, version: shortened.version + 1 };
      assert.ok((await upgrade(newer, fixture.ports, options()))?.switched);
      for (const table of ['telemetry', 'telemetry_1m', 'telemetry_1h', 'telemetry_1d', 'telemetry_latest'])
        assert.deepEqual(await rows(`${table}_g2`), await rows(`${table}_g1`), table);
    });

    it('carries over their rollups and newest values with `keepOlder`', async () => {
      const rows = (table: string) => fixture.db.rows(`SELECT * FROM ${table} ORDER BY 1, 2`);
      const { switched } = await rebuild(shortened, fixture.ports, { ...options(), keepOlder: true });
      assert.ok(switched);
      for (const table of ['telemetry', 'telemetry_1m', 'telemetry_1h', 'telemetry_1d', 'telemetry_latest'])
        assert.deepEqual(await rows(`${table}_g2`), await rows(`${table}_g1`), table);
    });
  });

  it('does not carry over twice what a killed run had carried already', async () => {
    const { ports, pipelines } = fixture;
    const stop = new AbortController();
    const dying: ProjectionPipeline = {
      ...shortened,
      carry: async ({ rows, deadLetters }, tables) => {
        await pipelines.telemetry.carry?.({ rows: rows.slice(0, 2), deadLetters }, tables);
        stop.abort(new Error('killed'));
      },
    };
    const first = rebuild(dying, ports, { ...options(), signal: stop.signal, keepOlder: true });
    await assert.rejects(first, /killed/);
    const { comparison } = await rebuild(shortened, ports, { ...options(), keepOlder: true });
    assert.ok(comparison.equal, JSON.stringify(comparison));
  });

  it('has nothing of what was retracted since a killed run carried it, though the log has lost that too', async () => {
    const { ports, pipelines } = fixture;
    const stop = new AbortController();
    const dying: ProjectionPipeline = {
      ...shortened,
      carry: async (older, tables) => {
        await pipelines.telemetry.carry?.(older, tables);
        stop.abort(new Error('killed'));
      },
    };
    const first = rebuild(dying, ports, { ...options(), signal: stop.signal, keepOlder: true });
    await assert.rejects(first, /killed/);
    await fixture.publishRaw(
      { deviceId: 'a', from: 0, to: 4000, reason: 'no' },
      { type: 'TelemetryRetracted', receivedAt: 1_000_011 },
    );
    const end = fixture.consuming();
    await fixture.consumed('telemetry');
    await end();
    lost = Number((await pipelines.telemetry.ends()).get(0));
    const { comparison } = await rebuild(shortened, ports, { ...options(), keepOlder: true });
    // How much was ever stored and retracted, the log alone could say.
    assert.deepEqual(
      comparison.tables.filter(({ equal }) => !equal).map(({ table }) => table),
      ['telemetry_ledger'],
    );
  });

  it('carries over too what the log loses while it carries over', async () => {
    const losing: ProjectionPipeline = {
      ...shortened,
      carry: async (older, tables) => {
        lost = 8;
        await fixture.pipelines.telemetry.carry?.(older, tables);
      },
    };
    const { comparison } = await rebuild(losing, fixture.ports, { ...options(), keepOlder: true });
    assert.ok(comparison.equal, JSON.stringify(comparison));
  });

  it('carries over a dead letter that is retried while it carries over', async () => {
    const { ports, pipelines } = fixture;
    const live = { projection: 'telemetry', generation: 1 } as const;
    await fixture.publishRaw(
      { deviceId: 'late', timestamp: 1, metrics: { n: 1 } },
      { receivedAt: 1_000_011 },
    );
    const stop = fixture.consuming();
    await fixture.consumed('telemetry');
    await fixture.register('late');
    await fixture.consumed('devices');
    await stop();
    lost = Number((await pipelines.telemetry.ends()).get(0));
    const retried = async () => {
      const { deadLetterRetry } = pipelines.telemetry;
      for await (const stream of retryAll(live, deadLetterRetry, ports.deadLetters, ports.readModels))
        assert.equal(stream.applied, 1);
    };
    const gap = {
      ...ports.gap,
      async *readings(...asked: Parameters<typeof ports.gap.readings>) {
        let isRead = false;
        for await (const rows of ports.gap.readings(...asked)) {
          if (!isRead) await retried();
          isRead = true;
          yield rows;
        }
      },
    };
    await rebuild(shortened, { ...ports, gap }, { ...options(), keepOlder: true });
    assert.deepEqual(await fixture.db.rows("SELECT ts FROM telemetry WHERE device_id = 'late'"), [[1]]);
    assert.deepEqual(await ports.deadLetters.list({}, { limit: 1 }), []);
  });

  it('is not gone back on when the log has lost what the generation before had yet to consume', async () => {
    lost = 0;
    await rebuild(shortened, fixture.ports, options());
    await fixture.publishRaw(
      { deviceId: 'a', timestamp: 11_000, metrics: { n: 11 } },
      { receivedAt: 1_000_011 },
    );
    const stop = fixture.consuming();
    await fixture.consumed('telemetry');
    await stop();
    const generations = async () => {
      const states = await fixture.ports.control.states();
      const state = states.find(({ projection }) => projection === 'telemetry');
      return state?.generations.map(({ generation, status }) => `${generation} ${status}`);
    };
    lost = Number((await fixture.pipelines.telemetry.ends()).get(0));
    await assert.rejects(activate(shortened, 'retired', fixture.ports, options()), (error) => {
      assert.ok(error instanceof ReplayRefused);
      assert.match(
        error.message,
        /^Generation 1 of telemetry has yet to consume events that the log no longer has/,
      );
      return true;
    });
    assert.deepEqual(await generations(), ['1 retired', '2 active']);
    lost = 10;
    assert.ok((await activate(shortened, 'retired', fixture.ports, options())).switched);
    assert.deepEqual(await generations(), ['1 active', '2 retired']);
  });

  it('begins anew when the log has lost meanwhile what a killed run had yet to read', async () => {
    const { ports } = fixture;
    const stop = new AbortController();
    const dying: ProjectionPipeline = {
      ...shortened,
      run: (consumer, of, signal) =>
        shortened.run(
          {
            checkpoint: (partition) => consumer.checkpoint(partition),
            async consume({ events, ...batch }) {
              await consumer.consume({ ...batch, events: events.slice(0, 2) });
              stop.abort(new Error('killed'));
            },
          },
          of,
          signal,
        ),
    };
    const first = rebuild(dying, ports, { ...options(), signal: stop.signal, keepOlder: true });
    await assert.rejects(first, /killed/);
    lost = 9;
    const { comparison, resumed } = await rebuild(shortened, ports, { ...options(), keepOlder: true });
    assert.ok(!resumed && comparison.equal, JSON.stringify(comparison));
  });
});
