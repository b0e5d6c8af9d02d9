import assert from 'node:assert/strict';
import { CheckpointOfAnotherLog, OperatorNeeded } from '../../../application/ports/event-source.ts';
import { projectionState } from '../../../application/ports/generations.ts';
import { telemetryProjection } from '../../../application/projections/telemetry.ts';
import {
  type ProjectionPipeline,
  projectionPipeline,
} from '../../../application/rebuild/projection-pipeline.ts';
import { activate, rebuild, rebuildDevice } from '../../../application/rebuild/rebuild.ts';
import { upgrade } from '../../../application/rebuild/upgrade.ts';
import { deviceStream } from '../../../domain/device.ts';
import { eventRegistry } from '../../../infrastructure/event-registry.ts';
import { services as s } from '../../../interfaces/composition/services.ts';
import { onEachEngine, type ReadModelStore } from '../../support/each-engine.ts';
import { eventually } from '../../support/eventually.ts';
import { PartitionedLog } from '../../support/partitioned-log.ts';
import { quiet, type ReplayFixture, replayFixture } from '../../support/replay-fixture.ts';

const options = () => ({
  builder: { id: 'a test', isExpired: () => false },
  signal: new AbortController().signal,
  handover: 0,
});

onEachEngine('A projection whose log is another one', (open) => {
  let stores: ReadModelStore;
  let fixture: ReplayFixture;

  beforeEach(async () => {
    stores = await open();
    fixture = await replayFixture(stores.env);
    await fixture.register('a');
  });
  afterEach(async () => {
    await fixture.close();
    await stores.drop();
  });

  const newLog = (readings: number, identity: string | null): PartitionedLog => {
    const log = new PartitionedLog(1, () => 0);
    log.log = identity;
    log.append(0, 'a', 0, readings);
    return log;
  };

  async function telemetryOver(log: PartitionedLog, version = 1): Promise<ProjectionPipeline> {
    const retention = await fixture.container.getAsync(s.retention);
    const projection = telemetryProjection(eventRegistry, fixture.directory, retention, () =>
      log.partitioner(),
    );
    return projectionPipeline({ ...projection, version }, log, 'test', {
      clock: { now: Date.now },
      log: quiet,
      observer: { consumed() {}, failed() {} },
    });
  }

  const state = (pipeline: ProjectionPipeline) => projectionState(pipeline, fixture.ports.control);

  async function consumedBy(log: PartitionedLog): Promise<ProjectionPipeline> {
    const pipeline = await telemetryOver(log);
    const stop = fixture.consuming([pipeline]);
    const { active } = await state(pipeline);
    const of = { projection: 'telemetry', generation: active };
    await eventually(async () => {
      const [end] = (await log.ends()).values();
      assert.equal(await fixture.ports.readModels.checkpoint(of, 0), end);
    });
    await stop();
    return pipeline;
  }

  for (const identity of ['made anew', null])
    it(`stops, says so and is rebuilt from it${identity === null ? ', though nothing but an event tells' : ''}`, async () => {
      await consumedBy(newLog(50, identity && 'first'));
      const other = newLog(0, identity);
      other.append(0, 'a', 1000, 60);
      if (identity === null) other.rename((id) => `other-${id}`);
      const pipeline = await telemetryOver(other);
      fixture.consuming([pipeline]);
      await eventually(async () =>
        assert.match(
          (await state(pipeline)).refused ?? '',
          /^telemetry has stopped at 50 .*rebuild telemetry/,
        ),
      );
      const device = { deviceId: 'a', stream: deviceStream('a') };
      await assert.rejects(rebuildDevice(pipeline, device, fixture.ports, options()), CheckpointOfAnotherLog);
      await assert.rejects(
        upgrade(await telemetryOver(other, 2), fixture.ports, options()),
        CheckpointOfAnotherLog,
      );

      const { switched, comparison } = await rebuild(pipeline, fixture.ports, options());
      assert.deepEqual([switched, comparison.samePosition], [true, false]);
      assert.deepEqual(comparison.tables[0]?.rows, { active: 50, next: 60 });
      assert.equal((await state(pipeline)).refused, null);
      const rows = await fixture.db.rows('SELECT MIN(ts), COUNT(*) FROM telemetry_g2');
      assert.deepEqual(
        rows.map((row) => row.map(Number)),
        [[1_000_000, 60]],
      );
    });

  it('is not given back tables that were made from the first one', async () => {
    await consumedBy(newLog(50, 'first'));
    const pipeline = await telemetryOver(newLog(20, 'second'));
    await rebuild(pipeline, fixture.ports, options());
    await assert.rejects(activate(pipeline, 'retired', fixture.ports, options()), CheckpointOfAnotherLog);
    const { active } = await state(pipeline);
    assert.equal(active, 2);
  });

  it('is given them back with the first log', async () => {
    const first = newLog(50, 'first');
    await consumedBy(first);
    await rebuild(await telemetryOver(newLog(20, 'second')), fixture.ports, options());
    const outcome = await activate(await telemetryOver(first), 'retired', fixture.ports, options());
    assert.deepEqual([outcome.switched, outcome.generation], [true, 1]);
  });

  it('resumes no build that was begun from the first one', async () => {
    const first = newLog(50, 'first');
    await consumedBy(first);
    const stop = new AbortController();
    const stopped = rebuild(await telemetryOver(first), fixture.ports, {
      ...options(),
      signal: stop.signal,
      onProgress: ({ phase, done }) => {
        if (phase !== 'fill' && done > 0) stop.abort(new Error('stopped'));
      },
    });
    await assert.rejects(stopped, /stopped/);
    const outcome = await rebuild(await telemetryOver(newLog(20, 'second')), fixture.ports, options());
    assert.deepEqual([outcome.switched, outcome.resumed], [true, false]);
  });
});

onEachEngine('An upgrade that nobody asked for', (open) => {
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

  it('does not switch to fewer rows, says so, and builds nothing again until an operator decides', async () => {
    await fixture.register('a');
    await fixture.measure(
      'a',
      Array.from({ length: 40 }, (_, n) => [n, { n }]),
    );
    fixture.consuming();
    await fixture.consumed('telemetry');
    await fixture.db.run(
      `INSERT INTO telemetry_g1 (device_id, ts, metrics, received_at, correlation_id, position)
       VALUES ('ghost', 1, '{}', 1, 'c', '1')`,
    );
    const newer = fixture.telemetryLike(() => ({ version: 2 }));
    for (let attempt = 0; attempt < 2; attempt += 1)
      await assert.rejects(upgrade(newer, fixture.ports, options()), (error) => {
        assert.ok(error instanceof OperatorNeeded);
        assert.match(
          error.message,
          /^telemetry stays at generation 1, .*\(telemetry 40 of 41\).*projections switch/,
        );
        return true;
      });
    const { generations } = await projectionState(newer, fixture.ports.control);
    assert.deepEqual(
      generations.map(({ status }) => status),
      ['active', 'ready'],
    );
    assert.ok((await activate(newer, 'ready', fixture.ports, options())).switched);
  });
});
