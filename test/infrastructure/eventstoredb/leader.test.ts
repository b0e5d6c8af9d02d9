import assert from 'node:assert/strict';
import { EventStoreUnavailable } from '../../../application/ports/event-store.ts';
import {
  type ConnectionOptions,
  EventStoreDbConnection,
} from '../../../infrastructure/eventstoredb/connection.ts';
import { EventStoreDbEventStore } from '../../../infrastructure/eventstoredb/event-store.ts';
import { newEvent, newStream } from '../../contracts/event-store.contract.ts';
import { EventStoreDbCluster } from '../../support/eventstoredb/cluster.ts';
import { eventually } from '../../support/eventually.ts';
import { failOnUnhandledRejections } from '../../support/unhandled-rejections.ts';

describe('Reading from the leader of an EventStoreDB cluster', () => {
  let cluster: EventStoreDbCluster;
  let stream: string;
  const connections: EventStoreDbConnection[] = [];
  failOnUnhandledRejections();

  beforeEach(async () => {
    // Nothing reaches a follower while a test runs.
    cluster = await EventStoreDbCluster.start({ lagMs: 600_000 });
    stream = newStream();
  });
  afterEach(async () => {
    await Promise.all(connections.splice(0).map((connection) => connection.close()));
    await cluster.stop();
  });

  function storeAt(url: string, options: ConnectionOptions = {}) {
    const connection = new EventStoreDbConnection(url, { longestPauseMs: 50, ...options });
    connections.push(connection);
    return new EventStoreDbEventStore(connection);
  }
  const ids = (events: readonly { readonly id: string }[]) => events.map(({ id }) => id);

  const ways: Record<string, () => string> = {
    'the URL prefers followers': () => cluster.urlWith({ nodePreference: 'follower' }),
    'the URL names a follower': () => (cluster.followers[0] as { url: string }).url,
  };
  for (const [way, url] of Object.entries(ways)) {
    it(`reads what was appended, when ${way}`, async () => {
      const events = [newEvent(), newEvent()];
      const appended = await storeAt(url()).append(stream, events, 'none');
      assert.deepEqual(ids(appended), ids(events));
      assert.deepEqual(await storeAt(url()).read(stream), appended);
    });

    it(`reads what others appended, when ${way}`, async () => {
      const mine = storeAt(url());
      await mine.read(stream);
      const appended = await storeAt(cluster.url).append(stream, [newEvent()], 'none');
      assert.deepEqual(await mine.read(stream), appended);
    });
  }

  it('reads from the next leader once its node no longer leads', async () => {
    const store = storeAt(cluster.url);
    await store.append(stream, [newEvent()], 'none', 'unused');
    await cluster.changeLeader();
    const appended = await store.append(stream, [newEvent(), newEvent()], 0, 'unused');
    assert.equal(appended.length, 2);
    await cluster.changeLeader();
    assert.deepEqual((await store.read(stream)).slice(1), appended);
  });

  it('waits for an election to end', async () => {
    const store = storeAt(cluster.url);
    await store.check();
    const elected = cluster.changeLeader({ electionMs: 300, kill: true });
    const [appended] = await store.append(stream, [newEvent()], 'none');
    assert.equal(appended?.revision, 0);
    assert.equal((await store.read(stream)).length, 1);
    await elected;
  });

  describe('when what was appended is not shown', () => {
    const truncate = (before: number) =>
      cluster.store.append(`$$${stream}`, 'any', [
        {
          id: `truncated before ${before}`,
          type: '$metadata',
          contentType: 'application/json',
          data: Buffer.from(JSON.stringify({ $tb: before })),
          metadata: new Uint8Array(),
        },
      ]);
    const reads = () => cluster.leader?.calls.filter((call) => call === 'Read').length ?? 0;

    it('asks again until it is', async () => {
      const store = storeAt(cluster.url);
      truncate(10);
      const append = store.append(stream, [newEvent(), newEvent()], 'none');
      await eventually(() => assert.ok(reads() >= 2));
      truncate(0);
      assert.equal((await append).length, 2);
      assert.equal(cluster.store.stored(stream)?.length, 2);
    });

    it('gives up after its deadline, and says so', async () => {
      const store = storeAt(cluster.url, { patienceMs: 100 });
      truncate(1);
      await assert.rejects(store.append(stream, [newEvent(), newEvent()], 'none'), (error) => {
        assert.ok(error instanceof EventStoreUnavailable);
        assert.match(error.message, /does not show yet/);
        return true;
      });
    });
  });
});
