import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { PoisonEvent } from '../../../application/checked-batch.ts';
import { type LeaseOwner, RebuildUnderWay, ReplayRefused } from '../../../application/ports/generations.ts';
import { projectionNames } from '../../../application/projections/projection.ts';
import { SwitchedMeanwhile } from '../../../application/rebuild/claim.ts';
import { activate, rebuild, rebuildDevice } from '../../../application/rebuild/rebuild.ts';
import { upgrade } from '../../../application/rebuild/upgrade.ts';
import { deviceStream } from '../../../domain/device.ts';
import { onEachEngine, type ReadModelStore } from '../../support/each-engine.ts';
import { eventually } from '../../support/eventually.ts';
import { type ReplayFixture, replayFixture } from '../../support/replay-fixture.ts';

const builder = (runner = 'a test'): LeaseOwner => ({ id: runner, isExpired: () => false });
const options = (runner?: string) => ({
  builder: builder(runner),
  signal: new AbortController().signal,
  handover: 0,
});
const day = 86_400_000;

onEachEngine('A rebuild', (open) => {
  let stores: ReadModelStore;
  let fixture: ReplayFixture;

  beforeEach(async () => {
    stores = await open();
    fixture = await replayFixture(stores.env);
  });
  afterEach(async () => {
    await fixture.close();
    await stores.drop();
  });

  const states = async (name: string) =>
    (await fixture.ports.control.states()).find(({ projection }) => projection === name)!;
  const statuses = async (name: string) =>
    (await states(name)).generations.map(({ generation, status }) => `${generation} ${status}`);

  /** A few devices with readings late, twice, corrected and taken back. */
  async function history(readings = 400) {
    for (const id of ['a', 'b']) await fixture.register(id);
    for (let n = 0; n < readings; n += 40)
      for (const id of ['a', 'b'])
        await fixture.measure(
          id,
          Array.from({ length: 20 }, (_, i) => [((n + i) % 130) * 50_000, { n, i, ok: i % 2 === 0 }]),
        );
    await fixture.publishRaw(
      { deviceId: 'a', from: 0, to: day / 20, reason: 'wrong' },
      { type: 'TelemetryRetracted' },
    );
    await fixture.measure('a', [[100, { n: 1 }]]);
  }

  for (const name of projectionNames) {
    it(`of ${name} is equal, becomes the active one and keeps the old`, async () => {
      await history();
      fixture.consuming();
      await fixture.consumed(name);
      const outcome = await rebuild(fixture.pipelines[name], fixture.ports, options());
      assert.deepEqual(
        outcome.comparison.tables.filter(({ equal }) => !equal),
        [],
      );
      assert.ok(outcome.comparison.samePosition);
      assert.ok(outcome.switched);
      assert.deepEqual(await statuses(name), ['1 retired', '2 active']);
      assert.equal((await states(name)).generations[1]?.runner, null);
    });

    for (const events of [0, 1])
      it(`of ${name} works with ${events} events`, async () => {
        if (events === 1) await fixture.register('only');
        if (events === 1) await fixture.measure('only', [[1, { n: 1 }]]);
        fixture.consuming();
        await fixture.consumed(name);
        const { comparison, switched } = await rebuild(fixture.pipelines[name], fixture.ports, options());
        assert.ok(switched && comparison.equal);
      });
  }

  it('goes to where a paused generation stands, and no further', async () => {
    await history();
    const stop = fixture.consuming();
    await fixture.consumed('telemetry');
    await stop();
    await fixture.ports.control.setPaused('telemetry', true);
    await fixture.measure('a', [[7, { late: 1 }]]);
    const { comparison, switched } = await rebuild(fixture.pipelines.telemetry, fixture.ports, options());
    assert.ok(switched && comparison.equal && comparison.samePosition);
  });

  it('is equal while readings keep coming', async () => {
    await history();
    fixture.consuming();
    let over = false;
    const ingest = (async () => {
      for (let n = 0; !over; n += 1) await fixture.measure('b', [[day + n, { n }]]);
    })();
    try {
      const { comparison, switched } = await rebuild(fixture.pipelines.telemetry, fixture.ports, options());
      assert.ok(comparison.samePosition && comparison.equal && switched);
    } finally {
      over = true;
      await ingest;
    }
    await fixture.consumed('telemetry');
  });

  it('tells a second operator who is at it', async () => {
    await history();
    fixture.consuming();
    await fixture.consumed('telemetry');
    const claimed = Promise.withResolvers<void>();
    const first = rebuild(fixture.pipelines.telemetry, fixture.ports, {
      ...options('Alice'),
      onClaimed: () => claimed.resolve(),
    });
    await claimed.promise;
    await assert.rejects(rebuild(fixture.pipelines.telemetry, fixture.ports, options('Bob')), (error) => {
      assert.ok(error instanceof RebuildUnderWay);
      assert.match(error.message, /by Alice/);
      return true;
    });
    assert.ok((await first).switched);
  });

  it('of a new version is not begun again by a node that looked before another had switched', async () => {
    await history();
    const newer = fixture.telemetryLike(() => ({ version: 2 }));
    const late = fixture.telemetryLike(() => ({ version: 2 }));
    const isFirst = Promise.withResolvers<void>();
    const lateUpgrade = upgrade(
      { ...late, expired: () => isFirst.promise.then(() => late.expired()) },
      fixture.ports,
      options('Bob'),
    );
    assert.ok((await upgrade(newer, fixture.ports, options('Alice')))?.switched);
    isFirst.resolve();
    await assert.rejects(lateUpgrade, SwitchedMeanwhile);
    assert.equal(await upgrade(late, fixture.ports, options('Bob')), undefined);
    assert.deepEqual(await statuses('telemetry'), ['1 retired', '2 active']);
  });

  it('of a new version goes past what came when no worker of the old one ran any more', async () => {
    await history(80);
    const stop = fixture.consuming();
    await fixture.consumed('telemetry');
    await stop();
    await fixture.publishRaw({ deviceId: 'unheard-of', timestamp: 1, metrics: { n: 1 } });
    await fixture.publishRaw(
      { deviceId: 'b', from: 0, to: day, reason: 'wrong' },
      { type: 'TelemetryRetracted' },
    );
    const outcome = await upgrade(
      fixture.telemetryLike(() => ({ version: 2 })),
      fixture.ports,
      options(),
    );
    assert.ok(outcome?.switched && outcome.comparison.samePosition && outcome.comparison.equal);
    const [parked] = await fixture.ports.deadLetters.list({ projection: 'telemetry' }, { limit: 10 });
    assert.equal(parked?.stream, 'device-unheard-of');
    await fixture.consumed('telemetry');
  });

  it('stopped while it hands over to the workers has switched, and says so', async () => {
    await history();
    const stop = new AbortController();
    const { ports, pipelines } = fixture;
    const control = {
      ...ports.control,
      hold: async (...[of, work]: Parameters<typeof ports.control.hold>) => {
        await ports.control.hold(of, work);
        if ((await states('telemetry')).active !== 2) return;
        stop.abort(new Error('stopped'));
        await nextTurn();
      },
    };
    const patient = { builder: builder(), signal: stop.signal, handover: 60_000 };
    assert.ok((await rebuild(pipelines.telemetry, { ...ports, control }, patient)).switched);
    const { outcome } = (await states('telemetry')).generations[1] ?? {};
    assert.equal(outcome?.result, 'switched');
  });

  it('ends on a database too slow for a short round, while readings keep coming', async () => {
    await history();
    const { ports, pipelines } = fixture;
    let rounds = 0;
    const slow = {
      ...ports.readModels,
      checkpoint: async (...[generation, partition]: Parameters<typeof ports.readModels.checkpoint>) => {
        if (generation.generation === 1) {
          rounds += 1;
          await fixture.measure('a', [[10_000 + rounds, { n: rounds }]]);
          await new Promise((resolve) => setTimeout(resolve, 510));
        }
        return ports.readModels.checkpoint(generation, partition);
      },
    };
    assert.ok((await rebuild(pipelines.telemetry, { ...ports, readModels: slow }, options())).switched);
    assert.ok(rounds < 15, `${rounds} rounds`);
  });

  it('whose process ended before it came to the views has the workers point them to the active generation', async () => {
    await history();
    const end = fixture.consuming();
    await fixture.consumed('devices');
    await rebuild(fixture.pipelines.devices, fixture.ports, options());
    await end();
    const listed = async () => (await fixture.db.all('SELECT device_id FROM devices')).length;
    await fixture.db.run('DELETE FROM devices_g2');
    assert.equal(await listed(), 0);
    await fixture.db.run("UPDATE projections SET active = 1 WHERE name = 'devices'");
    fixture.consuming();
    await eventually(async () => assert.equal(await listed(), 2));
  });

  it('stopped on its way continues where it was', async () => {
    await fixture.register('a');
    for (let n = 0; n < 2000; n += 500)
      await fixture.measure(
        'a',
        Array.from({ length: 500 }, (_, i) => [n + i, { n }]),
      );
    fixture.consuming();
    await fixture.consumed('telemetry');
    const stop = new AbortController();
    const stopped = rebuild(fixture.pipelines.telemetry, fixture.ports, {
      builder: builder(),
      signal: stop.signal,
      throttle: 1000,
      onProgress: ({ done }) => done > 100 && stop.abort(new Error('enough')),
    });
    await assert.rejects(stopped, /enough/);
    const before = (await states('telemetry')).generations[1];
    assert.equal(before?.status, 'building');
    assert.deepEqual(before?.outcome, { result: 'failed', error: 'enough' });
    const done = before?.progress?.done ?? 0;
    assert.ok(done > 100 && done < 2000, `${done}`);
    const outcome = await rebuild(fixture.pipelines.telemetry, fixture.ports, options());
    assert.ok(outcome.resumed && outcome.switched && outcome.comparison.equal);
    assert.equal(outcome.generation, 2);
  });

  it('does not switch to tables that differ, says which, and switch takes them all the same', async () => {
    await history();
    fixture.consuming();
    await fixture.consumed('telemetry');
    await fixture.db.run("DELETE FROM telemetry_g1 WHERE device_id = 'b' AND ts = 0");
    const outcome = await rebuild(fixture.pipelines.telemetry, fixture.ports, options());
    assert.equal(outcome.switched, false);
    assert.deepEqual(
      outcome.comparison.tables
        .filter(({ equal }) => !equal)
        .map(({ table, rows }) => [table, rows.next - rows.active]),
      [['telemetry', 1]],
    );
    assert.deepEqual(await statuses('telemetry'), ['1 active', '2 ready']);
    await fixture.measure('a', [[9, { n: 1 }]]);
    await activate(fixture.pipelines.telemetry, 'ready', fixture.ports, options());
    assert.deepEqual(await statuses('telemetry'), ['1 retired', '2 active']);
    await fixture.consumed('telemetry');
  });

  it('can be gone back on, caught up with what came since', async () => {
    await history();
    fixture.consuming();
    await fixture.consumed('telemetry');
    await rebuild(fixture.pipelines.telemetry, fixture.ports, options());
    await fixture.measure('b', [[123_456, { n: 7 }]]);
    await fixture.consumed('telemetry');
    const back = await activate(fixture.pipelines.telemetry, 'retired', fixture.ports, options());
    assert.ok(back.comparison.equal && back.comparison.samePosition);
    assert.deepEqual(await statuses('telemetry'), ['1 active', '2 retired']);
  });

  it('is refused where it would eat into the reserve of the disk', async () => {
    await history(40);
    fixture.consuming();
    await fixture.consumed('telemetry');
    const size = await fixture.ports.control.size({ projection: 'telemetry', generation: 1 });
    if (size === null) return;
    assert.ok(size > 10_000);
    const disk = { room: () => ({ folder: '/data', free: 1000 + size, reserve: 1000 }) };
    const refused = rebuild(fixture.pipelines.telemetry, { ...fixture.ports, disk }, options());
    await assert.rejects(refused, /A rebuild of telemetry needs about \d+ bytes on the disk of \/data/);
    assert.deepEqual(await statuses('telemetry'), ['1 active']);
  });

  it('gives back what it took when the disk fills up', async () => {
    await history();
    fixture.consuming();
    await fixture.consumed('telemetry');
    let looks = 0;
    const disk = {
      room() {
        looks += 1;
        return { folder: '/data', free: looks === 1 ? 1e12 : 0, reserve: 1000 };
      },
    };
    const failed = rebuild(fixture.pipelines.telemetry, { ...fixture.ports, disk }, options());
    await assert.rejects(failed, /The disk of \/data is full: 0 bytes are free/);
    assert.deepEqual(await statuses('telemetry'), ['1 active']);
  });

  for (const keepGenerations of [0, 1, 2])
    it(`keeps ${keepGenerations} retired generations, the newest`, async () => {
      await history(40);
      fixture.consuming();
      await fixture.consumed('telemetry');
      const ports = { ...fixture.ports, keepGenerations };
      const dropped: number[] = [];
      for (let n = 0; n < 3; n += 1)
        dropped.push(...(await rebuild(fixture.pipelines.telemetry, ports, options())).dropped);
      const all = ['1', '2', '3'];
      const kept = all.slice(all.length - keepGenerations);
      assert.deepEqual(await statuses('telemetry'), [...kept.map((one) => `${one} retired`), '4 active']);
      assert.deepEqual(dropped.map(String), all.slice(0, all.length - keepGenerations));
      assert.ok((await fixture.db.all('SELECT device_id FROM telemetry')).length > 0);
    });

  it('keeps of the generations that wait the newest, which alone can be switched to', async () => {
    await history(40);
    fixture.consuming();
    await fixture.consumed('telemetry');
    await fixture.db.run('DELETE FROM telemetry_1h_g1');
    for (let n = 0; n < 3; n += 1)
      assert.equal((await rebuild(fixture.pipelines.telemetry, fixture.ports, options())).switched, false);
    assert.deepEqual(await statuses('telemetry'), ['1 active', '4 ready']);
  });

  it('leaves the active generation alone when asked to drop it, and drops others', async () => {
    const { control } = fixture.ports;
    await rebuild(fixture.pipelines.devices, fixture.ports, options());
    await assert.rejects(control.drop({ projection: 'devices', generation: 2 }, builder()), ReplayRefused);
    await control.drop({ projection: 'devices', generation: 1 }, builder());
    assert.deepEqual(await statuses('devices'), ['2 active']);
    await assert.rejects(fixture.db.all('SELECT * FROM devices_g1'));
  });

  it('stops at a new poison event and says where, continues once it is seen to', async () => {
    await history();
    fixture.consuming();
    await fixture.consumed('telemetry');
    const { telemetryLike, ports, pipelines } = fixture;
    const failing = telemetryLike((projection) => ({
      decode(event) {
        if (event.position === '300') throw new Error('cannot take this one');
        return projection.decode(event);
      },
    }));
    await assert.rejects(rebuild(failing, ports, options()), (error) => {
      assert.ok(error instanceof PoisonEvent, String(error));
      assert.match(error.message, /at 300 in partition 0 .*cannot take this one/);
      return true;
    });
    assert.deepEqual(await statuses('telemetry'), ['1 active', '2 building']);
    const outcome = await rebuild(pipelines.telemetry, ports, options());
    assert.ok(outcome.resumed && outcome.comparison.equal);
  });

  it('parks what the live generation has parked', async () => {
    await history();
    await fixture.publishRaw({ deviceId: 'a', timestamp: 'never' });
    await fixture.publishRaw({ deviceId: 'unheard-of', timestamp: 1, metrics: { n: 1 } });
    fixture.consuming();
    await fixture.consumed('telemetry');
    const { comparison, switched } = await rebuild(fixture.pipelines.telemetry, fixture.ports, options());
    assert.ok(comparison.equal && switched);
    assert.equal((await fixture.ports.deadLetters.list({}, { limit: 10 })).length, 2);
  });

  it('of a new version switches in spite of differences, and works where nobody has the old code', async () => {
    await history();
    const stop = fixture.consuming();
    await fixture.consumed('telemetry');
    await stop();
    await fixture.measure('b', [[77, { n: 1 }]]);
    await fixture.db.run(`DELETE FROM telemetry_1h_g1 WHERE device_id = 'a'`);
    const newer = fixture.telemetryLike(() => ({ version: 2 }));
    const { switched, comparison } = await rebuild(newer, fixture.ports, options());
    assert.ok(switched && comparison.samePosition && !comparison.equal);
    await fixture.consumed('telemetry');
    assert.deepEqual(await statuses('telemetry'), ['1 retired', '2 active']);
    assert.equal((await states('telemetry')).generations[1]?.version, 2);
    await assert.rejects(activate(newer, 'retired', fixture.ports, options()), ReplayRefused);
  });

  it('is done by the workers of a newer release, while those of the older one serve the old generation', async () => {
    await history();
    fixture.consuming();
    await fixture.consumed('telemetry');
    fixture.consuming([fixture.telemetryLike(() => ({ version: 2 }))]);
    await eventually(async () => assert.deepEqual(await statuses('telemetry'), ['1 retired', '2 active']));
    await fixture.measure('a', [[99, { n: 99 }]]);
    await fixture.consumed('telemetry');
    const { active, generations } = await states('telemetry');
    assert.equal(generations.find(({ generation }) => generation === active)?.version, 2);
  });

  for (const name of ['devices', 'device_history', 'telemetry'] as const)
    it(`of one device of ${name} puts right its rows and no others`, async () => {
      await history();
      fixture.consuming();
      await fixture.consumed(name);
      const { control, readModels } = fixture.ports;
      const digest = async () => (await control.digest({ projection: name, generation: 1 })).tables;
      const right = await digest();
      const broken = {
        devices: 'devices_g1',
        device_history: 'device_history_g1',
        telemetry: 'telemetry_1h_g1',
      }[name];
      await fixture.db.run(`DELETE FROM ${broken} WHERE device_id = 'a'`);
      assert.notDeepEqual(await digest(), right);
      const epochs: number[] = [];
      const noteEpoch = () =>
        readModels.transact({ projection: name, generation: 1 }, 0, async (_, { position, epoch }) => {
          epochs.push(epoch);
          return position;
        });
      await noteEpoch();
      await rebuildDevice(
        fixture.pipelines[name],
        { deviceId: 'a', stream: deviceStream('a') },
        fixture.ports,
        options(),
      );
      await noteEpoch();
      assert.deepEqual(await digest(), right);
      assert.deepEqual(await statuses(name), ['1 active']);
      assert.ok((epochs[1] ?? 0) > (epochs[0] ?? 0));
    });
});
