import assert from 'node:assert/strict';
import { rebuild, rebuildDevice } from '../../../application/rebuild/rebuild.ts';
import { retentionSweeper } from '../../../application/retention/sweeper.ts';
import { sqlAuditTables } from '../../../infrastructure/sql/audit.ts';
import { sweepPorts } from '../../../interfaces/composition/retention.ts';
import { services as s } from '../../../interfaces/composition/services.ts';
import { onEachEngine } from '../../support/each-engine.ts';
import { quiet, type ReplayFixture, replayFixture } from '../../support/replay-fixture.ts';

const day = 86_400_000;
const today = Math.floor(Date.now() / day) * day;
const builder = { id: 'a test', isExpired: () => false };
const signal = new AbortController().signal;
const options = { builder, signal, handover: 0 };

onEachEngine('The totals of the status', (openStore) => {
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

  const ledgerTotals = async () => (await fixture.container.getAsync(s.progressQueries)).ledgerTotals();

  /** Those that are on record, which are what a recount finds. */
  async function recounted(generation: number) {
    const { ledger, totals } = await sqlAuditTables(fixture.db).totals({
      projection: 'telemetry',
      generation,
    });
    assert.deepEqual(totals, ledger);
    assert.deepEqual(await ledgerTotals(), totals);
    return totals;
  }

  async function sweep(): Promise<void> {
    const { control, readModels } = fixture.ports;
    const ports = { ...(await sweepPorts(fixture.container)), control, readModels, source: fixture.source };
    await retentionSweeper({ ...ports, clock: { now: Date.now } }, builder, quiet).once(signal);
  }

  const recorded = (deviceId: string, at: number, n: unknown, receivedAt = at) =>
    fixture.publishRaw({ deviceId, timestamp: at, metrics: { n } }, { receivedAt });

  /** Everything that can become of a reading but `late` and `expired`, of five days. */
  async function history(): Promise<() => Promise<void>> {
    for (const id of ['a', 'b']) await fixture.register(id);
    for (let days = 5; days > 0; days -= 1)
      for (const id of ['a', 'b']) for (const n of [1, 2, 3]) await recorded(id, today - days * day + n, n);
    await recorded('a', today - day + 1, 1);
    await recorded('a', today - day + 2, 7);
    await recorded('a', today, 'x'.repeat(1000));
    await fixture.publishRaw(
      { deviceId: 'b', from: today - day, to: today - day + 2, reason: 'wrong' },
      { type: 'TelemetryRetracted' },
    );
    const stop = fixture.consuming();
    await fixture.consumed('telemetry');
    return stop;
  }

  const usual = {
    stored: 30,
    duplicate: 1,
    corrected: 1,
    deadLettered: 1,
    late: 0,
    retracted: 1,
    expired: 0,
  };

  it('are the sums of the ledger, and read none of it', async () => {
    await history();
    assert.deepEqual(await recounted(1), usual);
    assert.deepEqual((await fixture.audit()).totalDifferences, []);
    await fixture.db.run('DELETE FROM telemetry_ledger_g1');
    assert.deepEqual(await ledgerTotals(), usual);
    assert.deepEqual(
      (await fixture.audit()).totalDifferences.find(({ outcome }) => outcome === 'stored'),
      { outcome: 'stored', expected: 0, found: 30 },
    );
    assert.deepEqual((await fixture.audit({ deviceId: 'a' })).totalDifferences, [], 'of all devices alone');
  });

  it('are right after a sweep, a rebuild and a repair of one device', async () => {
    await (await fixture.container.getAsync(s.retentionRecords)).announce([{ keep: { points: 3 } }], 0);
    const stop = await history();
    await recorded('b', today - 4 * day, 5, today);
    await fixture.consumed('telemetry');
    await sweep();
    const swept = { ...usual, late: 1, expired: 12 };
    assert.deepEqual(await recounted(1), swept);
    await rebuild(fixture.pipelines.telemetry, fixture.ports, options);
    assert.deepEqual(await recounted(2), swept);
    await stop();
    await fixture.db.run("UPDATE telemetry_ledger_g2 SET stored_count = 0 WHERE device_id = 'a'");
    const device = { deviceId: 'a', stream: 'device-a' };
    await rebuildDevice(fixture.pipelines.telemetry, device, fixture.ports, options);
    // The rows of the device come from the log again; of what somebody changed by hand no total knows.
    const { ledger, totals } = await sqlAuditTables(fixture.db).totals({
      projection: 'telemetry',
      generation: 2,
    });
    assert.deepEqual(ledger, swept);
    assert.equal(totals.stored - ledger.stored, 15);
  });

  it('are right after the stream of a device was deleted', async () => {
    await (await fixture.container.getAsync(s.retentionRecords)).announce([{ keep: { points: 3 } }], 0);
    await history();
    await sweep();
    const { erased } = await sweepPorts(fixture.container);
    await erased.removeDeleted({ projection: 'telemetry', generation: 1 }, 'a');
    const { stored, late, expired } = await recounted(1);
    assert.deepEqual({ stored, late, expired }, { stored: 15, late: 17, expired: 6 });
  });

  it('are those of the ledger while workers of a release without totals write, and whole after that', async () => {
    await history();
    const { tables } = await sweepPorts(fixture.container);
    const live = { projection: 'telemetry', generation: 1 };
    const older = async (at: number) => {
      await fixture.db.run(
        "UPDATE telemetry_ledger_g1 SET stored_count = stored_count + 1 WHERE device_id = 'a' AND day = ?",
        [today - day],
      );
      await fixture.db.write(
        'replace',
        'checkpoints',
        ['projection', 'generation', 'part', 'position', 'epoch', 'updated_at'],
        [['telemetry', 1, 0, '1000', 0, at]],
      );
    };
    const now = Date.now();
    await older(now);
    assert.equal((await ledgerTotals()).stored, 31);
    await tables.completeTotals(live, now);
    await assert.rejects(recounted(1));
    await fixture.ports.readModels.transact(live, 0, async ({ telemetry }) => {
      await telemetry.write({
        ledger: [
          {
            deviceId: 'a',
            day: 0,
            ...usual,
            stored: 1,
            duplicate: 0,
            corrected: 0,
            deadLettered: 0,
            retracted: 0,
          },
        ],
      });
      return '1001';
    });
    assert.equal((await ledgerTotals()).stored, 32);
    await tables.completeTotals(live, now);
    assert.equal((await recounted(1)).stored, 32);
    await older(now - 3_600_000);
    await tables.completeTotals(live, now);
    assert.equal((await recounted(1)).stored, 33);
    // As a retry of a dead letter by that release does.
    await fixture.db.run('UPDATE telemetry_ledger_g1 SET late = late + 1');
    await fixture.db.run("UPDATE checkpoints SET epoch = epoch + 1 WHERE projection = 'telemetry'");
    const { late } = await ledgerTotals();
    assert.ok(late > 1);
    await tables.completeTotals(live, now);
    assert.equal((await recounted(1)).late, late);
  });
});
