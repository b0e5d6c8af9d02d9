import assert from 'node:assert/strict';
import {
  ANY,
  BACKWARDS,
  END,
  type EventStoreDBClient,
  eventTypeFilter,
  type Position,
  streamNameFilter,
} from '@eventstore/db-client';
import { newStream } from '../../contracts/event-store.contract.ts';
import { bareClients, eventsOf, failureOf, someEvent } from '../../support/eventstoredb/bare-clients.ts';
import { type DoubleOptions, EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { eventually } from '../../support/eventually.ts';
import { failOnUnhandledRejections } from '../../support/unhandled-rejections.ts';

const ours = newStream();

/** What EventStoreDB 23.10.6 was seen to answer of its log as a whole, asked of the tests' stand-in. */
describe('The EventStoreDB stand-in, $all', () => {
  let server: EventStoreDbDouble;
  let client: EventStoreDBClient;
  const open = bareClients();
  failOnUnhandledRejections();

  beforeEach(() => start());
  afterEach(() => server.stop());

  async function start(options: DoubleOptions = {}) {
    await server?.stop();
    server = await EventStoreDbDouble.start(options);
    client = open(server.url);
  }

  const write = async (count = 1) => {
    const events = Array.from({ length: count }, (_, n) => someEvent({ n }));
    const { position } = await client.appendToStream(ours, events, { expectedRevision: ANY });
    return position as Position;
  };
  const foreign = {
    type: 'OrderPlaced',
    contentType: 'application/json',
    data: Buffer.from('{"a":1}'),
    metadata: Buffer.from('{}'),
  };
  const writeForeign = (count: number) => server.store.appendRun('orders-1', count, foreign);
  const read = (options: Parameters<EventStoreDBClient['readAll']>[0]) => eventsOf(client.readAll(options));

  /** A filtered subscription to our streams, and what it was sent. */
  function subscribe(
    options: { fromPosition?: Position; maxSearchWindow?: number; checkpointInterval?: number } = {},
  ) {
    const { fromPosition, ...filterOptions } = options;
    const seen: unknown[] = [];
    const positions: Position[] = [];
    const checkpoints: Position[] = [];
    const filter = streamNameFilter({
      prefixes: ['device-'],
      ...filterOptions,
      checkpointReached: (_, position) => {
        seen.push('checkpoint');
        checkpoints.push(position);
      },
    });
    const subscription = client.subscribeToAll({ ...(fromPosition && { fromPosition }), filter });
    subscription.on('confirmation', () => seen.push('confirmation'));
    subscription.on('caughtUp', () => seen.push('caughtUp'));
    subscription.on('data', ({ event }) => {
      seen.push('event');
      if (event?.position) positions.push(event.position);
    });
    const failed = new Promise((_, reject) => subscription.on('error', reject));
    failed.catch(() => undefined);
    return { seen, positions, checkpoints, failed };
  }

  it('has metadata, soft deletes and tombstones among its events, in order', async () => {
    await write(2);
    await client.setStreamMetadata(ours, { maxAge: 60 });
    await client.deleteStream(ours);
    await write();
    await client.tombstoneStream(ours);
    assert.deepEqual(
      (await read({})).map(({ streamId, type, revision }) => [streamId.startsWith('$$'), type, revision]),
      [
        [false, 'Something', 0n],
        [false, 'Something', 1n],
        [true, '$metadata', 0n],
        [true, '$metadata', 1n],
        [false, 'Something', 2n],
        [true, '$metadata', 2n],
        [false, '$streamDeleted', 9223372036854775807n],
      ],
    );
  });

  it('reads from a position on, and backwards from before it', async () => {
    await write(3);
    const positions = (await read({})).map(({ position }) => position as Position);
    const [first, second, third] = positions as [Position, Position, Position];
    const found = async (options: Parameters<typeof read>[0]) =>
      (await read(options)).map(({ position }) =>
        positions.findIndex(({ commit }) => commit === position?.commit),
      );
    assert.deepEqual(await found({ fromPosition: second }), [1, 2]);
    assert.deepEqual(await found({ fromPosition: third, direction: BACKWARDS }), [1, 0]);
    assert.deepEqual(await found({ fromPosition: first, maxCount: 2 }), [0, 1]);
  });

  it('has its head read by one event, backwards', async () => {
    await write();
    writeForeign(100_000);
    const [head] = await read({ direction: BACKWARDS, fromPosition: END, maxCount: 1 });
    assert.deepEqual([head?.streamId, head?.revision], ['orders-1', 99_999n]);
    assert.equal(server.traffic.eventsSent, 1);
  });

  it('says to a filtered subscription that it has caught up, once', async () => {
    await write(2);
    writeForeign(10);
    const { seen } = subscribe();
    await eventually(() => assert.deepEqual(seen, ['confirmation', 'event', 'event', 'caughtUp']));
    await write();
    await eventually(() => assert.deepEqual(seen.slice(3), ['caughtUp', 'event']));
  });

  it('says so before what is written next', async () => {
    const { seen } = subscribe();
    await eventually(() => assert.deepEqual(seen, ['confirmation', 'caughtUp']));
    await write();
    await eventually(() => assert.deepEqual(seen, ['confirmation', 'caughtUp', 'event']));
  });

  it('reports how far it searched in stretches without a match', async () => {
    await write();
    writeForeign(100);
    const { seen, checkpoints } = subscribe();
    await eventually(() => assert.ok(seen.includes('caughtUp')));
    assert.deepEqual(seen, ['confirmation', 'event', 'checkpoint', 'checkpoint', 'checkpoint', 'caughtUp']);
    writeForeign(64);
    await eventually(() => assert.equal(checkpoints.length, 5));
    const last = checkpoints.at(-1) as Position;
    const again = subscribe({ fromPosition: last });
    await eventually(() => assert.deepEqual(again.seen, ['confirmation', 'caughtUp']));
  });

  it('reports that alone as a server before 23.10', async () => {
    await start({ caughtUp: false });
    await write();
    writeForeign(100);
    const { seen } = subscribe();
    await eventually(() => assert.equal(seen.length, 5));
    await write();
    await eventually(() =>
      assert.deepEqual(seen.slice(1), ['event', 'checkpoint', 'checkpoint', 'checkpoint', 'event']),
    );
  });

  for (const maxSearchWindow of [undefined, 10, 5_000])
    it(`finds 52 events of ours among 800,000, window ${maxSearchWindow ?? 'by default'}`, async () => {
      for (let n = 0; n < 52; n += 1) {
        await write();
        writeForeign(16_000);
      }
      const { seen, positions } = subscribe({
        ...(maxSearchWindow && { maxSearchWindow }),
        checkpointInterval: 10,
      });
      await eventually(() => assert.ok(seen.includes('caughtUp')));
      assert.equal(positions.length, 52);
      assert.ok(server.traffic.eventsSent === 52);
    });

  it('reads other programs’ events no faster than it is set to', async () => {
    writeForeign(1_000);
    server.faults.readsPerSecond = 5_000;
    const began = performance.now();
    assert.equal((await read({})).length, 1_000);
    assert.ok(performance.now() - began >= 150);
  });

  it('searches no faster than it is set to', async () => {
    writeForeign(10_000);
    server.faults.searchesPerSecond = 50_000;
    const began = performance.now();
    const { seen } = subscribe();
    await eventually(() => assert.ok(seen.includes('caughtUp')));
    assert.ok(performance.now() - began >= 150);
  });

  it('filters by what an event is', async () => {
    await write(2);
    writeForeign(3);
    const types: unknown[] = [];
    client
      .subscribeToAll({ filter: eventTypeFilter({ regex: '^Order' }) })
      .on('data', ({ event }) => types.push(event?.type));
    await eventually(() => assert.deepEqual(types, ['OrderPlaced', 'OrderPlaced', 'OrderPlaced']));
  });

  describe('put back to an earlier copy', () => {
    let lost: Position;

    beforeEach(async () => {
      await write();
      const copy = server.store.copy();
      await write(3);
      lost = await write();
      await server.putBack(copy);
      // The client learns from its first call that its connection is gone.
      await eventually(() => read({}));
    });

    it('has lost what was written since', async () => {
      assert.equal((await eventsOf(client.readStream(ours))).length, 1);
      assert.equal((await read({})).length, 1);
      assert.equal(
        (await client.appendToStream(ours, someEvent(), { expectedRevision: 0n })).nextExpectedRevision,
        1n,
      );
    });

    it('takes a subscription from beyond its end, and sends it what is written at lower positions', async () => {
      const { seen, positions } = subscribe({ fromPosition: lost });
      await eventually(() => assert.deepEqual(seen, ['confirmation', 'caughtUp']));
      const written = await write();
      await eventually(() => assert.equal(seen.length, 3));
      assert.deepEqual(positions, [written]);
      assert.ok(written.commit < lost.commit);
    });

    it('reads nothing from beyond its end forwards, and fails backwards', async () => {
      assert.deepEqual(await read({ fromPosition: lost }), []);
      const { type, code, message } = await failureOf(read({ fromPosition: lost, direction: BACKWARDS }));
      assert.deepEqual([type, code], ['unknown', 2]);
      assert.match(message, /Unexpected ReadAllResult: Error/);
    });

    it('fails reads and subscriptions from inside of a record', async () => {
      writeForeign(50);
      const { code, message } = await failureOf(read({ fromPosition: lost }));
      assert.equal(code, 2);
      assert.match(message, /Unexpected ReadAllResult: Error/);
      const failure = await failureOf(subscribe({ fromPosition: lost }).failed);
      assert.equal(failure.code, 2);
      assert.match(failure.message, /Exception was thrown by handler\./);
    });
  });
});
