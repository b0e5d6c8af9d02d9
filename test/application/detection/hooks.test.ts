import assert from 'node:assert/strict';
import type { HookDeliveries } from '../../../application/ports/hooks.ts';
import { services as s } from '../../../interfaces/composition/services.ts';
import { eventually } from '../../support/eventually.ts';
import type { ReceivedHook } from '../../support/hook-receiver.ts';
import { HooksFixture, operator } from '../../support/hooks-fixture.ts';

const hot = { kind: 'range', above: 30 } as const;

describe('Alarms to hooks', function () {
  this.timeout(60_000);
  let fixture: HooksFixture;
  beforeEach(async () => {
    fixture = await HooksFixture.open();
  });
  afterEach(() => fixture.close());

  const changes = (received: readonly ReceivedHook[]) =>
    received.map(({ body }) => {
      const { data } = JSON.parse(body);
      return `${data.deviceId} ${data.change}`;
    });

  it('are sent in order of each alarm, with their id, to each hook of the rule and to no other', async () => {
    const [one, two, other] = [
      await fixture.hook('one'),
      await fixture.hook('two'),
      await fixture.hook('other'),
    ];
    await fixture.detection.rule('hot', { condition: hot, severity: 'critical', notify: ['one', 'two'] });
    await fixture.measure('a', 31, 20, 32, 20);
    await fixture.measure('b', 33);
    await fixture.detect();
    await fixture.sending();
    await fixture.emptied('one');
    await fixture.emptied('two');
    for (const { received } of [one, two]) {
      const alarms = Map.groupBy(received, ({ body }) => String(JSON.parse(body).subject));
      assert.deepEqual([...alarms.values()].map((some) => changes(some).join()).sort(), [
        'a raised,a cleared',
        'a raised,a cleared',
        'b raised',
      ]);
      assert.equal(new Set(received.map(({ id }) => id)).size, 5);
    }
    assert.equal(other.received.length, 0);
    assert.deepEqual(fixture.announced.sort(), [
      'range cleared',
      'range cleared',
      'range raised',
      'range raised',
      'range raised',
    ]);
    const alarm = (await fixture.detection.alarms()).find(({ device_id }) => device_id === 'a');
    const event = JSON.parse(
      one.received.find(({ body }) => body.includes(alarm?.alarm_id ?? ''))?.body ?? '',
    );
    const { ruleRevision: _, magnitude: __, correlationId: ___, ...data } = event.data;
    assert.deepEqual(
      { type: event.type, specversion: event.specversion, subject: event.subject, time: event.time, data },
      {
        type: 'fieldlog.alarm.raised',
        specversion: '1.0',
        subject: alarm?.alarm_id,
        time: new Date(fixture.start).toISOString(),
        data: {
          alarmId: alarm?.alarm_id,
          ruleId: 'hot',
          ruleName: 'hot',
          kind: 'range',
          severity: 'critical',
          deviceId: 'a',
          metric: 't',
          change: 'raised',
          at: new Date(fixture.start).toISOString(),
          value: 31,
          explanation: '31 is above 30',
        },
      },
    );
  });

  describe('of a series that is silenced', () => {
    const hour = 3_600_000;
    let receiver: Awaited<ReturnType<HooksFixture['hook']>>;

    beforeEach(async () => {
      receiver = await fixture.hook('one');
      await fixture.detection.rule('hot', { condition: hot, notify: ['one'] });
      await fixture.measure('a', 31, 20);
      await fixture.measure('b', 20);
      await fixture.detect();
      await fixture.sending();
      await fixture.emptied('one');
      assert.deepEqual(changes(receiver.received.splice(0)), ['a raised', 'a cleared']);
    });

    async function silence(until: number): Promise<void> {
      const alarms = await fixture.detection.container.getAsync(s.alarms);
      const { alarm_id } = (await fixture.detection.alarms())[0] ?? {};
      const view = await alarms.silence(alarm_id ?? '', { until, note: null }, operator);
      assert.deepEqual(view.silencing, { until, by: operator.actor, note: null });
    }
    /** A minute after the readings before. */
    async function measureNext(deviceId: string, ...values: readonly number[]): Promise<void> {
      fixture.start += 10_000;
      await fixture.measure(deviceId, ...values);
      await fixture.detect();
    }
    const states = async () => (await fixture.listed('one')).map(({ state }) => state);

    it('wait for its end, and are not sent when they are cleared before; of others they are sent', async () => {
      await silence(Date.now() + hour);
      await measureNext('a', 32, 20);
      assert.deepEqual(await states(), []);
      await measureNext('a', 33);
      await measureNext('b', 34);
      await eventually(async () => assert.deepEqual(await states(), ['silenced']));
      assert.deepEqual(changes(receiver.received), ['b raised']);
      fixture.ahead = hour + 1000;
      await fixture.emptied('one');
      assert.deepEqual(changes(receiver.received), ['b raised', 'a raised']);
      await measureNext('a', 20);
      await fixture.emptied('one');
      assert.deepEqual(changes(receiver.received), ['b raised', 'a raised', 'a cleared']);
    });

    it('are sent when it ends early, and later when it is made longer', async () => {
      await silence(Date.now() + hour);
      await measureNext('a', 32);
      await silence(Date.now() + 3 * hour);
      fixture.ahead = 2 * hour;
      assert.deepEqual(await states(), ['silenced']);
      await silence(Date.now());
      await fixture.emptied('one');
      assert.deepEqual(changes(receiver.received), ['a raised']);
    });

    it('end also during it, where they were sent before', async () => {
      await measureNext('a', 32);
      await fixture.emptied('one');
      await silence(Date.now() + hour);
      await measureNext('a', 20);
      await fixture.emptied('one');
      assert.deepEqual(changes(receiver.received), ['a raised', 'a cleared']);
    });
  });

  it('are sent again under the same id when the sender ended before it noted the answer', async () => {
    const receiver = await fixture.hook('one');
    await fixture.detection.rule('hot', { condition: hot, notify: ['one'] });
    await fixture.measure('a', 31, 20);
    await fixture.detect();
    const { deliveries } = await fixture.ports();
    const ended: HookDeliveries = {
      ...deliveries,
      delivered: () => Promise.reject(new Error('the process ended')),
    };
    const stop = await fixture.sending({ deliveries: ended });
    await eventually(() => assert.equal(receiver.received.length, 1));
    await stop();
    // Not before it is sure that nobody is sending it.
    const stopAgain = await fixture.sending();
    fixture.ahead = 29_000;
    assert.deepEqual(
      (await fixture.listed('one')).map(({ tries }) => tries),
      [1, 0],
    );
    fixture.ahead = 31_000;
    await fixture.emptied('one');
    await stopAgain();
    assert.deepEqual(changes(receiver.received), ['a raised', 'a raised', 'a cleared']);
    const [first, again, cleared] = receiver.received.map(({ id }) => id);
    assert.equal(first, again);
    assert.notEqual(first, cleared);
  });

  it('are tried again after the times of the schedule, or those that the receiver asks for', async () => {
    const receiver = await fixture.hook('one', (_, res, count) => {
      if (count === 1) return void res.writeHead(503).end();
      if (count === 2) return void res.writeHead(429, { 'Retry-After': '600' }).end();
      res.writeHead(200).end('{}');
    });
    await fixture.detection.rule('hot', { condition: hot, notify: ['one'] });
    await fixture.measure('a', 31, 20);
    await fixture.detect();
    await fixture.sending();
    const dueIn = async (tries: number) =>
      eventually(async () => {
        const [first, second] = await fixture.listed('one');
        assert.deepEqual([first?.tries, first?.state, second?.tries], [tries, 'waiting', 0]);
        assert.match(first?.error ?? '', /^the receiver answered (503|429)$/);
        assert.equal(fixture.outcomes.length, tries);
        return Math.round(((first?.dueAt ?? 0) - fixture.clock.now()) / 1000);
      });
    const first = await dueIn(1);
    assert.ok(first >= 3 && first <= 5, `${first} s`);
    fixture.ahead += 5_500;
    const second = await dueIn(2);
    assert.ok(second > 500 && second <= 600, `${second} s, not the minute of the schedule`);
    fixture.ahead += 601_000;
    await fixture.emptied('one');
    assert.deepEqual(fixture.outcomes, ['retried', 'retried', 'delivered', 'delivered']);
    assert.deepEqual(changes(receiver.received), ['a raised', 'a raised', 'a raised', 'a cleared']);
  });

  it('fail after the last try, or at once when no other would help, and are sent when retried', async () => {
    let status = 500;
    const receiver = await fixture.hook('one', (_, res) => void res.writeHead(status).end());
    await fixture.detection.rule('hot', { condition: hot, notify: ['one'] });
    await fixture.measure('a', 31);
    await fixture.detect();
    await fixture.sending();
    for (let tries = 1; tries < 7; tries += 1) {
      await eventually(() => assert.equal(fixture.outcomes.length, tries));
      fixture.ahead += 86_400_000;
    }
    const failed = () =>
      eventually(async () => {
        const [one] = await fixture.listed('one');
        assert.equal(one?.state, 'failed');
        return one;
      });
    assert.deepEqual([(await failed()).tries, fixture.outcomes.at(-1)], [7, 'failed']);
    status = 400;
    const { deliveries, hooks } = await fixture.ports();
    await deliveries.retry('one', fixture.clock.now());
    await eventually(() => assert.equal(receiver.received.length, 8));
    assert.equal((await failed()).error, 'the receiver answered 400');
    status = 410;
    await deliveries.retry('one', fixture.clock.now());
    await eventually(async () => assert.equal((await hooks.find('one'))?.status, 'disabled'));
    await failed();
    await deliveries.retry('one', fixture.clock.now());
    await eventually(async () => assert.equal((await failed()).error, 'the hook is disabled'));
    status = 200;
    await hooks.set('one', 'enable', operator);
    await deliveries.retry('one', fixture.clock.now());
    await fixture.emptied('one');
    assert.equal(new Set(receiver.received.map(({ id }) => id)).size, 1);
  });

  it('do not wait for a hook that does not answer', async () => {
    const silent = await fixture.hook('silent', () => {});
    const quick = await fixture.hook('quick');
    await fixture.detection.rule('hot', { condition: hot, notify: ['silent', 'quick'] });
    for (const deviceId of ['a', 'b']) await fixture.measure(deviceId, 31, 20, 31, 20, 31, 20);
    await fixture.detect();
    await fixture.sending();
    await fixture.emptied('quick');
    assert.equal(quick.received.length, 12);
    assert.equal((await fixture.listed('silent')).length, 12);
    assert.ok(silent.received.length <= 4);
  });

  it('of a history are not sent each, nor those of a hook that was removed', async () => {
    const [one, two] = [await fixture.hook('one'), await fixture.hook('two')];
    await fixture.detection.rule('hot', { condition: hot, notify: ['one', 'two'] });
    fixture.start = Date.now() - 2 * 3_600_000;
    await fixture.measure('a', 31, 20);
    fixture.start = Date.now() - 3_500_000;
    await fixture.measure('b', 31);
    await fixture.detect();
    // The other edge of what was sent is sent, however long it took.
    fixture.ahead = 10 * 3_600_000;
    fixture.start = Date.now();
    await fixture.measure('b', 20);
    await fixture.detect();
    await (await fixture.ports()).hooks.set('two', 'remove', operator);
    await fixture.sending();
    await fixture.emptied('one');
    await fixture.emptied('two');
    const [summaries, alarms] = byKind(one.received);
    assert.deepEqual(changes(alarms), ['b raised', 'b cleared']);
    assert.equal(summaries.length, 1);
    assert.equal(two.received.length, 0);
  });

  const byKind = (received: readonly ReceivedHook[]) => {
    const isSummary = ({ body }: ReceivedHook) => JSON.parse(body).type === 'fieldlog.alarms.summarized';
    return [received.filter(isSummary), received.filter((one) => !isSummary(one))] as const;
  };

  describe('that were old when they were found', () => {
    const minute = 60_000;
    const twoHoursAgo = Date.now() - 120 * minute;
    const iso = (second: number) => new Date(twoHoursAgo + 1000 * second).toISOString();

    beforeEach(async () => {
      await fixture.detection.rule('hot', { condition: hot, severity: 'critical', notify: ['one', 'am'] });
      await fixture.detection.rule('cold', { condition: { kind: 'range', below: 0 }, notify: ['one'] });
      fixture.start = twoHoursAgo;
    });

    it('are told in one summary by rule, a minute after the last, by an id that stays', async () => {
      const isWell = { value: false };
      const one = await fixture.hook('one', (_, res) => void res.writeHead(isWell.value ? 204 : 503).end());
      const alertmanager = await fixture.hook('am', undefined, 'alertmanager');
      await fixture.measure('a', 31, 20, 32, 33, 20, -1);
      await fixture.detect();
      await fixture.measure('b', 31);
      fixture.ahead = minute / 2;
      await fixture.detect();
      await fixture.sending();
      fixture.ahead = minute;
      const gathering = await fixture.listed('one');
      assert.deepEqual(
        gathering.map(({ state, alarmId }) => [state, alarmId]),
        [['gathering', '']],
      );
      assert.equal(one.received.length, 0);
      fixture.ahead = 1.6 * minute;
      await eventually(() => assert.equal(one.received.length, 1));
      isWell.value = true;
      fixture.ahead += minute;
      await fixture.emptied('one');
      await fixture.emptied('am');
      assert.equal(alertmanager.received.length, 0);
      const [first, second] = one.received;
      assert.deepEqual([second?.id, second?.body], [first?.id, first?.body]);
      const { type, id, subject, data } = JSON.parse(first?.body ?? '');
      assert.deepEqual([type, id, subject], ['fieldlog.alarms.summarized', first?.id, 'one']);
      const { explanation, ...counted } = data;
      assert.match(explanation, /^4 alarms were raised, 0 escalated and 2 cleared from /);
      const alarms = (rule: string) => `/api/v1/alarms?rule=${rule}&since=${iso(0)}`;
      assert.deepEqual(counted, {
        raised: 4,
        escalated: 0,
        cleared: 2,
        from: iso(0),
        to: iso(5),
        rules: [
          {
            ruleId: 'hot',
            ruleName: 'hot',
            severity: 'critical',
            raised: 3,
            escalated: 0,
            cleared: 2,
            alarms: alarms('hot'),
          },
          {
            ruleId: 'cold',
            ruleName: 'cold',
            severity: 'warning',
            raised: 1,
            escalated: 0,
            cleared: 0,
            alarms: alarms('cold'),
          },
        ],
      });
    });

    it('and are cleared later are told of in another summary', async () => {
      const one = await fixture.hook('one');
      await fixture.measure('a', 31);
      await fixture.detect();
      await fixture.sending();
      fixture.ahead = 2 * minute;
      await fixture.emptied('one');
      fixture.start = Date.now();
      await fixture.measure('a', 20);
      await fixture.detect();
      fixture.ahead += 2 * minute;
      await fixture.emptied('one');
      const told = one.received.map(({ body }) => {
        const { raised, cleared, rules } = JSON.parse(body).data;
        return [raised, cleared, new URL(rules[0].alarms, one.url).searchParams.get('since')];
      });
      // Where the second leads the alarm is listed too, which was raised before.
      assert.deepEqual(told, [
        [1, 0, iso(0)],
        [0, 1, iso(0)],
      ]);
      assert.equal(new Set(one.received.map(({ id }) => id)).size, 2);
    });

    it('are sent each where that is wanted', async () => {
      const one = await fixture.hook('one');
      fixture.notifyWithin = 180 * minute;
      await fixture.measure('a', 31, 20);
      await fixture.detect();
      await fixture.sending();
      await fixture.emptied('one');
      assert.deepEqual(changes(one.received), ['a raised', 'a cleared']);
    });
  });
});
