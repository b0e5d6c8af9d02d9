import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import type { CommandConditions } from '../../application/devices/device-commands.ts';
import { type ProjectionName, projectionNames } from '../../application/projections/projection.ts';
import { rebuild } from '../../application/rebuild/rebuild.ts';
import type { ErasingPorts } from '../../application/retention/sweep.ts';
import { retentionSweeper } from '../../application/retention/sweeper.ts';
import { telemetryAsRecorded } from '../../application/telemetry/as-recorded.ts';
import { uuidIds } from '../../infrastructure/identity.ts';
import { tableOf, tablesOf } from '../../infrastructure/sql/generation-tables.ts';
import { sweepPorts } from '../../interfaces/composition/retention.ts';
import { services as s } from '../../interfaces/composition/services.ts';
import { detectionFixture } from '../support/detection-fixture.ts';
import { onEachEngine } from '../support/each-engine.ts';
import { quiet } from '../support/replay-fixture.ts';

const personal = 'Ada Lovelace';
const by: CommandConditions = { correlationId: 'c', actor: personal };
const builder = { id: 'a test', isExpired: () => false };
const signal = new AbortController().signal;

onEachEngine('A device that is erased', (openStore) => {
  let fixture: Awaited<ReturnType<typeof detectionFixture>>;
  let drop: () => Promise<void>;
  let stop: () => Promise<void>;
  beforeEach(async () => {
    const store = await openStore();
    drop = store.drop;
    fixture = await detectionFixture(store.env);
    const { commands } = fixture;
    const deviceId = 'watch';
    const details = { name: `Watch of ${personal}`, type: 'watch', labels: { owner: personal } };
    await commands.handle({ type: 'RegisterDevice', deviceId, details }, { ...by, idempotencyKey: 'first' });
    await commands.handle({ type: 'SuspendDevice', deviceId, reason: `${personal} is away` }, by);
    await commands.handle({ type: 'ReinstateDevice', deviceId }, by);
    await fixture.register('other');
    for (const id of [deviceId, 'other'])
      await fixture.measure(id, [
        [1000, { pulse: 60, says: personal }],
        [1000, { pulse: 61 }],
        [2000, { pulse: 61 }],
      ]);
    await fixture.publishRaw({ deviceId, timestamp: 3000, metrics: { says: personal.repeat(100) } });
    await fixture.publishRaw({ deviceId, timestamp: 4000, metrics: { says: personal } });
    stop = fixture.consuming();
    await consumed();
  });
  afterEach(async () => {
    await fixture.close();
    await drop();
  });

  async function consumed(): Promise<void> {
    for (const name of projectionNames) await fixture.consumed(name);
  }

  async function erase(): Promise<void> {
    const eraseDevice = await fixture.container.getAsync(s.erase);
    await eraseDevice('watch', 'Asked for', { correlationId: 'e', actor: 'operator' });
    await consumed();
    await sweep();
  }

  async function sweep(now = Date.now, other: Partial<ErasingPorts> = {}): Promise<void> {
    const ports = {
      ...(await sweepPorts(fixture.container)),
      ...other,
      control: fixture.ports.control,
      readModels: fixture.ports.readModels,
      source: fixture.source,
      clock: { now },
    };
    await retentionSweeper(ports, builder, quiet).once(signal);
  }

  /** Everything that any table tells of the device. */
  async function everyTable(): Promise<string> {
    const found: unknown[] = [];
    for (const { projection, generations } of await fixture.ports.control.states())
      for (const { generation } of generations)
        for (const { base, columns } of tablesOf(projection as ProjectionName))
          if (columns.includes('device_id'))
            found.push(
              await fixture.db.all(`SELECT * FROM ${tableOf(base, generation)} WHERE device_id = 'watch'`),
            );
    found.push(await fixture.db.all("SELECT * FROM dead_letters WHERE stream = 'device-watch'"));
    return JSON.stringify(found);
  }

  const rows = async (table: string) =>
    (await fixture.db.rows(`SELECT * FROM ${table} WHERE device_id = 'watch'`)).length;

  const audited = () => fixture.audit();

  it('is in no table any more, nor is what it measured; the ledger still adds up', async () => {
    assert.match(await everyTable(), /Ada Lovelace/);
    await erase();
    assert.doesNotMatch(await everyTable(), /Ada/);
    for (const table of ['telemetry', 'telemetry_latest', 'telemetry_1m', 'telemetry_1d'])
      assert.equal(await rows(`${table}_g1`), 0, table);
    assert.equal((await fixture.db.rows("SELECT 1 FROM telemetry_g1 WHERE device_id = 'other'")).length, 2);
    const { differences, totals } = await audited();
    assert.deepEqual(differences, []);
    assert.equal(totals.expired, 3);
    assert.equal(totals.deadLettered, 1);
  });

  it('is no difference to an audit before the list of devices has come to its erasure', async () => {
    await stop();
    const retraction = { deviceId: 'watch', from: 4000, to: 5000, reason: 'Wrong' };
    await fixture.publishRaw(retraction, { type: 'TelemetryRetracted' });
    const eraseDevice = await fixture.container.getAsync(s.erase);
    await eraseDevice('watch', 'Asked for', { correlationId: 'e', actor: 'operator' });
    fixture.consuming([fixture.pipelines.telemetry]);
    await fixture.consumed('telemetry');
    assert.equal(await rows('telemetry_g1'), 2);
    assert.deepEqual((await audited()).differences, []);
  });

  it('is known by id, type and that it was erased, by every question there is', async () => {
    await erase();
    const history = await fixture.container.getAsync(s.history);
    const now = await history.deviceAt('watch', 'now');
    const { name, labels, status, type, revision } = now?.device ?? {};
    assert.deepEqual(
      { name, labels, status, type, revision },
      { name: 'erased', labels: {}, status: 'erased', type: 'watch', revision: 3 },
    );
    assert.equal(await history.deviceAt('watch', { revision: 0 }), undefined);
    assert.deepEqual(
      (await fixture.devices.history('watch', { limit: 10 })).map(({ event, reason, actor }) => ({
        event,
        reason,
        actor,
      })),
      [{ event: 'DeviceErased', reason: 'Asked for', actor: 'operator' }],
    );
    const [listed] = await fixture.devices.list({ status: 'erased' }, { limit: 10 });
    assert.equal(listed?.deviceId, 'watch');
    assert.equal(listed?.registeredAt, now?.device.registeredAt);
    assert.deepEqual(await fixture.devices.list({ text: 'ada' }, { limit: 10 }), []);
    const { source, registry, directory } = fixture;
    const asRecorded = telemetryAsRecorded(source, registry, uuidIds, directory);
    const query = {
      deviceId: 'watch',
      range: { from: 0, to: 10_000 },
      recordedAt: Date.now(),
      order: 'asc' as const,
      limit: 10,
    };
    for await (const points of asRecorded(query, new AbortController().signal)) assert.deepEqual(points, []);
  });

  it('cannot be registered, changed or heard of again, and can be erased again', async () => {
    await erase();
    const { commands } = fixture;
    const details = { name: 'New', type: 'watch', labels: {} };
    await assert.rejects(
      commands.handle(
        { type: 'RegisterDevice', deviceId: 'watch', details },
        { ...by, idempotencyKey: 'first' },
      ),
      /already registered/,
    );
    await assert.rejects(
      commands.handle({ type: 'ReinstateDevice', deviceId: 'watch' }, by),
      /is erased, which is final/,
    );
    const { refused } = await fixture.measure('watch', [[5000, { pulse: 1 }]]);
    assert.equal(refused[0]?.reason, 'device-decommissioned');
    await erase();
    assert.equal((await fixture.devices.history('watch', { limit: 10 })).length, 1);
  });

  it('has nothing of it in the event store', async () => {
    await erase();
    const events = await (await fixture.container.getAsync(s.eventStore)).read('device-watch');
    assert.equal(events.length, 4);
    assert.doesNotMatch(JSON.stringify(events), /Ada/);
    await stop();
    const files = (await readdir(fixture.folder)).filter((name) => name.startsWith('events.db'));
    assert.ok(files.length > 0);
    for (const file of files)
      assert.ok(!(await readFile(path.join(fixture.folder, file))).includes('Ada'), file);
  });

  it('loses its alarms and what rules remember of it, for a rebuild as well, and no other device does', async () => {
    await fixture.rule('high', { metric: 'pulse', condition: { kind: 'range', above: 50 } });
    for (const id of ['watch', 'other']) await fixture.measure(id, [[5000, { pulse: 60 }]]);
    await consumed();
    const alarms = await fixture.alarms();
    assert.deepEqual(alarms.map(({ device_id }) => device_id).sort(), ['other', 'watch']);
    assert.equal((await fixture.totals())?.series, 2);
    for (const { alarm_id } of alarms)
      await fixture.db.run('INSERT INTO alarm_acknowledgements VALUES (?, 0, ?, NULL)', [alarm_id, personal]);
    for (const id of ['watch', 'other'])
      await fixture.db.run("INSERT INTO alarm_silences VALUES ('high', ?, 'pulse', 0, ?, NULL)", [
        id,
        personal,
      ]);

    await erase();
    assert.deepEqual(
      (await fixture.alarms()).map(({ device_id }) => device_id),
      ['other'],
    );
    assert.equal(await rows('detection_states_g1'), 0);
    assert.equal((await fixture.totals())?.series, 1);
    assert.equal((await fixture.db.rows('SELECT 1 FROM alarm_acknowledgements')).length, 1);
    assert.deepEqual(await fixture.db.rows('SELECT device_id FROM alarm_silences'), [['other']]);

    const options = { builder, signal, handover: 0 };
    const { generation } = await rebuild(fixture.pipelines.detection, fixture.ports, options);
    assert.deepEqual(
      (await fixture.alarms(generation)).map(({ device_id }) => device_id),
      ['other'],
    );
  });

  it('loses its alarms in a build that was interrupted before and continues', async () => {
    await fixture.rule('high', { metric: 'pulse', condition: { kind: 'range', above: 50 } }, Date.now());
    for (const id of ['watch', 'other']) await fixture.measure(id, [[5000, { pulse: 60 }]]);
    await consumed();
    const interruption = new AbortController();
    const interrupted = rebuild(fixture.pipelines.detection, fixture.ports, {
      builder,
      signal: interruption.signal,
      onProgress: ({ phase }) => phase === 'compare' && interruption.abort(),
    });
    await assert.rejects(interrupted, { name: 'AbortError' });
    assert.equal((await fixture.alarms(2)).length, 2);

    await erase();
    const { detection } = fixture.pipelines;
    const outcome = await rebuild(detection, fixture.ports, { builder, signal, handover: 0 });
    assert.ok(outcome.resumed);
    assert.equal(outcome.comparison.tables.find(({ table }) => table === 'alarms')?.equal, true);
    assert.deepEqual(
      (await fixture.alarms(2)).map(({ device_id }) => device_id),
      ['other'],
    );
  });

  it('does not come back with a rebuild, whose tables are equal, however long ago its erasure was complete', async () => {
    await erase();
    await sweep(() => Date.now() + 3_700_000);
    const { erased } = await sweepPorts(fixture.container);
    assert.deepEqual(await erased.pending(), []);
    const options = { builder, signal, handover: 0 };
    for (const name of projectionNames) {
      const { comparison } = await rebuild(fixture.pipelines[name], fixture.ports, options);
      assert.ok(comparison.equal, JSON.stringify(comparison.tables));
    }
    await consumed();
    assert.doesNotMatch(await everyTable(), /Ada/);
    assert.deepEqual((await audited()).differences, []);
  });

  it('is forgotten by the event store although the call that erased it was cut short', async () => {
    const { commands } = fixture;
    await commands.handle({ type: 'EraseDevice', deviceId: 'watch', reason: 'Asked for' }, { ...by });
    const stored = async () => {
      const { container } = fixture;
      return JSON.stringify(await (await container.getAsync(s.eventStore)).read('device-watch'));
    };
    await consumed();
    assert.match(await stored(), /Watch of Ada/);
    await sweep();
    assert.doesNotMatch(await stored(), /Watch of Ada/);
    assert.doesNotMatch(await everyTable(), /pulse/);
  });

  it('keeps its events where the event store was put back to before its erasure', async () => {
    const eventStore = await fixture.container.getAsync(s.eventStore);
    const before = await eventStore.read('device-watch');
    await fixture.commands.handle({ type: 'EraseDevice', deviceId: 'watch', reason: 'Asked for' }, by);
    await consumed();
    const others = before.map((event) => ({ ...event, revision: event.revision + before.length }));
    await sweep(Date.now, { eventStore: { read: async () => [...before, ...others] } });
    const stored = async () => JSON.stringify(await eventStore.read('device-watch'));
    assert.match(await stored(), /Watch of Ada/);
    const { erased } = await sweepPorts(fixture.container);
    assert.equal((await erased.pending())[0]?.isTruncated, false);
    await sweep();
    assert.doesNotMatch(await stored(), /Watch of Ada/);
  });

  it('is not looked at again once nothing was left of it for an hour, unless something comes after all', async () => {
    await erase();
    const { erased } = await sweepPorts(fixture.container);
    const ids = async () => (await erased.pending()).map(({ deviceId }) => deviceId);
    assert.deepEqual(await ids(), ['watch']);
    await sweep(() => Date.now() + 3_500_000);
    assert.deepEqual(await ids(), ['watch']);
    await sweep(() => Date.now() + 3_700_000);
    assert.deepEqual(await ids(), []);
    await fixture.publishRaw({ deviceId: 'watch', timestamp: personal });
    await consumed();
    assert.match(await everyTable(), /Ada/);
    await sweep();
    assert.doesNotMatch(await everyTable(), /Ada/);

    await sweep(() => Date.now() + 3_700_000);
    assert.deepEqual(await ids(), []);
    const onItsWay = { deviceId: 'watch', timestamp: 9000, metrics: { says: personal } };
    await fixture.publishRaw(onItsWay, { receivedAt: Date.now() - 60_000 });
    await consumed();
    await sweep();
    assert.doesNotMatch(await everyTable(), /Ada/);
  });

  it('is gone from generations that have retired, too', async () => {
    const options = { builder, signal, handover: 0 };
    for (const name of projectionNames) await rebuild(fixture.pipelines[name], fixture.ports, options);
    await consumed();
    await erase();
    assert.doesNotMatch(await everyTable(), /Ada/);
  });

  it('loses what was on its way when it was erased', async () => {
    await erase();
    await fixture.publishRaw({ deviceId: 'other', timestamp: 9000, metrics: { pulse: 1 } });
    await fixture.publishRaw(
      { deviceId: 'watch', timestamp: 9000, metrics: { says: personal } },
      { receivedAt: Date.now() - 60_000 },
    );
    await consumed();
    await sweep();
    assert.doesNotMatch(await everyTable(), /Ada/);
    assert.deepEqual((await audited()).differences, []);
  });
});
