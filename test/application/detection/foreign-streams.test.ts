import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { services as s } from '../../../interfaces/composition/services.ts';
import { detectionFixture } from '../../support/detection-fixture.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { type StandIn, standIns } from '../../support/eventstoredb/stand-ins.ts';
import { eventually } from '../../support/eventually.ts';
import { HooksFixture, operator } from '../../support/hooks-fixture.ts';

const written = (type: string, json: object) => ({
  id: randomUUID(),
  type,
  contentType: 'application/json',
  data: Buffer.from(JSON.stringify(json)),
  metadata: new Uint8Array(),
});
type DetectionFixture = Awaited<ReturnType<typeof detectionFixture>>;

const hot = { condition: { kind: 'range', above: 30 } } as const;

describe('Streams of detection in an EventStoreDB that others use', function () {
  this.timeout(60_000);
  let server: EventStoreDbDouble;
  let fixture: HooksFixture;

  beforeEach(async () => {
    server = await EventStoreDbDouble.start();
    fixture = await HooksFixture.open({ EVENTSTORE_URL: server.url });
  });
  afterEach(async () => {
    await fixture.close();
    await server.stop();
  });

  /** What another program does that has streams of the same names. */
  const writeInto = (...streams: readonly string[]) => {
    for (const stream of streams) server.store.append(stream, 'any', [written('OrderPlaced', { order: 1 })]);
  };
  const service = async <T>(name: Parameters<typeof fixture.detection.container.getAsync<T>>[0]) =>
    fixture.detection.container.getAsync<T>(name);

  it('are what is ours in them, whatever other programs write before, between and beside', async () => {
    const [rules, hooks, queries] = [
      await service(s.rules),
      await service(s.hooks),
      await service(s.liveQueries),
    ];
    writeInto('rule-theirs', 'hook-theirs', 'liveQuery-theirs', 'rule-hot', 'alarm-theirs');
    await fixture.hook('one');
    await queries.save('q', { events: 'readings' }, operator);
    const definition = { name: 'Hot', selector: {}, severity: 'warning', notify: ['one'], ...hot } as const;
    await rules.create('hot', definition, operator);
    writeInto('rule-hot', 'hook-one', 'liveQuery-q');
    await rules.change('hot', { name: 'Hotter' }, operator);

    assert.deepEqual(
      (await rules.list()).map(({ ruleId, definition: { name } }) => [ruleId, name]),
      [['hot', 'Hotter']],
    );
    assert.equal((await rules.find('hot'))?.definition.name, 'Hotter');
    assert.equal(await rules.find('theirs'), undefined);
    assert.deepEqual(
      (await hooks.list()).map(({ hookId }) => hookId),
      ['one'],
    );
    assert.equal((await hooks.find('one'))?.status, 'enabled');
    assert.deepEqual(
      (await queries.list()).map(({ name }) => name),
      ['q'],
    );
    assert.equal((await queries.find('q'))?.name, 'q');
  });

  it('that were deleted are removed from then on, and can be begun anew unless that was for good', async () => {
    const [rules, hooks, queries] = [
      await service(s.rules),
      await service(s.hooks),
      await service(s.liveQueries),
    ];
    const definition = { name: 'Hot', selector: {}, severity: 'warning', notify: [], ...hot } as const;
    for (const id of ['soft', 'tomb']) {
      await rules.create(id, definition, operator);
      await fixture.hook(id);
      await queries.save(id, { events: 'readings' }, operator);
    }
    const names = async () => [
      (await rules.list()).map(({ ruleId }) => ruleId),
      (await hooks.list()).map(({ hookId }) => hookId),
      (await queries.list()).map(({ name }) => name),
    ];
    assert.deepEqual(await names(), Array(3).fill(['soft', 'tomb']));
    for (const kind of ['rule', 'hook', 'liveQuery']) {
      server.store.softDelete(`${kind}-soft`, 'any');
      server.store.tombstone(`${kind}-tomb`, 'any');
    }
    await eventually(async () => assert.deepEqual(await names(), [[], [], []]));
    for (const id of ['soft', 'tomb']) {
      assert.equal(await rules.find(id), undefined);
      assert.equal(await hooks.find(id), undefined);
      assert.equal(await queries.find(id), undefined);
    }

    await assert.rejects(rules.create('tomb', definition, operator), { name: 'StreamDeleted' });
    await rules.create('soft', { ...definition, name: 'Again' }, operator);
    await fixture.hook('soft');
    await queries.save('soft', { events: 'alarms' }, operator);
    assert.deepEqual(await names(), Array(3).fill(['soft']));
    assert.equal((await rules.list())[0]?.definition.name, 'Again');
  });

  it('of alarms, deleted or hidden, hold up no other alarm', async () => {
    await fixture.detection.rule('hot', { ...hot, notify: [] });
    await fixture.measure('a', 31);
    await fixture.detect();
    const [first] = await fixture.detection.alarms();
    assert.ok(first);
    server.store.tombstone(`alarm-${first.alarm_id}`, 'any');
    await fixture.measure('a', 32, 20);
    await fixture.measure('b', 31);
    await fixture.detect();
    const second = (await fixture.detection.alarms()).find(({ device_id }) => device_id === 'b');
    assert.ok(second);
    assert.equal(server.store.stored(`alarm-${second.alarm_id}`)?.length, 1);
  });

  it('of devices, written into by others, hold up no rule that asks what devices are', async () => {
    await fixture.detection.rule('hot', { ...hot, selector: { type: 'test' } });
    for (const deviceId of ['a', 'b']) await fixture.measure(deviceId, 31);
    writeInto('device-a');
    server.store.append('$$device-b', 'any', [written('$metadata', { $tb: 100 })]);
    await fixture.detect();
    const alarms = await fixture.detection.alarms();
    assert.deepEqual(
      alarms.map(({ device_id }) => device_id),
      ['a'],
    );
  });
});

describe('Lists of rules, hooks and live queries in a cluster whose followers lag and are preferred', function () {
  this.timeout(60_000);
  let cluster: StandIn;
  // Whoever writes is sent to the leader, and stays there.
  let writer: DetectionFixture;
  let reader: DetectionFixture;

  before(async () => {
    cluster = await standIns.followers.start();
    writer = await detectionFixture({ EVENTSTORE_URL: cluster.url });
    reader = await detectionFixture({ EVENTSTORE_URL: cluster.url });
  });
  after(async () => {
    await writer?.close();
    await reader?.close();
    await cluster?.stop();
  });

  const servicesOf = async ({ container }: DetectionFixture) => ({
    rules: await container.getAsync(s.rules),
    hooks: await container.getAsync(s.hooks),
    queries: await container.getAsync(s.liveQueries),
  });

  it('have what was changed just before by another node', async () => {
    const [own, other] = [await servicesOf(writer), await servicesOf(reader)];
    const definition = { name: 'Hot', selector: {}, severity: 'warning', notify: [], ...hot } as const;
    for (const id of ['a', 'b', 'c']) {
      await own.rules.create(id, definition, operator);
      assert.equal((await other.rules.list()).at(-1)?.ruleId, id);
      await own.hooks.create(id, { url: 'http://127.0.0.1:9/' }, operator);
      assert.equal((await other.hooks.list()).at(-1)?.hookId, id);
      await own.queries.save(id, { events: 'readings' }, operator);
      assert.equal((await other.queries.list()).at(-1)?.name, id);
    }
  });
});
