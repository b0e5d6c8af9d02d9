import assert from 'node:assert/strict';
import { deviceCommands, StaleRevision } from '../../../application/devices/device-commands.ts';
import { CachedDeviceDirectory } from '../../../infrastructure/cached-device-directory.ts';
import { eventRegistry } from '../../../infrastructure/event-registry.ts';
import { EventStoreDbConnection } from '../../../infrastructure/eventstoredb/connection.ts';
import { EventStoreDbEventSource } from '../../../infrastructure/eventstoredb/event-source.ts';
import { EventStoreDbEventStore } from '../../../infrastructure/eventstoredb/event-store.ts';
import { uuidIds } from '../../../infrastructure/identity.ts';
import { RecentStreamCache } from '../../../infrastructure/recent-streams.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { silentLog } from '../../support/eventstoredb/silent-log.ts';
import { eventually } from '../../support/eventually.ts';

const context = { correlationId: 'c', actor: 'test' };

describe('A node that keeps recent streams of EventStoreDB', () => {
  let server: EventStoreDbDouble;
  let connections: EventStoreDbConnection[];
  let stopped: AbortController;
  let following: Promise<void>[];

  beforeEach(async () => {
    server = await EventStoreDbDouble.start();
    [connections, stopped, following] = [[], new AbortController(), []];
  });
  afterEach(async () => {
    stopped.abort();
    await Promise.all(following);
    await Promise.all(connections.map((connection) => connection.close()));
    await server.stop();
  });

  async function node(bytes = 1_000_000) {
    const connection = new EventStoreDbConnection(server.url, { deadlineMs: 500, longestPauseMs: 20 });
    connections.push(connection);
    const store = new EventStoreDbEventStore(connection);
    const recent = new RecentStreamCache(bytes);
    const reads: string[] = [];
    const watched = {
      read: (stream: string) => {
        reads.push(stream);
        return store.read(stream);
      },
      isDeleted: (stream: string) => store.isDeleted(stream),
      append: ((...append) => store.append(...append)) as typeof store.append,
    };
    const directory = new CachedDeviceDirectory(store, eventRegistry, 100, undefined, recent);
    const source = new EventStoreDbEventSource(connection, silentLog);
    following.push(directory.follow(source, 'directory', stopped.signal));
    await eventually(() => assert.equal(server.traffic.subscriptions.size, following.length));
    const { handle } = deviceCommands(watched, eventRegistry, uuidIds, { now: Date.now }, () => {}, {
      recent,
    });
    return {
      /** How often a stream was read since the last call. */
      reads: () => reads.splice(0).length,
      recent,
      register: (deviceId: string) =>
        handle(
          { type: 'RegisterDevice', deviceId, details: { name: 'first', type: 't', labels: {} } },
          context,
        ),
      rename: (deviceId: string, name: string, more = {}) =>
        handle({ type: 'ChangeDeviceDetails', deviceId, changes: { name } }, { ...context, ...more }),
      suspend: (deviceId: string) => handle({ type: 'SuspendDevice', deviceId, reason: 'r' }, context),
    };
  }

  it('changes a device that it has registered or changed without reading its stream', async () => {
    const one = await node();
    await one.register('a');
    for (const name of ['second', 'third']) assert.equal((await one.rename('a', name)).device.name, name);
    assert.equal(one.reads(), 0);
    assert.equal(server.store.stored('device-a')?.length, 3);
  });

  it('changes a device that it has read without reading it again', async () => {
    const [one, other] = [await node(), await node()];
    await other.register('a');
    await one.rename('a', 'second');
    await one.rename('a', 'third');
    assert.equal(one.reads(), 1);
  });

  it('decides anew, by the stream itself, when another node was first', async () => {
    const [one, other] = [await node(), await node()];
    await one.register('a');
    await other.suspend('a');
    const { device } = await one.rename('a', 'second');
    assert.deepEqual([device.status, device.name, device.revision], ['suspended', 'second', 2]);
  });

  it('confirms by a read what changes nothing, and what is refused', async () => {
    const [one, other] = [await node(), await node()];
    await one.register('a');
    await other.rename('a', 'second');
    assert.equal((await one.rename('a', 'second')).device.revision, 1);
    await other.rename('a', 'third');
    const { device } = await one.rename('a', 'fourth', { expectedRevision: 2 });
    assert.equal(device.revision, 3);
    await assert.rejects(one.rename('a', 'fifth', { expectedRevision: 2 }), StaleRevision);
    one.reads();
    await one.rename('a', 'fourth');
    assert.equal(one.reads(), 1);
  });

  it('answers a repeated command as before, and refuses its key for another', async () => {
    const one = await node();
    await one.register('a');
    const first = await one.rename('a', 'second', { idempotencyKey: 'k' });
    await one.rename('a', 'third');
    const again = await one.rename('a', 'second', { idempotencyKey: 'k' });
    assert.deepEqual(again, { ...first, wasReplayed: true });
    await assert.rejects(one.rename('a', 'other', { idempotencyKey: 'k' }), { name: 'IdempotencyKeyReused' });
  });

  it('forgets a device whose stream is deleted, and everything when the connection was lost', async () => {
    const one = await node();
    for (const id of ['a', 'b']) await one.register(id);
    server.store.softDelete('device-a', 'any');
    await eventually(() => assert.equal(one.recent.get('a'), undefined));
    await assert.rejects(one.rename('a', 'second'), /is not registered/);
    assert.ok(one.recent.get('b'));
    server.dropConnections();
    await eventually(() => assert.equal(one.recent.get('b'), undefined));
    await one.rename('b', 'second');
    assert.equal(server.store.stored('device-b')?.length, 2);
  });

  it('keeps at most its bytes, those that were used last, and nothing while it does not follow', async () => {
    const one = await node(40_000);
    for (let n = 0; n < 50; n += 1) await one.register(`d-${n}`);
    assert.ok(one.recent.get('d-49'));
    assert.equal(one.recent.get('d-0'), undefined);
    const idle = new RecentStreamCache(40_000);
    idle.set('d-49', one.recent.get('d-49') as never);
    assert.equal(idle.get('d-49'), undefined);
  });

  it('keeps a long stream that takes up to a quarter of its bytes', () => {
    const recent = new RecentStreamCache(1_000_000);
    recent.begin();
    const long = (events: number) => ({
      events: Array.from({ length: events }, (_, revision) => ({ revision, data: 'x'.repeat(500) })),
      state: { status: 'unregistered' },
      revision: events - 1,
    });
    recent.set('fits', long(200) as never);
    recent.set('too long', long(300) as never);
    assert.ok(recent.get('fits'));
    assert.equal(recent.get('too long'), undefined);
  });
});
