import assert from 'node:assert/strict';
import { rebuild, rebuildDevice } from '../../../application/rebuild/rebuild.ts';
import { initialSweep, sweepDevices } from '../../../application/retention/sweep.ts';
import { retentionSweeper } from '../../../application/retention/sweeper.ts';
import type { RetentionPolicy } from '../../../domain/retention.ts';
import { operationsOf } from '../../../interfaces/composition/application.ts';
import { sweepPorts } from '../../../interfaces/composition/retention.ts';
import { services as s } from '../../../interfaces/composition/services.ts';
import { onEachEngine } from '../../support/each-engine.ts';
import { quiet, type ReplayFixture, replayFixture } from '../../support/replay-fixture.ts';

const day = 86_400_000;
const today = Math.floor(Date.now() / day) * day;
const ago = (days: number) => today - days * day + 3_600_000;
const builder = (runner: string) => ({ id: runner, isExpired: () => false });
const signal = new AbortController().signal;

onEachEngine('What is no longer kept', (openStore) => {
  let fixture: ReplayFixture;
  let drop: () => Promise<void>;
  beforeEach(async () => {
    const store = await openStore();
    drop = store.drop;
    fixture = await replayFixture(store.env);
  });
  afterEach(async () => {
    await fixture.close();
    await drop();
  });

  /** In force from the beginning. */
  async function policy(rules: RetentionPolicy): Promise<void> {
    await (await fixture.container.getAsync(s.retentionRecords)).announce(rules, 0);
  }

  async function keeperOf(runner = 'the keeper') {
    const ports = {
      ...(await sweepPorts(fixture.container)),
      control: fixture.ports.control,
      readModels: fixture.ports.readModels,
      source: fixture.source,
      clock: { now: Date.now },
    };
    return retentionSweeper(ports, builder(runner), quiet);
  }

  /** A reading that came when it was measured. */
  const recorded = (deviceId: string, at: number, metrics: object) =>
    fixture.publishRaw({ deviceId, timestamp: at, metrics }, { receivedAt: at });

  /** Three devices over ten days, two readings a day. */
  async function history(): Promise<void> {
    for (const deviceId of ['a', 'b', 'c']) await fixture.register(deviceId);
    for (let days = 10; days > 0; days -= 1)
      for (const deviceId of ['a', 'b', 'c'])
        for (const offset of [0, 60_000])
          await recorded(deviceId, ago(days) + offset, { temp: days, vib: 1 });
    fixture.consuming();
    await fixture.consumed('telemetry');
  }

  const rowsOf = async (table: string) =>
    Number((await fixture.db.rows<[number]>(`SELECT COUNT(*) FROM ${table}`))[0]?.[0]);
  const oldest = async (table: string, time: string) =>
    Number((await fixture.db.rows<[number]>(`SELECT MIN(${time}) FROM ${table}`))[0]?.[0]);

  const audited = () => fixture.audit();

  it('is removed by whole days, rollups later than points, and the audit finds no difference', async () => {
    await policy([{ keep: { points: 3, '1m': 5, '1h': 7 } }]);
    await history();
    const { removed } = await (await keeperOf()).once(signal);
    assert.deepEqual(removed, { points: 42, '1m': 30, '1h': 9, '1d': 0, trimmed: 0 });
    assert.equal(await oldest('telemetry_g1', 'ts'), ago(3));
    assert.equal(await oldest('telemetry_1m_g1', 'bucket'), ago(5));
    assert.equal(await oldest('telemetry_1h_g1', 'bucket'), ago(7));
    assert.equal(await rowsOf('telemetry_1d_g1'), 30);
    const { totals, differences } = await audited();
    assert.deepEqual(differences, []);
    assert.equal(totals.stored, 60);
    assert.equal(totals.expired, 42);
    assert.equal(totals.rows, 18);
  });

  it('is chosen by type and metric', async () => {
    await policy([
      { metric: 'vib', keep: { points: 2 } },
      { type: 'other', keep: { points: 1 } },
    ]);
    await history();
    const { removed } = await (await keeperOf()).once(signal);
    assert.deepEqual(removed, { points: 0, '1m': 0, '1h': 0, '1d': 0, trimmed: 48 });
    assert.deepEqual((await audited()).differences, []);
    const vibration = await fixture.db.rows<[number]>("SELECT MIN(ts) FROM telemetry WHERE metric = 'vib'");
    assert.equal(Number(vibration[0]?.[0]), ago(2));
  });

  it('is found by an audit when more is gone than was counted', async () => {
    await policy([{ keep: { points: 3 } }]);
    await history();
    await (await keeperOf()).once(signal);
    await fixture.db.run("DELETE FROM telemetry_g1 WHERE device_id = 'a'");
    const { differences } = await audited();
    assert.equal(differences.filter(({ kind }) => kind === 'rows').length, 3);
    assert.ok(differences.some(({ kind }) => kind === 'latest'));
    assert.ok(differences.some(({ kind }) => kind === 'minutes'));
  });

  it('does not come back with a rebuild, whose tables are equal', async () => {
    await policy([{ keep: { points: 3, '1m': 5 } }, { metric: 'vib', keep: { points: 1 } }]);
    await history();
    await (await keeperOf()).once(signal);
    const options = { builder: builder('operator'), signal, handover: 0 };
    const { switched, comparison } = await rebuild(fixture.pipelines.telemetry, fixture.ports, options);
    assert.deepEqual(
      comparison.tables.filter(({ equal }) => !equal),
      [],
    );
    assert.ok(switched);
    assert.equal(await oldest('telemetry_g2', 'ts'), ago(3));
    assert.equal(await rowsOf('telemetry_1d_g2'), 30);
    assert.deepEqual((await audited()).differences, []);
    // The next one continues from where the sweep of the old one had come to.
    const { sweptTo } =
      (await (await fixture.container.getAsync(s.retentionRecords)).activeSweep('telemetry')) ?? initialSweep;
    assert.ok(sweptTo !== null && sweptTo > today - day);
  });

  it('does not come back with a rebuild while it is half removed', async () => {
    await policy([{ keep: { points: 3 } }]);
    await history();
    const records = await fixture.container.getAsync(s.retentionRecords);
    const live = { projection: 'telemetry', generation: 1 };
    // Killed in the page behind `a`: some of `b` is gone.
    const target = today + 1;
    const ports = await sweepPorts(fixture.container);
    await sweepDevices(live, ['a'], () => ({ before: null, target }), ports, signal);
    await records.saveSweep(live, { ...initialSweep, target, after: 'a' });
    await ports.tables.trim(live, {
      kind: 'points',
      deviceId: 'b',
      from: 0,
      to: ago(9),
      horizonOf: () => ago(9),
      shared: false,
      limit: 10,
    });
    const options = { builder: builder('operator'), signal, handover: 0 };
    const { comparison } = await rebuild(fixture.pipelines.telemetry, fixture.ports, options);
    assert.ok(comparison.equal, JSON.stringify(comparison.tables));
    assert.deepEqual((await audited()).differences, []);
  });

  it('does not come back with the rebuild of a device', async () => {
    await policy([{ keep: { points: 3 } }]);
    await history();
    await (await keeperOf()).once(signal);
    await fixture.db.run("DELETE FROM telemetry_g1 WHERE device_id = 'a'");
    const options = { builder: builder('operator'), signal };
    const which = { deviceId: 'a', stream: 'device-a' };
    await rebuildDevice(fixture.pipelines.telemetry, which, fixture.ports, options);
    assert.equal(await rowsOf('telemetry_g1'), 18);
    assert.deepEqual((await audited()).differences, []);
  });

  it('goes at once when its dead letters are retried behind the sweep, as a rebuild has it', async () => {
    await policy([{ keep: { points: 3, '1m': 5 } }, { metric: 'vib', keep: { points: 1 } }]);
    await history();
    // More than are retried in a transaction; the last one corrects the first.
    const times = [...Array.from({ length: 600 }, (_, n) => ago(6) + n), ago(6)];
    await fixture.log.publish({
      id: 'late',
      type: 'TelemetryRecorded',
      schemaVersion: 1,
      receivedAt: ago(4),
      correlationId: 'late',
      actor: 'test',
      events: times.map((timestamp, n) => ({ deviceId: 'late', timestamp, metrics: { temp: n } })),
    });
    await recorded('late', ago(2), { temp: 2, vib: 2 });
    await fixture.consumed('telemetry');
    await (await keeperOf()).once(signal);
    await fixture.register('late');
    const operations = await operationsOf(fixture.container, 'an operator');
    for await (const { applied, failed } of operations.deadLetterOperations.retry({
      projection: 'telemetry',
    }))
      assert.deepEqual([applied, failed], [602, null]);
    const left = await fixture.db.rows<[number, string]>(
      "SELECT ts, metrics FROM telemetry_g1 WHERE device_id = 'late' ORDER BY ts",
    );
    assert.deepEqual(
      left.map(([at, metrics]) => [Number(at), JSON.parse(metrics)]),
      [[ago(2), { temp: 2 }]],
    );
    const { totals, differences } = await audited();
    assert.deepEqual(differences, []);
    assert.equal(totals.expired, 42 + 600);
    const options = { builder: builder('operator'), signal, handover: 0 };
    const { comparison } = await rebuild(fixture.pipelines.telemetry, fixture.ports, options);
    assert.deepEqual(
      comparison.tables.filter(({ equal }) => !equal),
      [],
    );
  });

  it('counts a reading as late that comes when it would not be kept any more, and changes nothing', async () => {
    await policy([{ keep: { points: 3 } }]);
    await history();
    await (await keeperOf()).once(signal);
    const before = await fixture.db.rows('SELECT * FROM telemetry_1m_g1 ORDER BY device_id, bucket');
    await fixture.measure('a', [
      [ago(8), { temp: 8, vib: 1 }],
      [ago(8) + 5, { temp: 99 }],
    ]);
    await fixture.consumed('telemetry');
    const { totals, differences } = await audited();
    assert.deepEqual(differences, []);
    assert.equal(totals.late, 2);
    assert.equal(totals.rows, 18);
    assert.deepEqual(
      await fixture.db.rows('SELECT * FROM telemetry_1m_g1 ORDER BY device_id, bucket'),
      before,
    );
  });

  it('leaves rollups alone when points are taken back that are gone already', async () => {
    await policy([{ keep: { points: 3 } }]);
    await history();
    await (await keeperOf()).once(signal);
    await fixture.publishRaw(
      { deviceId: 'a', from: 0, to: today + day, reason: 'wrong' },
      { type: 'TelemetryRetracted' },
    );
    await fixture.consumed('telemetry');
    const left = await fixture.db.rows<[number]>(
      "SELECT bucket FROM telemetry_1d_g1 WHERE device_id = 'a' ORDER BY bucket",
    );
    assert.deepEqual(
      left.map(([bucket]) => Number(bucket)),
      [10, 9, 8, 7, 6, 5, 4].map((days) => today - days * day),
    );
    const { totals, differences } = await audited();
    assert.deepEqual(differences, []);
    assert.equal(totals.retracted, 6);
  });

  it('waits while the projection has not consumed what came before', async () => {
    await policy([{ keep: { points: 3 } }]);
    await history();
    await fixture.ports.control.setPaused('telemetry', true);
    const stopped = new AbortController();
    await new Promise((resolve) => setImmediate(resolve));
    await recorded('a', ago(1) + 5, { temp: 1 });
    const { ends } = fixture.source;
    let asked = 0;
    const looking = {
      ends: async () => {
        asked += 1;
        if (asked === 3) stopped.abort(new Error('looked often enough'));
        return ends.call(fixture.source);
      },
    };
    const ports = {
      ...(await sweepPorts(fixture.container)),
      control: fixture.ports.control,
      // Stands where it stood before the last reading.
      readModels: { ...fixture.ports.readModels, checkpoint: async () => '1' },
      source: looking,
      clock: { now: Date.now },
    };
    await assert.rejects(
      retentionSweeper(ports, builder('the keeper'), quiet).once(stopped.signal),
      /often enough/,
    );
    assert.equal(await rowsOf('telemetry_expired_g1'), 0);
  });

  it('is what both the clock of the sweeper and that of the database say', async () => {
    await policy([{ keep: { points: 3 } }]);
    await history();
    const ports = await sweepPorts(fixture.container);
    const sweeper = retentionSweeper(
      {
        ...ports,
        records: { ...ports.records, now: async () => Date.now() },
        control: fixture.ports.control,
        readModels: fixture.ports.readModels,
        source: fixture.source,
        clock: { now: () => Date.now() + 30 * day },
      },
      builder('a clock that is ahead'),
      quiet,
    );
    assert.equal((await sweeper.once(signal)).removed.points, 42);
    assert.equal(await oldest('telemetry_g1', 'ts'), ago(3));
  });

  it('is removed by one of two at a time, each row counted once', async () => {
    await policy([{ keep: { points: 3 } }]);
    await history();
    const [one, other] = await Promise.all([keeperOf('one'), keeperOf('other')]);
    await Promise.all([one.once(signal), other.once(signal)]);
    assert.deepEqual((await audited()).differences, []);
    assert.equal((await audited()).totals.expired, 42);
  });
});
