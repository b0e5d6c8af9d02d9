import assert from 'node:assert/strict';
import type { AlarmRecords, Announcement } from '../../../application/ports/detection.ts';
import type { Delivery, HookDeliveries } from '../../../application/ports/hooks.ts';
import { sqlHookDeliveries } from '../../../infrastructure/sql/hook-deliveries.ts';
import type { Sql, SqlValue } from '../../../infrastructure/sql/sql.ts';
import { services as s } from '../../../interfaces/composition/services.ts';
import { onEachEngine, type ReadModelStore } from '../../support/each-engine.ts';
import { type ReplayFixture, replayFixture } from '../../support/replay-fixture.ts';

const announcement = (alarmId: string): Announcement => ({
  alarmId,
  ruleId: 'r',
  ruleRevision: 0,
  ruleName: 'R',
  kind: 'range',
  severity: 'warning',
  deviceId: 'a',
  metric: 't',
  change: 'raised',
  at: 1000,
  value: 31,
  magnitude: 1,
  explanation: '31 is above 30',
  correlationId: 'c',
  notify: ['one'],
});

onEachEngine('Deliveries to hooks', (open) => {
  let stores: ReadModelStore;
  let fixture: ReplayFixture;
  let records: AlarmRecords;
  let deliveries: HookDeliveries;

  before(async () => {
    stores = await open();
    fixture = await replayFixture(stores.env);
    records = await fixture.container.getAsync(s.alarmRecords);
    deliveries = await fixture.container.getAsync(s.hookDeliveries);
  });
  beforeEach(async () => {
    for (const hookId of ['one', 'two']) await deliveries.drop(hookId);
  });
  after(async () => {
    await fixture?.close();
    await stores?.drop();
  });

  const outbox = (alarmId: string) =>
    fixture.db.write(
      'insert',
      'alarm_outbox',
      ['alarm_id', 'announcement'],
      [[alarmId, JSON.stringify(announcement(alarmId))]],
    );

  /** Announces a change of the alarm, for each hook. */
  async function add(eventId: string, alarmId: string, hookIds = ['one'], now = 100) {
    await outbox(alarmId);
    const found = (await records.announcements(10)).map(({ seq, announcement }) => ({
      seq,
      deliveries: hookIds.map((hookId) => ({ hookId, alarmId, eventId, announcement })),
    }));
    await records.announced(found, now);
    return found;
  }
  const events = async (hookId = 'one') =>
    (await deliveries.list(hookId, { limit: 100 })).map(({ eventId }) => eventId);
  const taken = async (now = 100, hookId = 'one', limit = 10) =>
    (await deliveries.take(hookId, now, now + 30, limit)).map(({ eventId }) => eventId);

  it('are put down once, with the note that their alarm is announced, by whoever notes it first', async () => {
    const found = await add('e1', 'a1', ['one', 'two']);
    assert.deepEqual(await records.announcements(10), []);
    await Promise.all([records.announced(found, 200), records.announced(found, 300)]);
    assert.deepEqual([await events('one'), await events('two')], [['e1'], ['e1']]);
    const [delivery] = await deliveries.take('one', 100, 130, 1);
    if (delivery) await deliveries.delivered(delivery);
    await records.announced(found, 400);
    assert.deepEqual([await events('one'), await events('two')], [[], ['e1']]);
  });

  it('are taken in order of an alarm, one at a time, and by one process', async () => {
    for (const [eventId, alarmId] of [
      ['e1', 'a1'],
      ['e2', 'a2'],
      ['e3', 'a1'],
    ] as const)
      await add(eventId, alarmId);
    assert.deepEqual(await taken(99), []);
    const both = await Promise.all([taken(), taken()]);
    assert.deepEqual(both.flat().sort(), ['e1', 'e2']);
    assert.deepEqual(await taken(129), []);
    // Whoever took them was not heard of.
    const again = await deliveries.take('one', 130, 160, 10);
    assert.deepEqual(
      again.map(({ eventId, tries }) => [eventId, tries]),
      [
        ['e1', 2],
        ['e2', 2],
      ],
    );
    for (const delivery of again) await deliveries.delivered(delivery);
    assert.deepEqual(await taken(130), ['e3']);
    assert.deepEqual(await deliveries.dueHooks(131), []);
    assert.deepEqual(await deliveries.dueHooks(160), ['one']);
  });

  it('that failed let the next of the alarm pass, and are tried again when somebody says so', async () => {
    await add('e1', 'a1');
    await add('e2', 'a1');
    const [first] = await deliveries.take('one', 100, 130, 1);
    assert.ok(first);
    await deliveries.retryLater(first, 500, 'answered 503');
    assert.deepEqual(await taken(499), []);
    const [later] = await deliveries.take('one', 500, 530, 1);
    assert.ok(later);
    // Of an earlier try, by a process that was slow.
    await deliveries.failed(first, 'late');
    assert.deepEqual(await deliveries.list('one', { state: 'failed', limit: 10 }), []);
    await deliveries.failed(later, 'answered 500');
    const [failed] = await deliveries.list('one', { state: 'failed', limit: 10 });
    assert.deepEqual(
      [failed?.eventId, failed?.tries, failed?.error, failed?.createdAt],
      ['e1', 2, 'answered 500', 100],
    );
    assert.deepEqual(failed?.announcement, announcement('a1'));
    assert.deepEqual(await taken(500), ['e2']);
    assert.deepEqual(
      [...(await deliveries.counts())].sort((a, b) => (a.state < b.state ? -1 : 1)),
      [
        { state: 'failed', count: 1, oldest: 100 },
        { state: 'waiting', count: 1, oldest: 100 },
      ],
    );
    assert.equal(await deliveries.retry('two', 600), 0);
    assert.equal(await deliveries.retry('one', 600, (failed?.deliveryId ?? 0) + 1), 0);
    assert.equal(await deliveries.retry('one', 600, failed?.deliveryId), 1);
    assert.deepEqual(await taken(600), ['e1']);
  });

  it('that are repeated come again when due, unless a change of their alarm is to be sent first', async () => {
    await add('e1', 'a1');
    const [raised] = await deliveries.take('one', 100, 130, 1);
    assert.ok(raised);
    await deliveries.repeatLater(raised, 400);
    assert.deepEqual([await events(), await deliveries.counts()], [[], []]);
    assert.deepEqual(await taken(399), []);
    const [again] = await deliveries.take('one', 400, 430, 1);
    assert.deepEqual([again?.state, again?.tries], ['repeating', 1]);
    await deliveries.retryLater(again ?? raised, 500, 'answered 503');
    await add('e2', 'a1');
    assert.deepEqual(await taken(500), ['e2']);
    const [escalated] = await deliveries.list('one', { state: 'waiting', limit: 10 });
    assert.ok(escalated);
    await deliveries.repeatLater(escalated, 600);
    // Of an answer that came late, to what is no longer repeated.
    await deliveries.repeatLater(raised, 550);
    const repeating = await deliveries.list('one', { state: 'repeating', limit: 10 });
    assert.deepEqual(
      repeating.map(({ eventId, dueAt, tries }) => [eventId, dueAt, tries]),
      [['e2', 600, 0]],
    );
    await add('e3', 'a1');
    const [cleared] = await deliveries.take('one', 600, 630, 10);
    assert.equal(cleared?.eventId, 'e3');
    await deliveries.delivered(cleared ?? raised);
    assert.deepEqual(await deliveries.list('one', { state: 'repeating', limit: 10 }), []);
    assert.deepEqual(await deliveries.dueHooks(1000), []);
  });

  describe('about many alarms', () => {
    const second = 1000;

    /** Announces an alarm that hooks are told of in a summary. */
    async function count(eventId: string, now: number, hookIds = ['one']) {
      await outbox(eventId);
      const found = (await records.announcements(10)).map(({ seq, announcement }) => ({
        seq,
        deliveries: [],
        summarized: { hookIds, eventId, raisedAt: 1000, announcement },
      }));
      await records.announced(found, now);
      return found;
    }
    const raised = (of: readonly Delivery[]) =>
      of.map(({ announcement }) =>
        announcement.change === 'summarized' ? announcement.rules.map((rule) => rule.raised) : 'one alarm',
      );

    it('count each once until a minute after the last, and hold up no other', async () => {
      const found = await count('e1', 0, ['one', 'two']);
      await Promise.all([records.announced(found, 1), records.announced(found, 2)]);
      await count('e2', 50 * second);
      await add('e3', 'a1', ['one'], 60 * second);
      const taken = await deliveries.take('one', 60 * second, 500 * second, 10);
      assert.deepEqual(raised(taken), ['one alarm']);
      assert.deepEqual(raised(await deliveries.take('two', 60 * second, 500 * second, 10)), [[1]]);
      const [summary] = await deliveries.take('one', 110 * second, 500 * second, 10);
      assert.deepEqual([summary?.eventId, summary?.alarmId, summary?.state], ['e1', '', 'waiting']);
      // It may be at the receiver already.
      await count('e4', 111 * second);
      const listed = await deliveries.list('one', { limit: 10 });
      assert.deepEqual(raised(listed), [[2], 'one alarm', [1]]);
    });

    it('count for ten minutes at most, and all that they are read without before they are taken', async () => {
      for (let at = 0; at <= 550; at += 50) await count(`e${at}`, at * second);
      const [gathered] = await deliveries.list('one', { limit: 10 });
      assert.deepEqual([gathered?.dueAt, raised(gathered ? [gathered] : [])], [600 * second, [[12]]]);
      const { db } = fixture;
      const counting: Sql = {
        dialect: db.dialect,
        rows: (text, params) => db.rows(text, params),
        run: (text, params) => db.run(text, params),
        write: (mode, table, columns, rows) => db.write(mode, table, columns, rows),
        async all<T>(text: string, params?: readonly SqlValue[]) {
          const found = await db.all<T>(text, params);
          await count('late', 599 * second);
          return found;
        },
      };
      const slow = sqlHookDeliveries(counting);
      assert.deepEqual(await slow.take('one', 600 * second, 700 * second, 10), []);
      assert.deepEqual(raised(await deliveries.take('one', 600 * second, 700 * second, 10)), [[13]]);
    });
  });
});
