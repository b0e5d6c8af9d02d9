import assert from 'node:assert/strict';
import { announce } from '../../../application/detection/announcing.ts';
import { type SendingOutcome, sendToHooks } from '../../../application/detection/sending.ts';
import type { HookDeliveries } from '../../../application/ports/hooks.ts';
import { services as s } from '../../../interfaces/composition/services.ts';
import { detectionFixture } from '../../support/detection-fixture.ts';
import { eventually } from '../../support/eventually.ts';
import { hookReceiver, type ReceivedHook } from '../../support/hook-receiver.ts';
import { quiet } from '../../support/replay-fixture.ts';

type Fixture = Awaited<ReturnType<typeof detectionFixture>>;
type SendingPorts = Parameters<typeof sendToHooks>[0];
type Receiver = Awaited<ReturnType<typeof hookReceiver>>;

const operator = { correlationId: 'c', actor: 'test' };
const hot = { kind: 'range', above: 30 } as const;

describe('Alarms to hooks', function () {
  this.timeout(60_000);
  let fixture: Fixture;
  let open: Receiver[];
  let stops: (() => Promise<void>)[];
  /** Milliseconds by which the clock is ahead. */
  let ahead: number;
  let outcomes: SendingOutcome[];
  /** Of the readings, which are of these days. */
  let start: number;

  beforeEach(async () => {
    open = [];
    stops = [];
    ahead = 0;
    outcomes = [];
    start = Date.now() - 60_000;
    fixture = await detectionFixture({ HOOKS_ALLOW: '127.0.0.1' });
    await fixture.register('a');
    await fixture.register('b');
  });
  afterEach(async () => {
    for (const one of open) await one.close();
    for (const stop of stops) await stop();
    await fixture.close();
  });

  const running = (work: (signal: AbortSignal) => Promise<void>) => {
    const stopped = new AbortController();
    const over = work(stopped.signal);
    const stop = async () => {
      stopped.abort();
      await over;
    };
    stops.push(stop);
    return stop;
  };
  const clock = { now: () => Date.now() + ahead };

  async function ports(replaced: Partial<SendingPorts> = {}): Promise<SendingPorts> {
    const { container } = fixture;
    return {
      deliveries: await container.getAsync(s.hookDeliveries),
      hooks: await container.getAsync(s.hooks),
      sender: await container.getAsync(s.hookSender),
      ids: await container.getAsync(s.ids),
      clock,
      log: quiet,
      onTried: (outcome) => void outcomes.push(outcome),
      random: () => 0,
      ...replaced,
    };
  }

  const sending = async (replaced: Partial<SendingPorts> = {}) => {
    const all = await ports(replaced);
    return running((signal) => sendToHooks(all, signal));
  };

  /** Detects all there is and announces it. */
  async function detect(): Promise<void> {
    const { container } = fixture;
    const records = await container.getAsync(s.alarmRecords);
    const all = {
      records,
      eventStore: await container.getAsync(s.eventStore),
      registry: await container.getAsync(s.registry),
      ids: await container.getAsync(s.ids),
      clock,
      log: quiet,
    };
    const stopDetecting = fixture.consuming([fixture.pipelines.detection]);
    await fixture.consumed('detection');
    await stopDetecting();
    const stop = running((signal) => announce(all, signal));
    await eventually(async () => assert.deepEqual(await records.announcements(1), []));
    await stop();
  }

  async function hook(hookId: string, answer?: Parameters<typeof hookReceiver>[0]): Promise<Receiver> {
    const receiver = await hookReceiver(answer);
    open.push(receiver);
    const hooks = await fixture.container.getAsync(s.hooks);
    await hooks.create(hookId, { url: receiver.url }, operator);
    return receiver;
  }
  const measure = (deviceId: string, ...values: readonly number[]) =>
    fixture.measure(
      deviceId,
      values.map((value, i) => [start + 1000 * i, { t: value }] as const),
    );
  const listed = async (hookId: string) => (await ports()).deliveries.list(hookId, { limit: 100 });
  const emptied = (hookId: string) =>
    eventually(async () => assert.deepEqual(await listed(hookId), []), { within: 20_000 });
  const changes = (received: readonly ReceivedHook[]) =>
    received.map(({ body }) => {
      const { data } = JSON.parse(body);
      return `${data.deviceId} ${data.change}`;
    });

  it('are sent in order of each alarm, with their id, to each hook of the rule and to no other', async () => {
    const [one, two, other] = [await hook('one'), await hook('two'), await hook('other')];
    await fixture.rule('hot', { condition: hot, severity: 'critical', notify: ['one', 'two'] });
    await measure('a', 31, 20, 32, 20);
    await measure('b', 33);
    await detect();
    await sending();
    await emptied('one');
    await emptied('two');
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
    const alarm = (await fixture.alarms()).find(({ device_id }) => device_id === 'a');
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
        time: new Date(start).toISOString(),
        data: {
          alarmId: alarm?.alarm_id,
          ruleId: 'hot',
          ruleName: 'hot',
          kind: 'range',
          severity: 'critical',
          deviceId: 'a',
          metric: 't',
          change: 'raised',
          at: new Date(start).toISOString(),
          value: 31,
          explanation: '31 is above 30',
        },
      },
    );
  });

  it('are sent again under the same id when the sender ended before it noted the answer', async () => {
    const receiver = await hook('one');
    await fixture.rule('hot', { condition: hot, notify: ['one'] });
    await measure('a', 31, 20);
    await detect();
    const { deliveries } = await ports();
    const ended: HookDeliveries = {
      ...deliveries,
      delivered: () => Promise.reject(new Error('the process ended')),
    };
    const stop = await sending({ deliveries: ended });
    await eventually(() => assert.equal(receiver.received.length, 1));
    await stop();
    // Not before it is sure that nobody is sending it.
    const stopAgain = await sending();
    ahead = 29_000;
    assert.deepEqual(
      (await listed('one')).map(({ tries }) => tries),
      [1, 0],
    );
    ahead = 31_000;
    await emptied('one');
    await stopAgain();
    assert.deepEqual(changes(receiver.received), ['a raised', 'a raised', 'a cleared']);
    const [first, again, cleared] = receiver.received.map(({ id }) => id);
    assert.equal(first, again);
    assert.notEqual(first, cleared);
  });

  it('are tried again after the times of the schedule, or those that the receiver asks for', async () => {
    const receiver = await hook('one', (_, res, count) => {
      if (count === 1) return void res.writeHead(503).end();
      if (count === 2) return void res.writeHead(429, { 'Retry-After': '600' }).end();
      res.writeHead(200).end('{}');
    });
    await fixture.rule('hot', { condition: hot, notify: ['one'] });
    await measure('a', 31, 20);
    await detect();
    await sending();
    const dueIn = async (tries: number) =>
      eventually(async () => {
        const [first, second] = await listed('one');
        assert.deepEqual([first?.tries, first?.state, second?.tries], [tries, 'waiting', 0]);
        assert.match(first?.error ?? '', /^the receiver answered (503|429)$/);
        assert.equal(outcomes.length, tries);
        return Math.round(((first?.dueAt ?? 0) - clock.now()) / 1000);
      });
    const first = await dueIn(1);
    assert.ok(first >= 3 && first <= 5, `${first} s`);
    ahead += 5_500;
    const second = await dueIn(2);
    assert.ok(second > 500 && second <= 600, `${second} s, not the minute of the schedule`);
    ahead += 601_000;
    await emptied('one');
    assert.deepEqual(outcomes, ['retried', 'retried', 'delivered', 'delivered']);
    assert.deepEqual(changes(receiver.received), ['a raised', 'a raised', 'a raised', 'a cleared']);
  });

  it('fail after the last try, or at once when no other would help, and are sent when retried', async () => {
    let status = 500;
    const receiver = await hook('one', (_, res) => void res.writeHead(status).end());
    await fixture.rule('hot', { condition: hot, notify: ['one'] });
    await measure('a', 31);
    await detect();
    await sending();
    for (let tries = 1; tries < 7; tries += 1) {
      await eventually(() => assert.equal(outcomes.length, tries));
      ahead += 86_400_000;
    }
    const failed = () =>
      eventually(async () => {
        const [one] = await listed('one');
        assert.equal(one?.state, 'failed');
        return one;
      });
    assert.deepEqual([(await failed()).tries, outcomes.at(-1)], [7, 'failed']);
    status = 400;
    const { deliveries, hooks } = await ports();
    await deliveries.retry('one', clock.now());
    await eventually(() => assert.equal(receiver.received.length, 8));
    assert.equal((await failed()).error, 'the receiver answered 400');
    status = 410;
    await deliveries.retry('one', clock.now());
    await eventually(async () => assert.equal((await hooks.find('one'))?.status, 'disabled'));
    await failed();
    await deliveries.retry('one', clock.now());
    await eventually(async () => assert.equal((await failed()).error, 'the hook is disabled'));
    status = 200;
    await hooks.set('one', 'enable', operator);
    await deliveries.retry('one', clock.now());
    await emptied('one');
    assert.equal(new Set(receiver.received.map(({ id }) => id)).size, 1);
  });

  it('do not wait for a hook that does not answer', async () => {
    const silent = await hook('silent', () => {});
    const quick = await hook('quick');
    await fixture.rule('hot', { condition: hot, notify: ['silent', 'quick'] });
    for (const deviceId of ['a', 'b']) await measure(deviceId, 31, 20, 31, 20, 31, 20);
    await detect();
    await sending();
    await emptied('quick');
    assert.equal(quick.received.length, 12);
    assert.equal((await listed('silent')).length, 12);
    assert.ok(silent.received.length <= 4);
  });

  it('of a history are not sent, nor those of a hook that was removed', async () => {
    const [one, two] = [await hook('one'), await hook('two')];
    await fixture.rule('hot', { condition: hot, notify: ['one', 'two'] });
    start = Date.now() - 2 * 3_600_000;
    await measure('a', 31, 20);
    start = Date.now() - 3_500_000;
    await measure('b', 31);
    await detect();
    // The other edge of what was sent is sent, however long it took.
    ahead = 10 * 3_600_000;
    start = Date.now();
    await measure('b', 20);
    await detect();
    await (await ports()).hooks.set('two', 'remove', operator);
    await sending();
    await emptied('one');
    await emptied('two');
    assert.deepEqual(changes(one.received), ['b raised', 'b cleared']);
    assert.equal(two.received.length, 0);
  });
});
