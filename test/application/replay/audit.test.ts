import assert from 'node:assert/strict';
import { type AuditQuery, audit } from '../../../application/operations/audit.ts';
import { AuditEntries } from '../../../application/operations/audit-entries.ts';
import type { RetentionLookup } from '../../../application/operations/derived-audit.ts';
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

  const audited = (
    query: AuditQuery = {},
    mostEntries?: number,
    source = fixture.source,
    retentionOf: RetentionLookup = async () => new Map(),
    gone: readonly string[] = [],
  ) =>
    audit(
      live,
      query,
      {
        source,
        tables: sqlAuditTables(fixture.db),
        retentionOf,
        goneAmong: async (ids) => new Set(gone.filter((id) => ids.has(id))),
      },
      {
        group: 'audit',
        now: 10 * day,
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
    await recorded('b', 1, 1, 20);
    await fixture.publishRaw('no object at all', { receivedAt: 30 });
    await recorded('a', 1, 2, day + 1);
    await recorded('a', 2, 1, day + 2);
    await recorded('c', 1, 'x'.repeat(1000), day + 3);
    await recorded('c', 2, 1, day + 4);
    await fixture.publishRaw(
      { deviceId: 'b', from: 0, to: 5, reason: 'wrong' },
      { type: 'TelemetryRetracted', receivedAt: day + 4 },
    );
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
    const { differences, differenceCount, totalDifferences } = await audited();
    assert.deepEqual(totalDifferences, [{ outcome: 'duplicate', expected: 0, found: 1 }]);
    const ofRows = differences.filter(({ kind }) => kind === 'unaccounted' || kind === 'rows');
    assert.equal(differenceCount, 7, 'with the rollups and newest values of the rows, and the total');
    assert.deepEqual(ofRows, [
      { deviceId: 'a', day: 0, kind: 'unaccounted', expected: 2, found: 1 },
      { deviceId: 'a', day, kind: 'rows', expected: 1, found: 0 },
      { deviceId: 'ghost', day: 0, kind: 'rows', expected: 0, found: 1 },
    ]);
  });

  describe('of what is derived from the points', () => {
    const minute = 60_000;
    const document = (table: string, id: string) =>
      fixture.db.rows<[number, string]>(
        `SELECT bucket, metrics FROM telemetry_${table}_g1 WHERE device_id = '${id}' ORDER BY bucket`,
      );
    const changed = async (table: string, id: string, change: (stats: unknown[]) => void) => {
      const [[bucket, text] = [0, '{}']] = await document(table, id);
      const metrics = JSON.parse(text);
      change(metrics.n);
      await fixture.db.run(
        `UPDATE telemetry_${table}_g1 SET metrics = ? WHERE device_id = ? AND bucket = ?`,
        [JSON.stringify(metrics), id, bucket],
      );
    };

    beforeEach(async () => {
      for (const [i, id] of ['a', 'b', 'c'].entries())
        for (let n = 0; n < 150; n += 1) await recorded(id, n * minute + i, n, 5 + n);
      await recorded('a', 0, 'text', 10);
      await recorded('b', day + 1, 7, 11);
      const stop = fixture.consuming();
      await fixture.consumed('telemetry');
      await stop();
    });

    it('finds none where rollups and newest values follow from the points', async () => {
      assert.deepEqual((await audited()).differences, []);
      assert.deepEqual((await audited({ deviceId: 'b' })).differences, []);
      assert.deepEqual((await audited({ from: 0, to: day })).differences, []);
      assert.deepEqual((await audited({}, 3)).differences, []);
    });

    it('names rollups that count other points than there are', async () => {
      await fixture.db.run("DELETE FROM telemetry_1m_g1 WHERE device_id = 'a' AND bucket = 60000");
      await changed('1h', 'b', (stats) => {
        stats[0] = 50;
      });
      await fixture.db.run("DELETE FROM telemetry_1d_g1 WHERE device_id = 'b' AND bucket = 86400000");
      assert.deepEqual((await audited()).differences, [
        { deviceId: 'a', day: 0, kind: 'minutes', expected: 150, found: 149 },
        { deviceId: 'a', day: 0, kind: 'hours', expected: 149, found: 150 },
        { deviceId: 'b', day: 0, kind: 'hours', expected: 150, found: 140 },
        { deviceId: 'b', day: 0, kind: 'days', expected: 140, found: 150 },
        { deviceId: 'b', day, kind: 'days', expected: 1, found: 0 },
      ]);
    });

    it('leaves out what is being removed of a device that is gone', async () => {
      await fixture.db.run("DELETE FROM telemetry_1m_g1 WHERE device_id = 'a'");
      const differing = (gone: readonly string[]) =>
        audited({}, undefined, fixture.source, undefined, gone).then(
          ({ differenceCount }) => differenceCount,
        );
      assert.equal(await differing(['b']), 2);
      assert.equal(await differing(['a']), 0);
    });

    it('names rollups and newest values that say something else of the same points', async () => {
      await changed('1m', 'c', (stats) => {
        stats[3] = -1;
      });
      await fixture.db.run(
        `UPDATE telemetry_latest_g1 SET metrics = '{"n":[8,86400001]}' WHERE device_id = 'b'`,
      );
      const { differences } = await audited({ sample: 1 });
      assert.deepEqual(
        differences.map(({ deviceId, kind, expected, found }) => [deviceId, kind, expected, found]),
        [
          ['b', 'latest', 1, 1],
          ['c', 'minutes', 150, 150],
          ['c', 'hours', 150, 150],
        ],
      );
    });

    it('leaves out what retention may have removed', async () => {
      await fixture.db.run("DELETE FROM telemetry_g1 WHERE device_id = 'b' AND ts < 86400000");
      await fixture.db.run("DELETE FROM telemetry_1m_g1 WHERE device_id = 'b' AND bucket < 3600000");
      const expiring: RetentionLookup = async () => new Map([['b', { horizon: () => day }]]);
      const kinds = ({ differences }: Awaited<ReturnType<typeof audited>>) =>
        differences.map(({ kind }) => kind).sort();
      assert.deepEqual(kinds(await audited({}, undefined, fixture.source, expiring)), ['rows']);
      assert.deepEqual(kinds(await audited()), ['hours', 'minutes', 'rows']);
    });
  });

  it('looks at a share of the devices, others each time', async () => {
    for (let n = 0; n < 200; n += 1) await fixture.register(`device-${n}`);
    for (let n = 0; n < 200; n += 1) await recorded(`device-${n}`, n, n, 5);
    const stop = fixture.consuming();
    await fixture.consumed('telemetry');
    await stop();
    const { totals, entries, differences } = await audited({ sample: 0.25 });
    assert.ok(totals.accepted > 20 && totals.accepted < 90, `${totals.accepted}`);
    assert.equal(totals.rows, totals.accepted);
    assert.equal(entries.length, totals.accepted);
    assert.deepEqual(differences, []);
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

  it('holds at most what it may', () => {
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
    const lost = 4;
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

  it('reads of the log what came on the days it is asked for, and little more', async () => {
    const noon = 43_200_000;
    for (let at = noon; at < 6 * day; at += day) {
      const data = Array.from({ length: 120 }, (_, n) => ({
        deviceId: 'a',
        timestamp: at + n,
        metrics: { n },
      }));
      await fixture.log.publish({
        id: `day-${at}`,
        type: 'TelemetryRecorded',
        schemaVersion: 1,
        receivedAt: at,
        correlationId: 'c',
        actor: 'test',
        events: data,
      });
    }
    const stop = fixture.consuming();
    await fixture.consumed('telemetry');
    await stop();
    const read: string[] = [];
    const watched: typeof fixture.source = {
      ...sourceLike(),
      positionsBefore: async (time) => (await fixture.source.positionsBefore?.(time)) ?? new Map(),
      // All but the first have expired: of the days asked for nothing.
      expired: async () => new Map([[0, '100']]),
      run: (consumer, options) =>
        fixture.source.run(
          {
            checkpoint: (partition) => consumer.checkpoint(partition),
            consume: (batch) => {
              read.push(...batch.events.map(({ position }) => position));
              return consumer.consume(batch);
            },
          },
          options,
        ),
    };
    const { totals, differences, uncheckedBefore } = await audited(
      { from: 2 * day, to: 3 * day },
      undefined,
      watched,
    );
    assert.deepEqual([totals.accepted, totals.stored, totals.rows], [120, 120, 120]);
    assert.deepEqual(differences, []);
    assert.equal(uncheckedBefore, null);
    assert.equal(read[0], '241');
    assert.ok(Number(read.at(-1)) <= 540, 'at most two batches of a hundred behind the days');
    assert.equal((await audited({ from: 5 * day }, undefined, watched)).totals.accepted, 120);
    assert.equal((await audited({ from: 7 * day }, undefined, watched)).totals.accepted, 0);
    assert.equal((await audited({ to: day }, undefined, watched)).uncheckedBefore, day);
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
