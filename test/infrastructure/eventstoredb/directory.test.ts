import assert from 'node:assert/strict';
import { deviceCommands } from '../../../application/devices/device-commands.ts';
import { CachedDeviceDirectory } from '../../../infrastructure/cached-device-directory.ts';
import { eventRegistry } from '../../../infrastructure/event-registry.ts';
import { EventStoreDbConnection } from '../../../infrastructure/eventstoredb/connection.ts';
import { EventStoreDbEventSource } from '../../../infrastructure/eventstoredb/event-source.ts';
import { EventStoreDbEventStore } from '../../../infrastructure/eventstoredb/event-store.ts';
import { uuidIds } from '../../../infrastructure/identity.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { silentLog } from '../../support/eventstoredb/silent-log.ts';
import { eventually } from '../../support/eventually.ts';

const context = { correlationId: 'c', actor: 'test' };

describe('The device directory of a node over EventStoreDB', () => {
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

  function node() {
    const connection = new EventStoreDbConnection(server.url, { deadlineMs: 500, patienceMs: 2000 });
    connections.push(connection);
    const store = new EventStoreDbEventStore(connection);
    const directory = new CachedDeviceDirectory(store, eventRegistry, 100);
    following.push(
      directory.follow(new EventStoreDbEventSource(connection, silentLog), 'directory', stopped.signal),
    );
    const { handle } = deviceCommands(store, eventRegistry, uuidIds, { now: Date.now }, () => {});
    return {
      status: async (id: string) => (await directory.find(new Set([id]))).get(id)?.status,
      register: (deviceId: string) =>
        handle(
          { type: 'RegisterDevice', deviceId, details: { name: deviceId, type: 't', labels: {} } },
          context,
        ),
      suspend: (deviceId: string) => handle({ type: 'SuspendDevice', deviceId, reason: 'r' }, context),
    };
  }

  const bothFollow = () =>
    eventually(() => assert.equal(server.traffic.subscriptions.size, following.length));

  it('learns within a second what other nodes change', async () => {
    const [one, other] = [node(), node()];
    await bothFollow();
    await one.register('a');
    assert.equal(await other.status('a'), 'active');
    await one.suspend('a');
    await eventually(async () => assert.equal(await other.status('a'), 'suspended'), { within: 1000 });
  });

  it('does so too where the node started before the store did', async () => {
    await server.kill();
    const late = node();
    await assert.rejects(late.status('a'), { name: 'EventStoreUnavailable' });
    await server.listen();
    const other = node();
    await other.register('a');
    assert.equal(await late.status('a'), 'active');
    await bothFollow();
    await other.suspend('a');
    await eventually(async () => assert.equal(await late.status('a'), 'suspended'), { within: 1000 });
  });

  it('reads as little at its start for a larger fleet', async () => {
    const first = node();
    for (let i = 0; i < 300; i += 1) await first.register(`d-${i}`);
    await bothFollow();
    const before = server.traffic.eventsSent;
    const late = node();
    await bothFollow();
    assert.equal(await late.status('d-7'), 'active');
    const sent = server.traffic.eventsSent - before;
    // A look for the end of the log, as far as the server has sent of it when it is found, and one stream.
    assert.ok(sent < 100, `${sent} events`);
  });
});
