import assert from 'node:assert/strict';
import type { BatchConsumer, Positioned } from '../../../application/ports/event-source.ts';
import { rebuild } from '../../../application/rebuild/rebuild.ts';
import { services as s } from '../../../interfaces/composition/services.ts';
import { detectionFixture } from '../../support/detection-fixture.ts';
import { onEachEngine, type ReadModelStore } from '../../support/each-engine.ts';

type Fixture = Awaited<ReturnType<typeof detectionFixture>>;

const builder = { id: 'test', isExpired: () => false };

onEachEngine('Projection detection', (open) => {
  let stores: ReadModelStore;
  let fixture: Fixture;

  beforeEach(async () => {
    stores = await open();
    fixture = await detectionFixture(stores.env);
    await fixture.register('a');
    await fixture.register('b');
  });
  afterEach(async () => {
    await fixture.close();
    await stores.drop();
  });

  const measure = (deviceId: string, ...values: readonly (readonly [number, number | string | boolean])[]) =>
    fixture.measure(
      deviceId,
      values.map(([at, value]) => [at, { t: value }] as const),
    );

  /** Consumes all there is in the log, and stops. */
  async function detect(): Promise<void> {
    const stop = fixture.consuming([fixture.pipelines.detection]);
    await fixture.consumed('detection');
    await stop();
  }

  const states = async () =>
    (await fixture.alarms()).map((alarm) => `${alarm.rule_id} ${alarm.device_id} ${alarm.state}`);

  it('raises an alarm, which says why, and clears it', async () => {
    await fixture.rule('hot', { metric: 't', condition: { kind: 'range', above: 30 } });
    await measure('a', [1000, 20], [2000, 31.5], [3000, 32], [4000, 29]);
    await detect();
    const [alarm, ...others] = await fixture.alarms();
    assert.deepEqual(others, []);
    assert.equal(alarm?.state, 'cleared');
    assert.equal(alarm?.raised_at, 2000);
    assert.equal(alarm?.explanation, '31.5 is above 30');
    assert.equal(alarm?.cleared_at, 4000);
  });

  it('has one alarm open of a rule, a device and a metric', async () => {
    await fixture.rule('hot', { condition: { kind: 'range', above: 30 } });
    await measure('a', [1000, 31], [2000, 33], [3000, 35]);
    await measure('b', [1000, 31]);
    await detect();
    await measure('a', [4000, 36]);
    await detect();
    assert.deepEqual((await states()).sort(), ['hot a open', 'hot b open']);
  });

  it('judges each value once: not what comes again, and not what comes too late', async () => {
    await fixture.rule('fast', { condition: { kind: 'rate', above: 0.001 } });
    await measure('a', [1000, 1], [2000, 1]);
    await measure('a', [2000, 99], [1500, 99]);
    await detect();
    assert.deepEqual(await states(), []);
    const { points, out_of_order } = (await fixture.totals()) ?? {};
    assert.deepEqual({ points, out_of_order }, { points: 2, out_of_order: 2 });
  });

  it('judges truth values as 1 and 0, and counts text', async () => {
    await fixture.rule('on', { condition: { kind: 'range', above: 0 } });
    await measure('a', [1000, true], [2000, 'broken']);
    await detect();
    assert.deepEqual(await states(), ['on a open']);
    assert.equal((await fixture.totals())?.text_values, 1);
  });

  it('judges only the devices that a rule selects', async () => {
    await fixture.rule('one', { selector: { deviceId: 'b' }, condition: { kind: 'range', above: 30 } });
    await fixture.rule('none', { selector: { type: 'other' }, condition: { kind: 'range', above: 30 } });
    await fixture.rule('both', { selector: { type: 'test' }, condition: { kind: 'range', above: 40 } });
    await measure('a', [1000, 35], [2000, 45]);
    await measure('b', [1000, 35], [2000, 45]);
    await detect();
    assert.deepEqual((await states()).sort(), ['both a open', 'both b open', 'one b open']);
  });

  it('judges by a rule from the moment on at which it counts, and clears its alarms when it is changed', async () => {
    const at = (receivedAt: number, timestamp: number, t: number) =>
      fixture.publishRaw({ deviceId: 'a', timestamp, metrics: { t } }, { receivedAt });
    await fixture.rule('hot', { condition: { kind: 'range', above: 30 } }, 5000);
    const definition = { name: 'hot', selector: {}, severity: 'warning', notify: [] } as const;
    await fixture.append({
      type: 'RuleChanged',
      data: { ruleId: 'hot', since: 8000, ...definition, condition: { kind: 'range', above: 50 } },
    });
    await fixture.append({ type: 'RuleDisabled', data: { ruleId: 'hot', since: 10_000 } });
    await at(4999, 1, 99);
    await at(5000, 2, 40);
    await at(8000, 3, 40);
    await at(8001, 4, 60);
    await at(10_000, 5, 60);
    await detect();
    assert.deepEqual(
      (await fixture.alarms()).map(({ raised_at, cleared_at, cleared_by }) => [
        raised_at,
        cleared_at,
        cleared_by,
      ]),
      [
        [2, 8000, 'The rule was changed, disabled or removed'],
        [4, 10_000, 'The rule was changed, disabled or removed'],
      ],
    );
    assert.equal((await fixture.totals())?.series, 0);
  });

  it('remembers what other rules know of a device when a rule ends right after a restart', async () => {
    const at = (receivedAt: number, t: number) =>
      fixture.publishRaw({ deviceId: 'a', timestamp: receivedAt, metrics: { t } }, { receivedAt });
    await fixture.rule('hot', { condition: { kind: 'range', above: 30 } }, 1000);
    await fixture.rule('warm', { condition: { kind: 'range', above: 20 } }, 1000);
    await at(1000, 40);
    await fixture.append({ type: 'RuleDisabled', data: { ruleId: 'hot', since: 2000 } });
    await detect();
    await at(2000, 10);
    await detect();
    assert.deepEqual((await states()).sort(), ['hot a cleared', 'warm a cleared']);
    assert.equal((await fixture.totals())?.series, 1);
  });

  it('watches as many series as it may, the first that come, and counts what it does not watch', async () => {
    await fixture.close();
    fixture = await detectionFixture({ ...stores.env, DETECTION_SERIES: '1' });
    await fixture.register('a');
    await fixture.register('b');
    await fixture.rule('hot', { condition: { kind: 'range', above: 30 } });
    await measure('b', [1000, 1]);
    await measure('a', [1000, 99]);
    await measure('b', [2000, 99]);
    await detect();
    assert.deepEqual(await states(), ['hot b open']);
    const { series, unwatched } = (await fixture.totals()) ?? {};
    assert.deepEqual({ series, unwatched }, { series: 1, unwatched: 1 });
  });

  it('takes series in the order of the log, whatever the batches are', async () => {
    await fixture.close();
    fixture = await detectionFixture({ ...stores.env, DETECTION_SERIES: '3' });
    for (const deviceId of ['a', 'b']) await fixture.register(deviceId);
    await fixture.rule('hot', { condition: { kind: 'range', above: 30 } });
    const send = (deviceId: string, timestamp: number, metrics: Readonly<Record<string, number>>) =>
      fixture.measure(deviceId, [[timestamp, metrics]]);
    await send('a', 1000, { first: 99 });
    await send('b', 1000, { second: 99 });
    await send('a', 2000, { third: 99 });
    await send('b', 2000, { fourth: 99 });
    await detect();
    const watched = await fixture.db.rows<[string]>('SELECT metric FROM detection_states_g1');
    assert.deepEqual(watched.flat().sort(), ['first', 'second', 'third']);
    const { points, series, unwatched } = (await fixture.totals()) ?? {};
    assert.deepEqual({ points, series, unwatched }, { points: 3, series: 3, unwatched: 1 });
  });

  describe('with a rule about silence', () => {
    const arrive = (receivedAt: number, deviceId = 'a') =>
      fixture.publishRaw({ deviceId, timestamp: receivedAt, metrics: { t: 1, text: 'x' } }, { receivedAt });
    const notice = (due: number, more: object = {}) =>
      fixture.publishRaw(
        { deviceId: 'a', ruleId: 'quiet', metric: null, due, ...more },
        { type: 'SilenceNoticed', receivedAt: due + 7000 },
      );
    beforeEach(() => fixture.rule('quiet', { condition: { kind: 'silent', for: 60_000 } }));

    it('raises an alarm at a notice, once, and clears it at the next arrival', async () => {
      for (const receivedAt of [1000, 50_000]) await arrive(receivedAt);
      await notice(110_000);
      await notice(110_000);
      await detect();
      const [open, ...others] = await fixture.alarms();
      assert.deepEqual([open?.state, open?.raised_at, open?.metric, others], ['open', 110_000, null, []]);
      assert.equal(
        open?.explanation,
        'Nothing came for 1 min: the last reading arrived at 1970-01-01T00:00:50.000Z',
      );
      await arrive(200_000);
      await detect();
      const [alarm] = await fixture.alarms();
      assert.deepEqual(
        [alarm?.state, alarm?.cleared_at, alarm?.cleared_by],
        ['cleared', 200_000, 'A reading came after 2 min 30 s'],
      );
    });

    it('raises nothing where a reading stands before the notice, nor for a rule, series or device that is not there', async () => {
      await arrive(1000);
      await arrive(60_000);
      await notice(61_000);
      await notice(61_000, { deviceId: 'b' });
      await notice(61_000, { deviceId: 'stranger' });
      await notice(120_000, { ruleId: 'none' });
      await notice(120_000, { metric: 't' });
      await notice(120_000, { due: 'soon' });
      await detect();
      assert.deepEqual(await fixture.alarms(), []);
      // An outage of the server: nobody has noticed anything, and so it is not said that the device was silent.
      await arrive(9_000_000);
      await detect();
      assert.deepEqual(await fixture.alarms(), []);
    });

    it('expects nothing of a device that may not send', async () => {
      await arrive(1000);
      await detect();
      const context = { correlationId: 'c', actor: 'test' };
      await fixture.commands.handle({ type: 'DecommissionDevice', deviceId: 'a', reason: 'x' }, context);
      await fixture.publishRaw(
        { deviceId: 'a', ruleId: 'quiet', metric: null, due: 61_000 },
        { type: 'SilenceNoticed', receivedAt: Date.now() + 60_000 },
      );
      await detect();
      assert.deepEqual(await fixture.alarms(), []);
      assert.equal((await fixture.totals())?.series, 0);
    });
  });

  it('clears an alarm at a request, between the same readings in a rebuild, and raises another', async () => {
    const rules = {
      hot: { kind: 'range', above: 30 },
      frozen: { kind: 'stuck', for: 1000 },
      quiet: { kind: 'silent', for: 60_000 },
    } as const;
    for (const [ruleId, condition] of Object.entries(rules)) await fixture.rule(ruleId, { condition });
    await measure('a', [1000, 31], [2000, 31]);
    await detect();
    const receivedAt = Date.now() + 120_000;
    const [[due] = [0]] = await fixture.db.rows<[number]>(
      "SELECT due FROM detection_states_g1 WHERE rule_id = 'quiet'",
    );
    await fixture.publishRaw(
      { deviceId: 'a', ruleId: 'quiet', metric: null, due },
      { type: 'SilenceNoticed', receivedAt },
    );
    await detect();
    const before = await fixture.alarms();
    assert.deepEqual((await states()).sort(), ['frozen a open', 'hot a open', 'quiet a open']);
    const clear = ({ alarm_id, rule_id, metric }: (typeof before)[number], note: string | null) =>
      fixture.publishRaw(
        { alarmId: alarm_id, deviceId: 'a', ruleId: rule_id, metric, note },
        { type: 'AlarmClearRequested', receivedAt },
      );
    for (const alarm of before) await clear(alarm, alarm.rule_id === 'hot' ? 'Sensor replaced' : null);
    for (const alarm of before) await clear(alarm, 'again');
    await clear({ ...(before[0] as (typeof before)[number]), rule_id: 'none' }, 'of no rule');
    await fixture.publishRaw(
      { deviceId: 'a', ruleId: 'quiet', metric: null, due },
      { type: 'SilenceNoticed', receivedAt },
    );
    await detect();
    assert.deepEqual(
      (await fixture.alarms()).map(({ rule_id, state, cleared_by }) => [rule_id, state, cleared_by]).sort(),
      [
        ['frozen', 'cleared', 'test cleared it'],
        ['hot', 'cleared', 'test cleared it: Sensor replaced'],
        ['quiet', 'cleared', 'test cleared it'],
      ],
    );
    await measure('a', [3000, 31], [3500, 31], [4000, 31]);
    await detect();
    const open = (await fixture.alarms()).filter(({ state }) => state === 'open');
    assert.deepEqual(open.map(({ rule_id, raised_at }) => [rule_id, raised_at]).sort(), [
      ['frozen', 4000],
      ['hot', 3000],
    ]);
    const live = await fixture.digest();
    const { comparison } = await rebuild(fixture.pipelines.detection, fixture.ports, {
      builder,
      signal: new AbortController().signal,
      handover: 0,
    });
    assert.ok(comparison.equal, JSON.stringify(comparison));
    assert.deepEqual(await fixture.digest(2), live);
  });

  it('passes over what is no reading, and readings of devices that are not registered', async () => {
    await fixture.rule('hot', { condition: { kind: 'range', above: 30 } });
    await fixture.publishRaw({ nonsense: true });
    await fixture.publishRaw({ deviceId: 'stranger', timestamp: 1, metrics: { t: 99 } });
    await measure('a', [1000, 99]);
    await detect();
    assert.deepEqual(await states(), ['hot a open']);
  });

  it('is passed over while there is no rule, and rebuilt equal before and after there is one', async () => {
    const { detection } = fixture.pipelines;
    const stop = new AbortController();
    const at = (receivedAt: number, timestamp: number, t: number) =>
      fixture.publishRaw({ deviceId: 'a', timestamp, metrics: { t } }, { receivedAt });
    const idle = detection.untilNeeded?.({ projection: 'detection', generation: 1 }, stop.signal);
    await at(4999, 1, 99);
    await fixture.consumed('detection');
    const mark = await fixture.ports.readModels.logMark({ projection: 'detection', generation: 1 }, 0);
    assert.ok(mark?.eventId, 'the checkpoint names the event that it is at');
    const counted = await (await fixture.container.getAsync(s.metrics)).metrics();
    assert.match(counted, /fieldlog_projection_batches_total\{projection="detection"\} [1-9]/);
    const options = { builder, signal: stop.signal, handover: 0 };
    assert.ok((await rebuild(detection, fixture.ports, options)).comparison.equal);
    await fixture.ports.control.hold({ projection: 'detection', generation: 2 }, (held) =>
      held.switchTo({ projection: 'detection', generation: 1 }),
    );

    await fixture.rule('hot', { condition: { kind: 'range', above: 30 } }, 5000);
    await idle;
    await at(5000, 2, 40);
    await detect();
    assert.deepEqual(await states(), ['hot a open']);
    const { comparison } = await rebuild(detection, fixture.ports, options);
    assert.ok(comparison.equal, JSON.stringify(comparison));
  });

  it('announces each change of an alarm once, and a rebuild announces nothing and finds the same', async () => {
    await fixture.rule('hot', { condition: { kind: 'range', above: 30, for: 400 } });
    await fixture.rule('new', { condition: { kind: 'novel' } });
    await fixture.rule('stuck', { condition: { kind: 'stuck', for: 5000 } });
    const values = Array.from({ length: 400 }, (_, i) => (i % 97 === 60 ? 80 : i % 50 < 10 ? 5 : i % 7));
    for (const [i, value] of values.entries())
      await measure(i % 2 ? 'a' : 'b', [1000 * i, value], [1000 * i + 500, value > 40 ? value : i % 3]);
    await detect();
    const announced = () => fixture.db.rows('SELECT alarm_id, announcement FROM alarm_outbox ORDER BY seq');
    const alarms = await fixture.alarms();
    const before = await announced();
    assert.ok(alarms.length > 5, `${alarms.length} alarms`);
    const changes = alarms.reduce(
      (sum, { cleared_at, escalations }) => sum + 1 + Number(escalations) + (cleared_at === null ? 0 : 1),
      0,
    );
    assert.equal(before.length, changes);

    const live = await fixture.digest();
    const { switched, comparison } = await rebuild(fixture.pipelines.detection, fixture.ports, {
      builder,
      signal: new AbortController().signal,
      handover: 0,
    });
    assert.ok(switched && comparison.equal && comparison.samePosition, JSON.stringify(comparison));
    assert.deepEqual(await fixture.digest(2), live);
    assert.deepEqual(await announced(), before);
  });

  it('finds the same in batches of any size, with the state read again between them', async () => {
    await fixture.rule('new', { condition: { kind: 'novel' } });
    await fixture.rule('hot', { condition: { kind: 'range', above: 9, count: 2 } });
    const send = async (from: number, to: number) => {
      for (let i = from; i < to; i += 1)
        await measure('a', [1000 * i, (i * 7) % 11], [1000 * i + 1, i % 13 === 0 ? 10 * i : 1]);
    };
    for (const [from, to] of [
      [0, 30],
      [30, 31],
      [31, 90],
      [90, 200],
    ] as const) {
      await send(from, to);
      await detect();
    }
    const piecemeal = await fixture.digest();
    const { comparison } = await rebuild(fixture.pipelines.detection, fixture.ports, {
      builder,
      signal: new AbortController().signal,
      handover: 0,
    });
    assert.ok(comparison.equal, JSON.stringify(comparison));
    assert.deepEqual(await fixture.digest(2), piecemeal);
  });

  it('raises nothing twice when a batch is delivered again, to the same worker or to another', async () => {
    await fixture.rule('new', { condition: { kind: 'novel' } });
    await fixture.rule('hot', { condition: { kind: 'range', above: 9, count: 2 } });
    const { detection } = fixture.pipelines;
    const generation = { projection: 'detection', generation: 1 };
    const [one, other] = [0, 1].map(() => detection.consumer(generation, fixture.ports.readModels)) as [
      BatchConsumer<Positioned>,
      BatchConsumer<Positioned>,
    ];
    const deliveries: string[] = [];
    const again: BatchConsumer<Positioned> = {
      checkpoint: (partition) => one.checkpoint(partition),
      async consume(batch) {
        for (const worker of [one, one, other, one]) await worker.consume(batch);
        deliveries.push(...batch.events.map(({ position }) => position));
      },
    };
    const stop = new AbortController();
    const running = detection.run(again, generation, stop.signal);
    for (let i = 0; i < 60; i += 10) {
      const values = Array.from({ length: 10 }, (_, n) => [1000 * (i + n), ((i + n) * 7) % 11] as const);
      await measure('a', ...values, [1000 * (i + 9) + 1, 10 * i], [1000 * (i + 9) + 2, 10 * i]);
      await fixture.consumed('detection');
    }
    stop.abort();
    await running;
    assert.ok(new Set(deliveries).size >= 72, `${deliveries.length} events`);
    const found = await fixture.digest();
    assert.ok((await fixture.alarms()).length >= 2);
    const announced = await fixture.db.rows<[string]>('SELECT announcement FROM alarm_outbox');
    assert.equal(new Set(announced.map(([text]) => text)).size, announced.length);
    const options = { builder, signal: new AbortController().signal, handover: 0 };
    const { comparison } = await rebuild(detection, fixture.ports, options);
    assert.ok(comparison.equal, JSON.stringify(comparison));
    assert.deepEqual(await fixture.digest(2), found);
  });

  it('refuses to rebuild one device alone', async () => {
    const { rebuildDevice } = await import('../../../application/rebuild/rebuild.ts');
    await assert.rejects(
      rebuildDevice(fixture.pipelines.detection, { deviceId: 'a', stream: 'device-a' }, fixture.ports, {
        builder,
        signal: new AbortController().signal,
      }),
      /rebuild all of it/,
    );
  });
});
