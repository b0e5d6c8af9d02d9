import assert from 'node:assert/strict';
import { EventStoreDBClient, jsonEvent, NO_STREAM, WrongExpectedVersionError } from '@eventstore/db-client';
import { newEvent, newStream } from '../../contracts/event-store.contract.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { eventually } from '../../support/eventually.ts';

const event = () => {
  const { id, type } = newEvent();
  return jsonEvent({ id, type, data: {} });
};

/** The client as it comes, which appends in batches. That these hold is why the adapter does without. */
describe("EventStoreDB's own client", () => {
  let servers: EventStoreDbDouble[];
  let clients: EventStoreDBClient[];

  beforeEach(async () => {
    servers = [await EventStoreDbDouble.start(), await EventStoreDbDouble.start()];
    clients = servers.map(({ url }) => EventStoreDBClient.connectionString(url));
  });
  afterEach(async () => {
    await Promise.all(clients.map((client) => client.dispose()));
    await Promise.all(servers.map((server) => server.stop()));
  });

  it('appends by batch append, and learns of conflicts', async () => {
    const [server, client] = [servers[0] as EventStoreDbDouble, clients[0] as EventStoreDBClient];
    const stream = newStream();
    const events = [event(), event()];
    const first = await client.appendToStream(stream, events, { expectedRevision: NO_STREAM });
    const last = server.store.stored(stream)?.at(-1);
    assert.deepEqual([first.nextExpectedRevision, first.position], [1n, last?.position]);
    const again = await client.appendToStream(stream, events, { expectedRevision: NO_STREAM });
    assert.equal(again.nextExpectedRevision, 1n);
    await assert.rejects(
      client.appendToStream(stream, event(), { expectedRevision: NO_STREAM }),
      (error) => error instanceof WrongExpectedVersionError && error.actualVersion === 1n,
    );
    assert.deepEqual(server.calls, ['GetSupportedMethods', 'BatchAppend']);
  });

  it('fails the appends of every client when the stream of one breaks', async () => {
    for (const server of servers) server.faults.forgetful = true;
    const appends = clients.map((client) =>
      assert.rejects(client.appendToStream(newStream(), event(), { expectedRevision: NO_STREAM })),
    );
    await eventually(() => assert.ok(servers.every(({ store }) => store.log.count === 1)));
    servers[0]?.dropConnections();
    await Promise.all(appends);
  });

  it('never appends again once the cluster was not discovered, though it reads', async () => {
    const [server] = servers as [EventStoreDbDouble];
    const client = EventStoreDBClient.connectionString(server.clusterUrl);
    clients.push(client);
    const append = () => client.appendToStream(newStream(), event(), { expectedRevision: NO_STREAM });
    await server.kill();
    await assert.rejects(append(), /Failed to discover/);
    await server.listen();
    await assert.rejects(append(), /Failed to discover/);
    for await (const _ of client.readAll()) assert.fail('nothing was written');
  });
});
