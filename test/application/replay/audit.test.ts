import assert from 'node:assert/strict';
import { AuditEntries, type AuditQuery, audit } from '../../../application/operations/audit.ts';
import type { TelemetryRecord } from '../../../application/ports/telemetry-log.ts';
import { sqlAuditTables } from '../../../infrastructure/sql/audit.ts';
import { onEachEngine, type ReadModelStore } from '../../support/each-engine.ts';
import { type ReplayFixture, replayFixture } from '../../support/replay-fixture.ts';

const day = 86_400_000;
const live = { projection: 'telemetry', generation: 1 };

onEachEngine('The audit', (open) => {
  let stores: ReadModelStore;
  let fixture: ReplayFixture;

  beforeEach(async () => {
    stores = await open();
    fixture = await replayFixture(stores.env);
    for (const id of ['a', 'b', 'c']) await fixture.register(id);
  });
  afterEach(async () => {
    await fixture.close();
    await stores.drop();
  });

  const audited = (query: AuditQuery = {}, mostEntries?: number, source = fixture.source) =>
    audit(
      live,
      query,
      { source, tables: sqlAuditTables(fixture.db) },
      {
        group: 'audit',
        signal: new AbortController().signal,
        ...(mostEntries !== undefined && { mostEntries }),
      },
    );
  const recorded = (deviceId: string, timestamp: number, n: unknown, receivedAt: number) =>
    fixture.publishRaw({ deviceId, timestamp, metrics: { n } }, { receivedAt });

  /** Two days of everything that can become of a reading. */
  async function history() {
    await recorded('a', 1, 1, 10);
    await recorded('a', 1, 1, 11);
    await recorded('a', 1, 2, day + 1);
    await recorded('a', 2, 1, day + 2);
    await recorded('b', 1, 1, 20);
    await recorded('c', 1, 'x'.repeat(1000), day + 3);
    await recorded('c', 2, 1, day + 4);
    await fixture.publishRaw(
      { deviceId: 'b', from: 0, to: 5, reason: 'wrong' },
      { type: 'TelemetryRetracted' },
    );
    await fixture.publishRaw('no object at all', { receivedAt: 30 });
    const stop = fixture.consuming();
    await fixture.consumed('telemetry');
    await stop();
  }

  it('finds no difference where there is none, and counts what became of every reading', async () => {
    await history();
    await recorded('a', 3, 1, day + 5);
    const { totals, days, differences, entries, uncheckedBefore } = await audited();
    assert.deepEqual(differences, []);
    assert.equal(uncheckedBefore, null);
    assert.deepEqual(totals, {
      accepted: 9,
      stored: 4,
      duplicate: 1,
      corrected: 1,
      deadLettered: 2,
      late: 0,
      inFlight: 1,
      retracted: 1,
      expired: 0,
      rows: 3,
    });
    assert.deepEqual(
      days.map(({ day: at, accepted, deadLettered }) => [at, accepted, deadLettered]),
      [
        [0, 4, 1],
        [day, 5, 1],
      ],
    );
    assert.deepEqual(
      entries.map(({ deviceId, day: at, accepted }) => [deviceId, at, accepted]),
      [
        ['', 0, 1],
        ['a', 0, 2],
        ['a', day, 3],
        ['b', 0, 1],
        ['c', day, 2],
      ],
    );
  });

  it('can be asked of one device and of some days', async () => {
    await history();
    assert.equal((await audited({ deviceId: 'a' })).totals.accepted, 4);
    assert.equal((await audited({ from: day })).totals.accepted, 4);
    assert.equal((await audited({ to: 5 })).totals.accepted, 4);
    assert.equal((await audited({ deviceId: 'a', from: day + 3, to: day + 4 })).totals.accepted, 2);
    assert.deepEqual((await audited({ deviceId: 'a', from: day })).differences, []);
  });

  it('names every reading that the ledger lost, and every row that is missing or too many', async () => {
    await history();
    await fixture.db.run("UPDATE telemetry_ledger_g1 SET duplicate = 0 WHERE device_id = 'a' AND day = 0");
    await fixture.db.run("DELETE FROM telemetry_g1 WHERE device_id = 'a' AND ts = 2");
    await fixture.db.run(
      `INSERT INTO telemetry_g1 (device_id, ts, metrics, received_at, correlation_id, position)
       VALUES ('ghost', 1, '{}', 5, 'c', '1')`,
    );
    const { differences, differenceCount } = await audited();
    assert.equal(differenceCount, 3);
    assert.deepEqual(differences, [
      { deviceId: 'a', day: 0, kind: 'unaccounted', expected: 2, found: 1 },
      { deviceId: 'a', day, kind: 'rows', expected: 1, found: 0 },
      { deviceId: 'ghost', day: 0, kind: 'rows', expected: 0, found: 1 },
    ]);
  });

  it('says the same however little it may hold in memory', async () => {
    for (let n = 0; n < 60; n += 1) await fixture.register(`device-${n}`);
    for (let n = 0; n < 180; n += 1) await recorded(`device-${n % 60}`, n, n, (n % 3) * day);
    await history();
    await fixture.db.run("DELETE FROM telemetry_ledger_g1 WHERE device_id IN ('device-7', 'device-50')");
    const whole = await audited();
    assert.ok(whole.differenceCount > 0);
    assert.deepEqual(await audited({}, 20), whole);
  });

  it('holds no more than it may', () => {
    let seen = 0;
    let passes = 0;
    for (let start: number | undefined = 0; start !== undefined; passes += 1) {
      const entries: AuditEntries = new AuditEntries(start, 100);
      for (let n = 0; n < 1000; n += 1) {
        entries.add(`device-${n}`, 0, { accepted: 1 });
        assert.ok([...entries.values()].length <= 100);
      }
      for (const { accepted } of entries.values()) seen += accepted;
      start = entries.next;
    }
    assert.equal(seen, 1000);
    assert.ok(passes >= 10 && passes < 30, `${passes}`);
  });

  it('leaves out the days that the log no longer has, and says so', async () => {
    await history();
    const lost = 2;
    const shorter: typeof fixture.source = {
      ...sourceLike(),
      expired: async () => new Map([[0, String(lost)]]),
      run: (consumer, options) =>
        fixture.source.run(
          {
            checkpoint: (partition) => consumer.checkpoint(partition),
            consume: (batch) => {
              const events = batch.events.filter(({ position }) => Number(position) > lost);
              return consumer.consume({ ...batch, events: events as readonly TelemetryRecord[] });
            },
          },
          options,
        ),
    };
    const { uncheckedBefore, differences, days } = await audited({}, undefined, shorter);
    assert.equal(uncheckedBefore, 2 * day);
    assert.deepEqual(differences, []);
    assert.deepEqual(days, []);
  });

  const sourceLike = () => ({
    name: fixture.source.name,
    ends: () => fixture.source.ends(),
    countAfter: (partition: number, position: string | null) =>
      fixture.source.countAfter(partition, position),
    partitioner: () => fixture.source.partitioner(),
    identity: () => fixture.source.identity(),
    eventAt: (partition: number, position: string) => fixture.source.eventAt(partition, position),
  });
});
