import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { deviceAudit } from '../../application/operations/device-audit.ts';
import { rebuild } from '../../application/rebuild/rebuild.ts';
import { retentionSweeper } from '../../application/retention/sweeper.ts';
import { tableOf } from '../../infrastructure/sql/generation-tables.ts';
import { operationsOf } from '../../interfaces/composition/application.ts';
import { sweepPorts } from '../../interfaces/composition/retention.ts';
import { services as s } from '../../interfaces/composition/services.ts';
import { EventStoreDbDouble } from '../support/eventstoredb/eventstoredb-double.ts';
import { eventually } from '../support/eventually.ts';
import { quiet, type ReplayFixture, replayFixture } from '../support/replay-fixture.ts';

const builder = { id: 'a test', isExpired: () => false };
const signal = new AbortController().signal;
const names = ['devices', 'device_history', 'telemetry'] as const;

const foreignEvent = () => ({
  id: randomUUID(),
  type: 'OrderPlaced',
  contentType: 'application/json',
  data: Buffer.from('{"order":1}'),
  metadata: new Uint8Array(),
});

describe('A device whose stream somebody deleted in EventStoreDB', function () {
  this.timeout(60_000);
  let server: EventStoreDbDouble;
  let fixture: ReplayFixture;
  let audit: ReturnType<typeof deviceAudit>;
  let stop: AbortController;
  let following: Promise<void>;
  let followed: Set<string>;

  beforeEach(async () => {
    server = await EventStoreDbDouble.start();
    fixture = await replayFixture({ EVENTSTORE_URL: server.url });
    const { container } = fixture;
    audit = deviceAudit(
      {
        eventStore: await container.getAsync(s.eventStore),
        source: await container.getAsync(s.deviceSource),
        registry: fixture.registry,
        discarded: await container.getAsync(s.discardedEvents),
        devices: fixture.devices,
        readModels: fixture.ports.readModels,
        control: fixture.ports.control,
        ids: await container.getAsync(s.ids),
      },
      'device audit',
    );
    for (const id of ['gone', 'other']) {
      await fixture.register(id);
      await fixture.measure(id, [
        [1000, { n: 1 }],
        [1000, { n: 2 }],
        [2000, { n: 2 }],
      ]);
    }
    fixture.consuming();
    stop = new AbortController();
    followed = new Set();
    const source = await container.getAsync(s.deviceSource);
    const watched = {
      ends: () => source.ends(),
      run: ((consumer, options) =>
        source.run(
          {
            ...consumer,
            consume: async (batch) => {
              await consumer.consume(batch);
              for (const { stream } of batch.events) followed.add(stream.slice('device-'.length));
            },
          },
          options,
        )) as typeof source.run,
    };
    following = fixture.directory.follow(watched, 'directory', stop.signal);
    // One for the projections of devices, the directory's, and what detection follows: rules and devices.
    await eventually(() => assert.ok(server.traffic.subscriptions.size >= 4));
    await consumed();
  });
  afterEach(async () => {
    stop.abort();
    await following;
    await fixture.close();
    await server.stop();
  });

  /** A place in the log that every projection comes to, whatever else stands before it. */
  async function consumed(): Promise<void> {
    const marker = `marker-${randomUUID()}`;
    await fixture.register(marker);
    await fixture.consumed('telemetry');
    await eventually(async () => {
      assert.equal((await fixture.devices.find([marker])).size, 1);
      assert.equal((await fixture.devices.history(marker, { limit: 1 })).length, 1);
      assert.ok(followed.has(marker));
    });
  }

  async function sweep(): Promise<void> {
    const { control, readModels } = fixture.ports;
    const ports = { ...(await sweepPorts(fixture.container)), control, readModels };
    const clock = { now: Date.now };
    await retentionSweeper({ ...ports, source: fixture.source, clock }, builder, quiet).once(signal);
  }

  async function rebuildAll(): Promise<void> {
    for (const name of names) {
      const options = { builder, signal, handover: 0 };
      const { comparison } = await rebuild(fixture.pipelines[name], fixture.ports, options);
      assert.ok(comparison.equal, JSON.stringify(comparison.tables));
    }
  }

  /** How many rows the active generation of telemetry has of the device, by table. */
  async function telemetryOf(deviceId: string): Promise<Record<string, number>> {
    const states = await fixture.ports.control.states();
    const active = states.find(({ projection }) => projection === 'telemetry')?.active ?? 0;
    const counted: Record<string, number> = {};
    for (const base of ['telemetry', 'telemetry_latest', 'telemetry_1m', 'telemetry_1d'])
      counted[base] = (
        await fixture.db.rows(`SELECT 1 FROM ${tableOf(base, active)} WHERE device_id = ?`, [deviceId])
      ).length;
    return counted;
  }
  const nothing = { telemetry: 0, telemetry_latest: 0, telemetry_1m: 0, telemetry_1d: 0 };

  async function differencesOfTelemetry(): Promise<number> {
    const operations = await operationsOf(fixture.container, 'audit');
    return (await operations.audit({}, signal)).differenceCount;
  }

  it('has no telemetry left of what came while it was swept', async () => {
    const { erased } = await sweepPorts(fixture.container);
    // As where readings came between the end of a sweep's points and this.
    await erased.removeRest({ projection: 'telemetry', generation: 1 }, 'gone', Date.now());
    server.store.tombstone('device-gone', 'any');
    await consumed();
    await sweep();
    assert.deepEqual(await telemetryOf('gone'), nothing);
  });

  for (const [how, remove] of [
    ['for good', () => server.store.tombstone('device-gone', 'any')],
    ['softly', () => server.store.softDelete('device-gone', 'any')],
  ] as const)
    it(`has no telemetry left, live and after a rebuild, when it was deleted ${how}`, async () => {
      remove();
      await consumed();
      await sweep();
      assert.deepEqual(await telemetryOf('gone'), nothing);
      assert.equal((await telemetryOf('other')).telemetry, 2);
      assert.equal(await differencesOfTelemetry(), 0);
      await rebuildAll();
      assert.deepEqual(await telemetryOf('gone'), nothing);
      assert.equal(await differencesOfTelemetry(), 0);
      await sweep();
      const states = await fixture.ports.control.states();
      const retired = states.flatMap(({ projection, active, generations }) =>
        generations
          .filter(({ generation }) => projection !== 'telemetry' && generation !== active)
          .map(({ generation }) => tableOf(projection, generation)),
      );
      assert.equal(retired.length, 2);
      for (const table of retired)
        assert.deepEqual(await fixture.db.rows(`SELECT 1 FROM ${table} WHERE device_id = 'gone'`), []);
    });

  it('has only what came since, when its id was registered anew, after a rebuild too', async () => {
    server.store.softDelete('device-gone', 'any');
    await consumed();
    await sweep();
    await fixture.register('gone');
    await fixture.measure('gone', [[3000, { n: 3 }]]);
    await consumed();
    const since = { telemetry: 1, telemetry_latest: 1, telemetry_1m: 1, telemetry_1d: 1 };
    assert.deepEqual(await telemetryOf('gone'), since);
    await rebuildAll();
    assert.deepEqual(await telemetryOf('gone'), since);
    assert.equal(await differencesOfTelemetry(), 0);
  });

  it('keeps its telemetry where the store says nothing of a deletion', async () => {
    await fixture.db.run("DELETE FROM devices_g1 WHERE device_id = 'gone'");
    await sweep();
    assert.equal((await telemetryOf('gone')).telemetry, 2);
  });

  it('is changed past an event that is not ours, once its dead letter was discarded', async () => {
    server.store.append('device-gone', 'any', [foreignEvent()]);
    await consumed();
    const rename = () =>
      fixture.commands.handle(
        { type: 'ChangeDeviceDetails', deviceId: 'gone', changes: { name: 'found' } },
        { correlationId: 'c', actor: 'test' },
      );
    await assert.rejects(rename(), { name: 'StreamUnreadable' });
    const unreadable = await audit('all', signal);
    assert.deepEqual(
      unreadable.differences.map(({ deviceId, kind }) => [deviceId, kind]),
      [['gone', 'unreadable']],
    );
    const { deadLetterOperations } = await operationsOf(fixture.container, 'discard');
    for (const projection of ['devices', 'device_history'] as const)
      await deadLetterOperations.discard(
        { projection, stream: 'device-gone' },
        { by: 'test', reason: 'not ours' },
      );
    const { device } = await rename();
    assert.deepEqual([device.name, device.revision], ['found', 2]);
    await consumed();
    const history = await fixture.container.getAsync(s.history);
    assert.equal((await history.deviceAt('gone', 'now'))?.device.name, 'found');
    assert.deepEqual([...(await fixture.devices.find(['gone'])).values()], [device]);
    assert.equal((await fixture.directory.find(new Set(['gone']))).get('gone')?.status, 'active');
    assert.equal((await audit('all', signal)).differenceCount, 0);
  });
});
