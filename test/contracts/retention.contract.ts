import assert from 'node:assert/strict';
import type { RetentionRecords, RetentionTables, Sweep } from '../../application/ports/retention.ts';
import type { RetentionTarget } from '../../domain/retention.ts';
import type { SqlDatabase } from '../../infrastructure/sql/sql.ts';
import { type ReadModelFixture, readModelFixture } from '../support/read-model-fixture.ts';
import type { Opened } from './opened.ts';

type Order = Parameters<RetentionTables['trim']>[1];

const live = { projection: 'telemetry', generation: 1 };
const day = 86_400_000;
const sweep: Sweep = {
  sweptTo: null,
  target: 5 * day,
  after: 'd-7',
  removed: { points: 1, '1m': 2, '1h': 3, '1d': 4, trimmed: 5 },
  endedAt: null,
};

type Adapters = {
  readonly db: SqlDatabase;
  readonly records: RetentionRecords;
  readonly tables: RetentionTables;
};

/** What RetentionRecords and KeptTables must do; `open` gives migrated read models with nothing in them. */
export function retentionContract(adapter: string, open: () => Promise<Opened<Adapters>>): void {
  describe(`${adapter} honours RetentionRecords`, function () {
    this.timeout(60_000);
    let opened: Opened<Adapters>;
    beforeEach(async () => {
      opened = await open();
    });
    afterEach(() => opened.close());

    it('keeps every policy there was, and takes the one in force no second time', async () => {
      const { records } = opened;
      const first = [{ keep: { points: 90, '1m': null } }] as const;
      const second = [{ type: 'boiler', metric: 'temp', keep: { points: 1 } }] as const;
      assert.deepEqual(await records.schedule(), []);
      assert.equal(await records.announce([], 5), false);
      assert.equal(await records.announce(first, 10), true);
      assert.equal(await records.announce(first, 20), false);
      assert.equal(await records.announce(second, 30), true);
      assert.deepEqual(await records.schedule(), [
        { since: 10, policy: first },
        { since: 30, policy: second },
      ]);
    });

    it('says the time by the clock of the database server, if that has one of its own', async () => {
      const { db, records } = opened;
      const now = await records.now();
      if (db.dialect === 'sqlite') assert.equal(now, Number.POSITIVE_INFINITY);
      else assert.ok(Math.abs(now - Date.now()) < 60_000, `${now}`);
    });

    it('brings no policy into force before the one that it follows', async () => {
      const { records } = opened;
      await records.announce([{ keep: { points: 1 } }], 100);
      await records.announce([], 50);
      assert.deepEqual(
        (await records.schedule()).map(({ since }) => since),
        [100, 101],
      );
    });

    it('keeps how far each generation has been swept', async () => {
      const { records } = opened;
      assert.equal(await records.sweepOf(live), undefined);
      assert.equal(await records.activeSweep('telemetry'), undefined);
      await records.saveSweep(live, sweep);
      await records.saveSweep({ ...live, generation: 2 }, { ...sweep, after: 'd-9' });
      assert.deepEqual({ ...(await records.sweepOf(live)) }, sweep);
      assert.deepEqual({ ...(await records.activeSweep('telemetry')) }, sweep);
      const done = { ...sweep, sweptTo: 5 * day, target: null, after: '', endedAt: 6 * day };
      await records.saveSweep(live, done);
      assert.deepEqual({ ...(await records.sweepOf(live)) }, done);
    });

    it('gives a turn to one at a time, and to another once that one is gone', async () => {
      const { records } = opened;
      const alive = (id: string) => ({ id, isExpired: () => false });
      assert.equal(await records.acquireLease(alive('one')), true);
      assert.equal(await records.acquireLease(alive('one')), true);
      assert.equal(await records.acquireLease(alive('other')), false);
      await records.releaseLease(alive('other'));
      assert.equal(await records.acquireLease(alive('other')), false);
      assert.equal(
        await records.acquireLease({ id: 'other', isExpired: (runner) => runner === 'one' }),
        true,
      );
      await records.releaseLease(alive('other'));
      assert.equal(await records.acquireLease(alive('one')), true);
    });
  });

  describe(`${adapter} honours KeptTables`, function () {
    this.timeout(60_000);
    let opened: Opened<Adapters>;
    let fixture: ReadModelFixture;
    beforeEach(async () => {
      opened = await open();
      fixture = await readModelFixture(opened.db);
    });
    afterEach(() => opened.close());

    const order = (changed: Partial<Order> = {}): Order => ({
      kind: 'points',
      deviceId: 'd-1',
      from: Number.NEGATIVE_INFINITY,
      to: 2 * day,
      horizonOf: () => 2 * day,
      shared: false,
      limit: 1000,
      ...changed,
    });
    const reading = (deviceId: string, timestamp: number, metrics: Record<string, number> = { temp: 1 }) => ({
      deviceId,
      timestamp,
      metrics,
    });
    async function left(kind: RetentionTarget = 'points') {
      const [base, time] = kind === 'points' ? ['telemetry', 'ts'] : [`telemetry_${kind}`, 'bucket'];
      const rows = await opened.db.rows<[string, number, string]>(
        `SELECT device_id, ${time}, metrics FROM ${base}_g1 ORDER BY device_id, ${time}`,
      );
      return rows.map(([id, at, metrics]) => [id, at, Object.keys(JSON.parse(metrics))]);
    }
    const expired = () =>
      opened.db.rows('SELECT device_id, day, expired FROM telemetry_expired_g1 ORDER BY device_id');

    it('removes a range step by step, of one device only, and counts its points as expired', async () => {
      await fixture.measured(
        ...[0, 1, 2, day].map((at) => reading('d-1', at)),
        reading('d-1', 2 * day),
        reading('d-2', 0),
      );
      const { tables } = opened;
      assert.equal(await tables.count(live, order()), 4);
      const first = await tables.trim(live, order({ limit: 3 }));
      assert.deepEqual(first, { removed: 3, trimmed: 0, next: 3 });
      const second = await tables.trim(live, order({ limit: 3, from: 3 }));
      assert.deepEqual(second, { removed: 1, trimmed: 0, next: null });
      assert.deepEqual(await tables.trim(live, order()), { removed: 0, trimmed: 0, next: null });
      assert.deepEqual(await left(), [
        ['d-1', 2 * day, ['temp']],
        ['d-2', 0, ['temp']],
      ]);
      assert.deepEqual(await expired(), [['d-1', 0, 4]]);
    });

    it('takes from a row the metrics that are too old, and removes it when none is left', async () => {
      await fixture.measured(
        reading('d-1', 0, { temp: 1, vib: 2 }),
        reading('d-1', 1, { vib: 2 }),
        reading('d-1', 2, { temp: 1 }),
      );
      const horizonOf = (metric: string) => (metric === 'vib' ? 2 * day : 0);
      assert.deepEqual(await opened.tables.trim(live, order({ horizonOf, shared: true })), {
        removed: 1,
        trimmed: 1,
        next: null,
      });
      assert.deepEqual(await left(), [
        ['d-1', 0, ['temp']],
        ['d-1', 2, ['temp']],
      ]);
      assert.deepEqual(await expired(), [['d-1', 0, 1]]);
    });

    it('removes rollups of each level alone, and counts none of them as expired', async () => {
      await fixture.measured(reading('d-1', 0), reading('d-1', 3 * day));
      for (const kind of ['1m', '1h', '1d'] as const) {
        assert.equal((await opened.tables.trim(live, order({ kind }))).removed, 1, kind);
        assert.deepEqual(await left(kind), [['d-1', 3 * day, ['temp']]]);
      }
      assert.equal((await left()).length, 2);
      assert.deepEqual(await expired(), []);
    });

    it('has projectors forget what they hold when it changes the newest rollup of a device', async () => {
      await fixture.measured(reading('d-1', 0, { temp: 1, vib: 2 }), reading('d-2', 0), reading('d-2', day));
      await opened.db.run(`INSERT INTO checkpoints (projection, generation, part, position, epoch, updated_at)
        VALUES ('telemetry', 1, 0, '3', 7, 0)`);
      const epoch = async () => (await opened.db.rows<[number]>('SELECT epoch FROM checkpoints'))[0]?.[0];
      const horizonOf = (metric: string) => (metric === 'vib' ? 2 * day : 0);
      await opened.tables.trim(live, order({ kind: '1d', deviceId: 'd-2', shared: true, horizonOf }));
      assert.equal(await epoch(), 7);
      await opened.tables.trim(live, order({ kind: '1d', shared: true, horizonOf }));
      assert.equal(await epoch(), 8);
    });

    it('tells the devices of which anything was ever counted, in order', async () => {
      const counts = { stored: 1, duplicate: 0, corrected: 0, deadLettered: 0, late: 0, retracted: 0 };
      await fixture.ledgered(
        ...['d-2', 'd-1', '', 'd-3'].flatMap((deviceId) => [
          { ...counts, deviceId, day: 0 },
          { ...counts, deviceId, day },
        ]),
      );
      const { tables } = opened;
      assert.deepEqual(await tables.devices(live, '', 2), ['d-1', 'd-2']);
      assert.deepEqual(await tables.devices(live, 'd-2', 2), ['d-3']);
      assert.deepEqual(await tables.devices(live, 'd-3', 2), []);
    });
  });
}
