import assert from 'node:assert/strict';
import { retryRegistered } from '../../../application/late-registrations.ts';
import { deadLetterOperations } from '../../../application/operations/dead-letters.ts';
import { activeGeneration, type LeaseOwner, ReplayRefused } from '../../../application/ports/generations.ts';
import { ReadModelsUnavailable } from '../../../application/ports/read-models.ts';
import type { ProjectionName } from '../../../application/projections/projection.ts';
import type { ProjectionPipeline } from '../../../application/rebuild/projection-pipeline.ts';
import { rebuild, rebuildDevice } from '../../../application/rebuild/rebuild.ts';
import { onEachEngine, type ReadModelStore } from '../../support/each-engine.ts';
import { eventually } from '../../support/eventually.ts';
import { quiet, type ReplayFixture, replayFixture } from '../../support/replay-fixture.ts';

const builder: LeaseOwner = { id: 'a test', isExpired: () => false };

onEachEngine('Dead letters', (open) => {
  let stores: ReadModelStore;
  let fixture: ReplayFixture;

  beforeEach(async () => {
    stores = await open();
    fixture = await replayFixture(stores.env);
    for (const id of ['a', 'b']) await fixture.register(id);
  });
  afterEach(async () => {
    await fixture.close();
    await stores.drop();
  });

  const desk = (telemetry: ProjectionPipeline = fixture.pipelines.telemetry) => {
    const { control, deadLetters: letters, readModels, clock } = fixture.ports;
    const live = async (name: string) => {
      const pipeline = name === 'telemetry' ? telemetry : fixture.pipelines[name as ProjectionName];
      return { pipeline, generation: await activeGeneration(pipeline, control) };
    };
    return deadLetterOperations(live, letters, readModels, clock);
  };
  const list = async (filter = {}) => fixture.ports.deadLetters.list(filter, { limit: 100 });
  const retried = async (choice: Parameters<ReturnType<typeof desk>['retry']>[0], by = desk()) => {
    const streams = [];
    for await (const stream of by.retry(choice)) streams.push(stream);
    return streams;
  };
  const ledger = () =>
    fixture.db.rows(
      'SELECT device_id, stored_count, dead_lettered FROM telemetry_ledger_g1 ORDER BY device_id',
    );
  const timestampsOf = async (deviceId: string) =>
    (
      await fixture.db.all<{ ts: number }>('SELECT ts FROM telemetry_g1 WHERE device_id = ? ORDER BY ts', [
        deviceId,
      ])
    ).map(({ ts }) => ts);

  /** A telemetry projection that cannot take a reading of one moment. */
  const allergicTo = (timestamp: number) =>
    fixture.telemetryLike((projection) => ({
      forPartition() {
        const partition = projection.forPartition();
        const inner = partition.apply.bind(partition);
        const apply: typeof inner = (events, tables) => {
          if (events.some(({ event }) => 'timestamp' in event.data && event.data.timestamp === timestamp))
            throw new Error(`cannot take ${timestamp}`);
          return inner(events, tables);
        };
        return Object.assign(partition, { apply });
      },
    }));

  async function poisoned() {
    const allergic = allergicTo(2);
    const stop = fixture.consuming([allergic]);
    for (const id of ['a', 'b'])
      for (const at of [1, 2, 3]) await fixture.measure(id, [[at + (id === 'b' ? 10 : 0), { n: at }]]);
    await fixture.consumed('telemetry');
    return { allergic, stop };
  }

  it('hold up their own stream alone', async () => {
    await poisoned();
    assert.deepEqual(
      (await list()).map(({ stream, cause, error }) => [stream, cause, error]),
      [
        ['device-a', 'failed', 'cannot take 2'],
        ['device-a', 'behind', 'An earlier event of this stream is parked'],
      ],
    );
    assert.deepEqual(await timestampsOf('a'), [1]);
    assert.deepEqual(await timestampsOf('b'), [11, 12, 13]);
    assert.deepEqual(await ledger(), [
      ['a', 1, 2],
      ['b', 3, 0],
    ]);
  });

  it('tell the event, the error with its stack, the position and the correlation id', async () => {
    await poisoned();
    const [first] = await list();
    const letter = await fixture.ports.deadLetters.find(first?.id ?? 0);
    assert.match(letter?.stack ?? '', /cannot take 2\n +at /);
    assert.equal(letter?.correlationId, 'c');
    assert.equal(letter?.position, '2');
    const event = letter?.event as { readonly data: unknown } | undefined;
    assert.deepEqual(event?.data, { deviceId: 'a', timestamp: 2, metrics: { n: 2 } });
  });

  it('are emptied in order by a retry once the fault is mended, and the stream is free', async () => {
    const { stop } = await poisoned();
    await stop();
    fixture.consuming();
    assert.deepEqual(await retried({ projection: 'telemetry' }), [
      { projection: 'telemetry', stream: 'device-a', applied: 2, failed: null },
    ]);
    assert.deepEqual(await list(), []);
    await fixture.measure('a', [[4, { n: 4 }]]);
    await fixture.consumed('telemetry');
    assert.deepEqual(await timestampsOf('a'), [1, 2, 3, 4]);
    assert.deepEqual(await ledger(), [
      ['a', 4, 0],
      ['b', 3, 0],
    ]);
    const options = { builder, signal: new AbortController().signal, handover: 0 };
    const { comparison } = await rebuild(fixture.pipelines.telemetry, fixture.ports, options);
    assert.ok(comparison.equal, JSON.stringify(comparison));
  });

  it('are retried while a worker consumes, which then sees the stream free', async () => {
    await fixture.measure('a', [[0, { n: 0 }]]);
    await fixture.publishRaw({ deviceId: 'late', timestamp: 1, metrics: { n: 1 } });
    fixture.consuming();
    await fixture.consumed('telemetry');
    assert.deepEqual(
      (await list()).map(({ cause }) => cause),
      ['unknown-device'],
    );
    await fixture.register('late');
    const [first] = await list();
    await retried({ id: first?.id ?? 0 });
    await fixture.measure('late', [[2, { n: 2 }]]);
    await fixture.consumed('telemetry');
    assert.deepEqual(await timestampsOf('late'), [1, 2]);
    assert.deepEqual(await list(), []);
  });

  it('of a device that was not registered are retried by themselves once it is, in their order', async () => {
    for (const at of [1, 2])
      await fixture.publishRaw({ deviceId: 'late', timestamp: at, metrics: { n: at } });
    await fixture.publishRaw({ deviceId: 'later', timestamp: 1, metrics: { n: 1 } });
    fixture.consuming();
    await fixture.consumed('telemetry');
    assert.deepEqual(
      (await list()).map(({ cause }) => cause),
      ['unknown-device', 'unknown-device', 'unknown-device'],
    );
    const stop = new AbortController();
    const retrying = retryRegistered(fixture.pipelines.telemetry, fixture.ports, quiet, stop.signal);
    await fixture.register('late');
    await fixture.measure('late', [[2, { n: 3 }]]);
    await eventually(async () =>
      assert.deepEqual(
        (await list()).map(({ stream }) => stream),
        ['device-later'],
      ),
    );
    await fixture.measure('late', [[3, { n: 3 }]]);
    await fixture.consumed('telemetry');
    assert.deepEqual(await timestampsOf('late'), [1, 2, 3]);
    const corrected = await fixture.db.rows<[string]>(
      "SELECT metrics FROM telemetry_g1 WHERE device_id = 'late' AND ts = 2",
    );
    assert.match(String(corrected), /3/);
    stop.abort();
    await retrying;
  });

  it('of a device that is registered by now are retried to the last although the database was away between', async () => {
    for (const at of [1, Date.now() + 3_600_000_000])
      await fixture.publishRaw({ deviceId: 'late', timestamp: at, metrics: { n: at } });
    fixture.consuming();
    await fixture.consumed('telemetry');
    await fixture.register('late');
    await fixture.measure('late', [[2, { n: 2 }]]);
    await fixture.consumed('telemetry');
    assert.deepEqual(
      (await list()).map(({ cause }) => cause),
      ['unknown-device', 'future', 'behind'],
    );
    const { readModels } = fixture.ports;
    let failures = 0;
    const repair: typeof readModels.repair = async (...repaired) => {
      const isFirstApplied = (await list({ cause: 'unknown-device' })).length === 0;
      if (isFirstApplied && failures === 0) {
        failures += 1;
        throw new ReadModelsUnavailable('away');
      }
      return readModels.repair(...repaired);
    };
    const ports = { ...fixture.ports, readModels: Object.assign(Object.create(readModels), { repair }) };
    const stop = new AbortController();
    const retrying = retryRegistered(fixture.pipelines.telemetry, ports, quiet, stop.signal);
    await eventually(async () => assert.deepEqual(await timestampsOf('late'), [1, 2]));
    stop.abort();
    await retrying;
    assert.equal(failures, 1);
    assert.deepEqual(
      (await list()).map(({ cause }) => cause),
      ['future'],
    );
  });

  it('of a reading that is none hold up nothing, and are not applied over what came later', async () => {
    fixture.consuming();
    const bad = { n: 'x'.repeat(600) };
    await fixture.publishRaw({ deviceId: 'a', timestamp: 5, metrics: bad });
    await fixture.publishRaw({ deviceId: 'a', timestamp: 6, metrics: bad });
    await fixture.measure('a', [
      [6, { n: 6 }],
      [7, { n: 7 }],
    ]);
    await fixture.consumed('telemetry');
    assert.deepEqual(
      (await list()).map(({ cause, position }) => [cause, position]),
      [
        ['malformed', '1'],
        ['malformed', '2'],
      ],
    );
    assert.deepEqual(await timestampsOf('a'), [6, 7]);
    // A release that takes longer texts.
    const lenient = fixture.telemetryLike((projection) => ({
      decode: (logged) =>
        ({ logged, event: { type: 'TelemetryRecorded', data: logged.data } }) as ReturnType<
          typeof projection.decode
        >,
    }));
    const [outcome] = await retried({ projection: 'telemetry' }, desk(lenient));
    assert.equal(outcome?.applied, 1);
    assert.match(
      outcome?.failed?.error ?? '',
      /A later reading of a at 1970-01-01T00:00:00.006Z has been applied/,
    );
    assert.deepEqual(await timestampsOf('a'), [5, 6, 7]);
    assert.deepEqual(
      (await list()).map(({ cause, position }) => [cause, position]),
      [['malformed', '2']],
    );
    assert.deepEqual(await ledger(), [['a', 3, 1]]);
  });

  it('of a reading from the future wait until its time is near, hold up nothing, and are the same in a rebuild', async () => {
    const now = Date.now();
    const hour = 3_600_000;
    fixture.consuming();
    await fixture.measure('a', [
      [now + 23 * hour, { n: 1 }],
      [now + 25 * hour, { n: 2 }],
      [1, { n: 3 }],
    ]);
    // Its time was ahead of its arrival, and has passed.
    await fixture.publishRaw(
      { deviceId: 'b', timestamp: now - hour, metrics: { n: 4 } },
      { receivedAt: now - 30 * hour },
    );
    await fixture.consumed('telemetry');
    const waiting = async () => (await list()).map(({ stream, cause }) => [stream, cause]);
    assert.deepEqual(await waiting(), [
      ['device-a', 'future'],
      ['device-b', 'future'],
    ]);
    assert.match((await list())[0]?.error ?? '', /is further ahead of .* than CLOCK_TOLERANCE allows/);
    assert.deepEqual(await timestampsOf('a'), [1, now + 23 * hour]);
    const outcomes = await retried({ projection: 'telemetry' });
    assert.deepEqual(
      outcomes.map(({ stream, applied, failed }) => [stream, applied, failed?.cause]),
      [
        ['device-a', 0, 'future'],
        ['device-b', 1, undefined],
      ],
    );
    assert.deepEqual(await waiting(), [['device-a', 'future']]);
    const options = { builder, signal: new AbortController().signal, handover: 0 };
    const { comparison, switched } = await rebuild(fixture.pipelines.telemetry, fixture.ports, options);
    assert.ok(comparison.equal && switched, JSON.stringify(comparison));
    assert.deepEqual(await waiting(), [['device-a', 'future']]);
    assert.deepEqual(await timestampsOf('b'), [now - hour]);
  });

  it('are settled by a retraction of their time, as if they had been applied before it', async () => {
    fixture.consuming();
    const hour = 3_600_000;
    const then = Date.now() - hour;
    const early = (timestamp: number, metrics: object) =>
      fixture.publishRaw({ deviceId: 'a', timestamp, metrics }, { receivedAt: then - 29 * hour });
    await early(then, { n: 1 });
    await early(then, { n: 2 });
    await early(then + 1, { n: 3, m: 4 });
    await early(then + 2, { n: 5 });
    await early(then + 3, { n: [] });
    await early(then + 4, { m: 6 });
    await early(then + 9, { n: 7 });
    await fixture.measure('a', [[then + 2, { n: 8 }]]);
    const retraction = { deviceId: 'a', metric: 'n', from: then, to: then + 9, reason: 'a test' };
    await fixture.publishRaw(retraction, { type: 'TelemetryRetracted' });
    await fixture.consumed('telemetry');
    const whole = 'SELECT stored_count, corrected, dead_lettered, retracted FROM telemetry_ledger_g';
    const sums = async (generation: number) => {
      const days = await fixture.db.rows<number[]>(`${whole}${generation} WHERE device_id = 'a'`);
      return days.reduce((sum, day) => sum.map((count, i) => count + (day[i] ?? 0)));
    };
    assert.deepEqual(await sums(1), [2, 1, 5, 2]);
    const discarded = await list({ discarded: true });
    assert.deepEqual(
      discarded.map(({ cause, discarded }) => [cause, discarded?.reason.replace(/ \(.*/, '')]),
      [
        ['future', 'A later reading of its time had been applied when that was retracted'],
        ['malformed', 'Its values were retracted before it could be read'],
      ],
    );
    const [retry] = await retried({ projection: 'telemetry' });
    assert.deepEqual([retry?.applied, retry?.failed], [3, null]);
    assert.deepEqual(
      await fixture.db.rows("SELECT ts, metrics FROM telemetry_g1 WHERE device_id = 'a' ORDER BY ts"),
      [
        [then + 1, '{"m":4}'],
        [then + 4, '{"m":6}'],
        [then + 9, '{"n":7}'],
      ],
    );
    assert.deepEqual(await sums(1), [5, 1, 2, 2]);
    const options = { builder, signal: new AbortController().signal, handover: 0 };
    const { comparison, switched } = await rebuild(fixture.pipelines.telemetry, fixture.ports, options);
    assert.ok(comparison.equal && switched, JSON.stringify(comparison));
    assert.deepEqual(await sums(2), [5, 1, 2, 2]);
  });

  it('that nothing holds any longer since this release are applied when it starts', async () => {
    const strict = fixture.telemetryLike(() => ({ holdsStream: () => true }));
    const stop = fixture.consuming([strict]);
    await fixture.publishRaw({ deviceId: 'a', timestamp: 1, metrics: {} });
    await fixture.measure('a', [[2, { n: 2 }]]);
    await fixture.consumed('telemetry');
    await stop();
    assert.deepEqual(
      (await list()).map(({ cause }) => cause),
      ['malformed', 'behind'],
    );
    fixture.consuming();
    const end = new AbortController();
    const retrying = retryRegistered(fixture.pipelines.telemetry, fixture.ports, quiet, end.signal);
    await eventually(async () => assert.deepEqual(await timestampsOf('a'), [2]));
    end.abort();
    await retrying;
    assert.deepEqual(
      (await list()).map(({ cause }) => cause),
      ['malformed'],
    );
  });

  it('that fail again stop their stream and say what is wrong now', async () => {
    const { allergic } = await poisoned();
    const [first, behind] = await list();
    const worse = fixture.telemetryLike(() => ({
      decode() {
        throw new Error('worse');
      },
    }));
    assert.deepEqual(await retried({ projection: 'telemetry', stream: 'device-a' }, desk(worse)), [
      {
        projection: 'telemetry',
        stream: 'device-a',
        applied: 0,
        failed: { position: '2', cause: 'failed', error: 'worse' },
      },
    ]);
    assert.deepEqual(
      (await list()).map(({ id, error }) => [id, error]),
      [
        [first?.id, 'worse'],
        [behind?.id, behind?.error],
      ],
    );
    await retried({ projection: 'telemetry' }, desk(allergic));
    assert.equal((await list()).length, 2);
  });

  it('are not retried before those ahead of them in their stream', async () => {
    await poisoned();
    const [, behind] = await list();
    await assert.rejects(retried({ id: behind?.id ?? 0 }), (error) => {
      assert.ok(error instanceof ReplayRefused);
      assert.match(error.message, /stands behind/);
      return true;
    });
    await assert.rejects(retried({ id: 12345 }), ReplayRefused);
    await assert.rejects(retried({ projection: 'telemetry', stream: 'device-b' }), ReplayRefused);
  });

  /** Of which telemetry has been consumed, and a rebuild has not come to the end. */
  async function interruptedRebuild(whenConsumed: () => Promise<unknown> = async () => {}) {
    for (let n = 0; n < 2000; n += 500)
      await fixture.measure(
        'b',
        Array.from({ length: 500 }, (_, i) => [n + i, { n }]),
      );
    fixture.consuming();
    await fixture.consumed('telemetry');
    await whenConsumed();
    const stop = new AbortController();
    const stopped = rebuild(fixture.pipelines.telemetry, fixture.ports, {
      builder,
      signal: stop.signal,
      throttle: 1000,
      onProgress: ({ done }) => done > 100 && stop.abort(new Error('enough')),
    });
    await assert.rejects(stopped, /enough/);
  }

  async function rebuilt() {
    const options = { builder, signal: new AbortController().signal, handover: 0 };
    return rebuild(fixture.pipelines.telemetry, fixture.ports, options);
  }

  const givenUp = (stream: string) =>
    desk().discard({ projection: 'telemetry', stream }, { by: 'Alice', reason: 'test bench' });

  it('that are discarded once an interrupted rebuild has applied their events are given up in it', async () => {
    for (const at of [1, 2])
      await fixture.publishRaw({ deviceId: 'late', timestamp: at, metrics: { n: at } });
    await interruptedRebuild(() => fixture.register('late'));
    assert.equal(await givenUp('device-late'), 2);
    const { comparison, switched } = await rebuilt();
    assert.ok(comparison.equal && switched);
    assert.deepEqual(await timestampsOf('late'), []);
  });

  it('that are discarded once an interrupted rebuild has parked them are not applied by it', async () => {
    await fixture.publishRaw({ deviceId: 'a', timestamp: 0 }, { type: 'NeverHeardOf' });
    await fixture.publishRaw({ deviceId: 'a', timestamp: 1, metrics: { n: 1 } });
    await interruptedRebuild();
    assert.equal(await givenUp('device-a'), 2);
    const { comparison, switched, resumed } = await rebuilt();
    assert.ok(resumed && comparison.equal && switched);
    assert.deepEqual(await timestampsOf('a'), []);
  });

  it('stay where the answer to the commit that puts a rebuilt device in place is lost', async () => {
    await fixture.publishRaw({ deviceId: 'a', timestamp: 0 }, { type: 'NeverHeardOf' });
    await fixture.publishRaw({ deviceId: 'a', timestamp: 1, metrics: { n: 1 } });
    fixture.consuming();
    await fixture.consumed('telemetry');
    const { control } = fixture.ports;
    let commits = 0;
    const hold: typeof control.hold = async (generation, work) => {
      commits += 1;
      if (commits === 1) await control.hold(generation, work);
      await control.hold(generation, work);
    };
    const options = { builder, signal: new AbortController().signal };
    const device = { deviceId: 'a', stream: 'device-a' };
    const ports = { ...fixture.ports, control: { ...control, hold } };
    await rebuildDevice(fixture.pipelines.telemetry, device, ports, options);
    assert.ok(commits >= 2);
    assert.deepEqual(
      (await list()).map(({ stream, cause }) => [stream, cause]),
      [
        ['device-a', 'unknown-type'],
        ['device-a', 'behind'],
      ],
    );
  });

  it('that are applied behind one that waits, after an interrupted rebuild parked them, are by it too', async () => {
    await fixture.publishRaw({ deviceId: 'late', timestamp: 'never' });
    await fixture.publishRaw({ deviceId: 'late', timestamp: 1, metrics: { n: 1 } });
    await interruptedRebuild();
    await fixture.register('late');
    await retried({ projection: 'telemetry' });
    assert.deepEqual(
      (await list()).map(({ cause }) => cause),
      ['malformed'],
    );
    const { comparison, switched, resumed } = await rebuilt();
    assert.ok(resumed && comparison.equal && switched);
    assert.deepEqual(await timestampsOf('late'), [1]);
  });

  it('that are discarded stay on record and in the ledger, and let those behind them continue', async () => {
    await poisoned();
    const [first] = await list();
    const why = { by: 'Alice', reason: 'test bench' };
    assert.equal(await desk().discard({ id: first?.id ?? 0 }, why), 1);
    assert.deepEqual(
      (await list({ discarded: true })).map(({ id, discarded }) => [id, discarded?.by, discarded?.reason]),
      [[first?.id, 'Alice', 'test bench']],
    );
    await assert.rejects(desk().discard({ id: first?.id ?? 0 }, why), /discarded by Alice: test bench/);
    await retried({ projection: 'telemetry' });
    assert.deepEqual(await timestampsOf('a'), [1, 3]);
    assert.deepEqual(await ledger(), [
      ['a', 2, 1],
      ['b', 3, 0],
    ]);
    assert.deepEqual(await fixture.ports.deadLetters.counts(), [
      { projection: 'telemetry', cause: 'failed', waiting: 0, discarded: 1 },
    ]);
  });

  it('that were discarded stay so in a rebuild, and those retried meanwhile are applied there too', async () => {
    const { stop } = await poisoned();
    await stop();
    const [first] = await list();
    await desk().discard({ id: first?.id ?? 0 }, { by: 'Alice', reason: 'test bench' });
    fixture.consuming();
    await fixture.publishRaw({ deviceId: 'late', timestamp: 1, metrics: { n: 1 } });
    await fixture.consumed('telemetry');
    await fixture.register('late');
    const options = { builder, signal: new AbortController().signal, handover: 0 };
    const { comparison, switched } = await rebuild(fixture.pipelines.telemetry, fixture.ports, {
      ...options,
      onClaimed: () => void retried({ projection: 'telemetry' }),
    });
    assert.ok(comparison.equal && switched, JSON.stringify(comparison));
    assert.deepEqual(
      (await list({ discarded: true })).map(({ discarded }) => discarded?.reason),
      ['test bench'],
    );
    assert.deepEqual(await list(), []);
  });

  it('keep an event of an unknown type for the release that knows it', async () => {
    await fixture.publishRaw({ deviceId: 'a', mood: 'good' }, { type: 'TelemetryDreamt' });
    fixture.consuming();
    await fixture.consumed('telemetry');
    assert.deepEqual(
      (await list()).map(({ eventType, cause }) => [eventType, cause]),
      [['TelemetryDreamt', 'unknown-type']],
    );
  });
});
