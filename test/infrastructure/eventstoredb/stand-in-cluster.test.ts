import assert from 'node:assert/strict';
import { ANY, type EventStoreDBClient, NotLeaderError } from '@eventstore/db-client';
import { newStream } from '../../contracts/event-store.contract.ts';
import { bareClients, eventsOf, failureOf, someEvent } from '../../support/eventstoredb/bare-clients.ts';
import { EventStoreDbCluster } from '../../support/eventstoredb/cluster.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { eventually } from '../../support/eventually.ts';
import { failOnUnhandledRejections } from '../../support/unhandled-rejections.ts';

/** What a cluster of EventStoreDB 23.10.6 was seen to answer, asked of the tests' stand-in. */
describe('The EventStoreDB stand-in, cluster', () => {
  let cluster: EventStoreDbCluster;
  let stream: string;
  const open = bareClients();
  failOnUnhandledRejections();

  beforeEach(async () => {
    cluster = await EventStoreDbCluster.start({ lagMs: 600_000 });
    stream = newStream();
  });
  afterEach(() => cluster.stop());

  const leader = () => cluster.leader as EventStoreDbDouble;
  const follower = () => cluster.followers[0] as EventStoreDbDouble;
  const write = (client: EventStoreDBClient, options = {}) =>
    client.appendToStream(stream, someEvent(), { expectedRevision: ANY, ...options });
  const read = (client: EventStoreDBClient, options = {}) => eventsOf(client.readStream(stream, options));
  const readAll = (client: EventStoreDBClient, options = {}) => eventsOf(client.readAll(options));
  const callsOf = (node: EventStoreDbDouble, name: string) =>
    node.calls.filter((call) => call === name).length;

  it('has a client that was given its nodes find the leader, or a follower when it prefers one', async () => {
    await write(open(cluster.url));
    assert.equal(callsOf(leader(), 'Append'), 1);
    await read(open(cluster.urlWith({ nodePreference: 'follower' }))).catch(() => undefined);
    assert.deepEqual(cluster.nodes.map((node) => callsOf(node, 'Read')).toSorted(), [0, 0, 1]);
    assert.equal(callsOf(leader(), 'Read'), 0);
  });

  it('passes on what a follower is to write, and reads there what has arrived', async () => {
    const [atLeader, atFollower] = [open(leader().url), open(follower().url)];
    await write(atFollower);
    assert.equal((await read(atLeader)).length, 1);
    assert.equal((await failureOf(read(atFollower))).type, 'stream-not-found');
    assert.deepEqual(await readAll(atFollower), []);
    cluster.lagMs = 1;
    await eventually(async () => assert.equal((await read(atFollower)).length, 1));
    cluster.lagMs = 600_000;
    await write(atLeader);
    assert.equal((await read(atFollower)).length, 1);
    assert.equal((await readAll(atFollower)).length, 1);
  });

  it('has metadata, and what it hides, arrive at followers as late', async () => {
    const [atLeader, atFollower] = [open(leader().url), open(follower().url)];
    for (let n = 0; n < 3; n += 1) await write(atLeader);
    cluster.lagMs = 0;
    assert.equal((await read(atFollower)).length, 3);
    cluster.lagMs = 600_000;
    await atLeader.setStreamMetadata(stream, { truncateBefore: 2 });
    assert.deepEqual([(await read(atLeader)).length, (await read(atFollower)).length], [1, 3]);
    await atLeader.tombstoneStream(stream);
    assert.equal((await failureOf(read(atLeader))).type, 'stream-deleted');
    assert.equal((await read(atFollower)).length, 3);
  });

  it('sends a follower’s subscription what has arrived', async () => {
    cluster.lagMs = 50;
    const subscription = open(follower().url).subscribeToAll();
    const seen: unknown[] = [];
    subscription.on('data', ({ event }) => seen.push(event?.streamId));
    await write(open(leader().url));
    await eventually(() => assert.deepEqual(seen, [stream]));
  });

  for (const [title, call] of Object.entries<(client: EventStoreDBClient) => Promise<unknown>>({
    'a read': (client) => read(client, { requiresLeader: true }),
    'a read of $all': (client) => readAll(client, { requiresLeader: true }),
    'an append': (client) => write(client, { requiresLeader: true }),
  })) {
    it(`fails ${title} that requires the leader on a follower as not-leader, and says where it is`, async () => {
      const { error, type, code, trailers } = await failureOf(call(open(follower().url)));
      assert.ok(error instanceof NotLeaderError);
      assert.deepEqual([type, code], ['not-leader', 5]);
      assert.equal(trailers.exception, 'not-leader');
      const { address, port } = leader().endpoint();
      assert.deepEqual(
        [trailers['leader-endpoint-host'], trailers['leader-endpoint-port']],
        [address, String(port)],
      );
      assert.deepEqual(error.leader, { address, port });
    });
  }

  it('is left by a client that was sent to the leader, from then on', async () => {
    const client = open(follower().url);
    await failureOf(write(client, { requiresLeader: true }));
    await eventually(() => write(client, { requiresLeader: true }));
    assert.ok(callsOf(leader(), 'Append') > 0);
  });

  it('keeps a client at what was the leader, as a follower now', async () => {
    const old = leader();
    const client = open(cluster.url);
    await write(client);
    const next = await cluster.changeLeader();
    assert.notEqual(next, old);
    await write(client);
    assert.deepEqual([callsOf(old, 'Append'), callsOf(next, 'Append')], [2, 0]);
    await write(open(next.url));
    assert.deepEqual([(await read(client)).length, (await read(open(next.url))).length], [1, 3]);
  });

  it('fails calls on a killed leader with a code, and finds the next', async () => {
    const client = open(cluster.url);
    await write(client);
    await cluster.changeLeader({ kill: true });
    assert.equal((await failureOf(write(client))).code, 14);
    await eventually(() => write(client));
    assert.equal(cluster.store.stored(stream)?.length, 2);
  });

  describe('without a quorum', () => {
    let client: EventStoreDBClient;

    beforeEach(async () => {
      await write(open(leader().url));
      client = open(leader().url);
      cluster.loseQuorum();
    });

    it('fails appends as unavailable at once', async () => {
      const { type, code, message } = await failureOf(write(client));
      assert.deepEqual([type, code], ['unavailable', 14]);
      assert.match(message, /Server Is Not Ready/);
    });

    it('fails batch appends without a code', async () => {
      const { type, code, message } = await failureOf(
        write(open((cluster.nodes[0] as EventStoreDbDouble).url, 'batch')),
      );
      assert.deepEqual(
        [type, code, message],
        ['unknown', undefined, 'Could not recognize Server Is Not Ready'],
      );
    });

    it('reads, but not where the leader is required', async () => {
      assert.equal((await read(client)).length, 1);
      const { type, code, message } = await failureOf(read(client, { requiresLeader: true }));
      assert.deepEqual([type, code], ['unavailable', 14]);
      assert.match(message, /Server Is Not Ready/);
    });

    it('is not discovered', async () => {
      const url = cluster.urlWith({ maxDiscoverAttempts: '2', discoveryInterval: '1' });
      const { error, code, message } = await failureOf(read(open(url)));
      assert.deepEqual(
        [error.constructor, code, message],
        [Error, undefined, 'Failed to discover after 2 attempts.'],
      );
    });

    it('writes again when it has one', async () => {
      cluster.regainQuorum();
      await write(open(cluster.url));
    });
  });

  it('says so while it starts', async () => {
    const server = await EventStoreDbDouble.start();
    try {
      server.unready();
      assert.match((await failureOf(write(open(server.url)))).message, /Server Is Not Ready/);
      server.ready();
      await write(open(server.url));
    } finally {
      await server.stop();
    }
  });

  it('has no leader while an election is held', async () => {
    const client = open(leader().url);
    const elected = cluster.changeLeader({ electionMs: 50 });
    assert.match((await failureOf(write(client))).message, /Server Is Not Ready/);
    await elected;
    await eventually(() => write(client));
  });

  it('fails a read on a channel that the client closed by reconnecting, without a type', async () => {
    const client = open(leader().url);
    await read(client).catch(() => undefined);
    // biome-ignore lint/complexity/useLiteralKeys: protected, and the only way to the channel
    const channel = await client['getChannel']();
    channel.close();
    const { error, type, code, message } = await failureOf(read(client));
    assert.deepEqual(
      [error.constructor, type, code, message],
      [Error, undefined, undefined, 'Channel has been shut down'],
    );
  });

  it('does nothing while frozen, and afterwards whatever arrived, wanted or not', async () => {
    const server = leader();
    const [client, later] = [open(server.url), open(server.url)];
    await write(client);
    server.faults.freeze();
    const { type } = await failureOf(write(client, { deadline: 100 }));
    assert.equal(type, 'deadline-exceeded');
    const connecting = write(later);
    assert.equal(cluster.store.stored(stream)?.length, 1);
    server.faults.thaw();
    await connecting;
    await eventually(() => assert.equal(cluster.store.stored(stream)?.length, 3));
  });
});
