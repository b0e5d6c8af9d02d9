import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import {
  type Batch,
  CheckpointOfAnotherLog,
  comparePositions,
  type EventPlace,
  exactly,
  type Position,
} from '../../../application/ports/event-source.ts';
import type { RecordedEvent } from '../../../application/ports/event-store.ts';
import { ReadModelsUnavailable } from '../../../application/ports/read-models.ts';
import { EventStoreDbConnection } from '../../../infrastructure/eventstoredb/connection.ts';
import {
  EventStoreDbEventSource,
  type SubscriptionOptions,
} from '../../../infrastructure/eventstoredb/event-source.ts';
import { newStream } from '../../contracts/event-store.contract.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import type { ProposedEvent } from '../../support/eventstoredb/model/events.ts';
import { silentLog } from '../../support/eventstoredb/silent-log.ts';
import { eventually } from '../../support/eventually.ts';
import { RecordingConsumer, runUntil } from '../../support/recording-consumer.ts';
import { failOnUnhandledRejections } from '../../support/unhandled-rejections.ts';

const numbers = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i);

const numbered = (n: number, padding = ''): ProposedEvent => ({
  id: randomUUID(),
  type: 'DeviceDetailsChanged',
  contentType: 'application/json',
  data: new TextEncoder().encode(JSON.stringify({ n, padding })),
  metadata: new TextEncoder().encode('{}'),
});

const numbersIn = (events: readonly RecordedEvent[]) => events.map(({ data }) => (data as { n: number }).n);

/** Knows what was skipped, and stores it where the source names the event. */
class SkippingConsumer extends RecordingConsumer<RecordedEvent> {
  at: Position | null = null;
  stored: EventPlace | null = null;

  override async consume(batch: Batch<RecordedEvent>): Promise<void> {
    await super.consume(batch);
    this.at = batch.events.at(-1)?.position ?? this.at;
  }

  async skipped(): Promise<EventPlace | null> {
    return this.stored;
  }

  async skip(_partition: number, after: Position | null, to: EventPlace | { readonly position: Position }) {
    assert.ok(comparePositions(after, to.position) < 0 && comparePositions(this.at, to.position) < 0);
    this.at = to.position;
    if ('eventId' in to) this.stored = to;
  }
}

describe('Following EventStoreDB', () => {
  let server: EventStoreDbDouble;
  let connection: EventStoreDbConnection;
  let stream: string;
  let warnings: string[];
  let attempts: number;

  beforeEach(async () => {
    server = await EventStoreDbDouble.start();
    connection = new EventStoreDbConnection(server.url, { deadlineMs: 300, longestPauseMs: 20 });
    stream = newStream();
    warnings = [];
    attempts = 0;
  });
  afterEach(async () => {
    await connection.close();
    await server.stop();
  });
  failOnUnhandledRejections();

  const sourceWith = (options?: SubscriptionOptions) =>
    new EventStoreDbEventSource(
      connection,
      {
        ...silentLog,
        debug: () => {
          attempts += 1;
        },
        warn: ({ err }) => {
          attempts += 1;
          warnings.push(String(err));
        },
      },
      options,
    );

  const write = (...ns: readonly number[]) =>
    server.store.append(
      stream,
      'any',
      ns.map((n) => numbered(n)),
    );
  const positionOf = (n: number): Position | undefined => {
    const found = server.store.stored(stream)?.[n]?.position;
    return found && `${found.commit}-${found.prepare}`;
  };
  const writeForeign = (count: number) => server.store.appendRun('$stats-2113', count, numbered(0));

  const arrived = (consumer: RecordingConsumer<RecordedEvent>, expected: readonly number[]) =>
    eventually(() => assert.deepEqual(numbersIn(consumer.events), expected));

  const subscriptions = (count: number) =>
    eventually(() => assert.equal(server.traffic.subscriptions.size, count));

  /** Runs a consumer that must see exactly 0 to `total - 1`, while `meanwhile` happens to the server. */
  async function follow(
    total: number,
    meanwhile: (consumer: RecordingConsumer<RecordedEvent>) => Promise<unknown>,
    source = sourceWith(),
  ) {
    const consumer = new RecordingConsumer<RecordedEvent>();
    await runUntil(source, consumer, 'test', async () => {
      await meanwhile(consumer);
      await arrived(consumer, numbers(total));
    });
    consumer.verdict();
    await subscriptions(0);
    return consumer;
  }

  describe('when the subscription breaks', () => {
    const breaks: Record<string, () => Promise<void>> = {
      'the connection is lost': async () => server.dropConnections(),
      'the server is killed and comes back': async () => {
        await server.kill();
        write(2, 3);
        await server.listen();
      },
      'the server cancels it': async () => server.dropSubscriptions(status.CANCELLED, 'Call cancelled'),
      'the server is shutting down': async () =>
        server.dropSubscriptions(status.UNAVAILABLE, 'Server is not ready'),
      'the consumer was too slow': async () => server.dropSubscriptions(),
      'the server fails': async () => server.dropSubscriptions(status.UNKNOWN, 'Unexpected error'),
    };
    for (const [what, breakIt] of Object.entries(breaks))
      it(`continues where it stood after ${what}`, async () => {
        write(0, 1);
        await follow(6, async (consumer) => {
          await arrived(consumer, [0, 1]);
          await breakIt();
          if (server.store.stored(stream)?.length === 2) write(2, 3);
          await arrived(consumer, [0, 1, 2, 3]);
          await subscriptions(1);
          write(4, 5);
        });
        assert.ok(warnings.length > 0);
      });

    it('continues however often it breaks', async () => {
      await follow(40, async (consumer) => {
        for (const n of numbers(20)) {
          write(2 * n);
          await subscriptions(1);
          server.dropSubscriptions();
          write(2 * n + 1);
          await arrived(consumer, numbers(2 * n + 2));
        }
      });
    });
  });

  it('waits for a server that is not there at first', async () => {
    await server.kill();
    write(0);
    await follow(1, async () => {
      await eventually(() => assert.ok(attempts > 4));
      // One line for the outage: the first says that nobody listens, and perhaps another that it is so still.
      assert.ok(warnings.length <= 2, warnings.join('; '));
      await server.listen();
    });
  });

  it('subscribes again when the server takes the subscription and never confirms it', async () => {
    server.faults.silent = true;
    write(0);
    await follow(1, async () => {
      await eventually(() => assert.match(warnings.join(), /not confirmed within 300 ms/));
      server.faults.silent = false;
    });
  });

  it('keeps on while what the consumer needs is away, and ends when it is the consumer that fails', async () => {
    write(0);
    let calls = 0;
    const failing = (error: Error, upTo: number) => ({
      checkpoint: async () => null,
      async consume() {
        calls += 1;
        if (calls <= upTo) throw error;
      },
    });
    const passing = failing(new ReadModelsUnavailable('the database restarts'), 12);
    await runUntil(sourceWith(), passing, 'test', () => eventually(() => assert.equal(calls, 13)));

    const broken = new Error('the consumer is broken');
    const { signal } = new AbortController();
    const run = sourceWith().run(failing(broken, Number.POSITIVE_INFINITY), { group: 'test', signal });
    await assert.rejects(run, broken);
  });

  it('reads no further than its buffers while a batch is consumed, and takes what has come as one batch', async () => {
    const batchSize = 50;
    const total = 5_000;
    for (const n of numbers(total)) server.store.append(stream, 'any', [numbered(n, 'x'.repeat(1_000))]);
    const gate = Promise.withResolvers<void>();
    const stop = new AbortController();
    const batches: Batch<RecordedEvent>[] = [];
    const run = sourceWith({ batchSize }).run(
      {
        checkpoint: async () => null,
        async consume(batch) {
          batches.push(batch);
          await gate.promise;
          if (numbersIn(batch.events).at(-1) === total - 1) stop.abort();
        },
      },
      { group: 'test', signal: stop.signal },
    );
    let sent = -1;
    let unchanged = 0;
    await eventually(() => {
      unchanged = sent === server.traffic.eventsSent ? unchanged + 1 : 0;
      sent = server.traffic.eventsSent;
      assert.ok(
        server.traffic.heldBack === 1 && batches.length === 1 && unchanged === 10,
        `${sent} events sent`,
      );
    });
    assert.ok(sent < total / 2, `${sent} events were sent while the first batch was consumed`);
    gate.resolve();
    await run;
    assert.deepEqual(numbersIn(batches.flatMap(({ events }) => events)), numbers(total));
    assert.ok(batches.every(({ events }) => events.length <= batchSize));
    assert.ok(batches.length < total / 5, `${batches.length} batches`);
  });

  it('has the server pick the events', async () => {
    write(0);
    writeForeign(200);
    const consumer = await follow(2, async (consumer) => {
      await arrived(consumer, [0]);
      writeForeign(200);
      write(1);
    });
    assert.deepEqual(
      consumer.batches.map(({ after, events }) => [after, events[0]?.position]),
      [
        [null, positionOf(0)],
        [positionOf(0), positionOf(1)],
      ],
    );
  });

  it('hands over a few events while the server still searches millions of others', async () => {
    write(0, 1, 2);
    const foreign = 8_000_000;
    writeForeign(foreign);
    // As fast as a real server, for longer than the test would wait.
    server.faults.searchesPerSecond = 270_000;
    await follow(3, async (consumer) => {
      await arrived(consumer, numbers(3));
      assert.ok(server.traffic.eventsConsidered < foreign, 'they came only when the server had searched all');
    });
  });

  for (const caughtUp of [true, false])
    describe(`behind its last event, where the server ${caughtUp ? 'says' : 'does not say'} that it caught up`, () => {
      beforeEach(async () => {
        if (caughtUp) return;
        await connection.close();
        await server.stop();
        server = await EventStoreDbDouble.start({ caughtUp });
        connection = new EventStoreDbConnection(server.url, { deadlineMs: 300, longestPauseMs: 20 });
      });

      const end = async (source: EventStoreDbEventSource) => (await source.ends()).get(0) ?? null;

      it('skips the events of other programs, however few or many', async () => {
        const source = sourceWith();
        const consumer = new SkippingConsumer();
        await runUntil(source, consumer, 'test', async () => {
          for (const count of [1, 31, 32, 33, 2_000]) {
            writeForeign(count);
            await eventually(async () => assert.equal(consumer.at, await end(source)));
          }
          write(0);
          await eventually(async () => assert.equal(consumer.at, await end(source)));
          writeForeign(5);
          await eventually(async () => assert.equal(consumer.at, await end(source)));
          assert.equal(consumer.stored?.position, await end(source));
        });
        consumer.verdict();
        assert.deepEqual(numbersIn(consumer.events), [0]);
      });

      it('begins behind what was skipped when it is run again', async () => {
        write(0);
        writeForeign(10_000);
        const source = sourceWith();
        const consumer = new SkippingConsumer();
        const isAtEnd = () => eventually(async () => assert.equal(consumer.at, await end(source)));
        await runUntil(source, consumer, 'test', isAtEnd);
        const considered = server.traffic.eventsConsidered;
        write(1);
        await runUntil(source, consumer, 'test', isAtEnd);
        assert.deepEqual(numbersIn(consumer.events), [0, 1]);
        assert.ok(server.traffic.eventsConsidered - considered < 1_000, 'looked at all of it once more');
      });
    });

  it('does not begin behind what was skipped in a store that was put back to an earlier copy', async () => {
    write(0);
    const copy = server.store.copy();
    writeForeign(100);
    const source = sourceWith();
    const consumer = new SkippingConsumer();
    await runUntil(source, consumer, 'test', () =>
      eventually(async () => assert.equal(consumer.stored?.position, (await source.ends()).get(0))),
    );
    await server.putBack(copy);
    write(1);
    writeForeign(200);
    await runUntil(source, consumer, 'test', () => arrived(consumer, [0, 1]));
  });

  it('asks for the checkpoint at once when positions come again, and stops where it is of another log', async () => {
    write(...numbers(3));
    const beyond = positionOf(2);
    let asked = 0;
    const consumer = {
      async checkpoint() {
        asked += 1;
        if (asked > 1) throw new CheckpointOfAnotherLog('put the log back');
        return beyond?.replace(/\d+/g, (digits) => `${digits}0`) ?? null;
      },
      consume: async () => assert.fail('consumed what may be another log'),
    };
    const run = sourceWith().run(consumer, { group: 'test', signal: new AbortController().signal });
    const outcome = assert.rejects(run, CheckpointOfAnotherLog);
    await subscriptions(1);
    write(3);
    await outcome;
    assert.equal(asked, 2);
    assert.equal(attempts, 0);
  });

  it('tells events of one transaction apart by their prepare position', async () => {
    server.store.appendTransaction(stream, [numbered(0), numbered(1), numbered(2)]);
    const consumer = new RecordingConsumer<RecordedEvent>();
    const faltering = {
      checkpoint: (partition: number) => consumer.checkpoint(partition),
      async consume(batch: Batch<RecordedEvent>) {
        await consumer.consume({ ...batch, events: batch.events.slice(0, 1) });
        if (batch.events.length > 1) throw new Error('only one at a time');
      },
    };
    await runUntil(sourceWith(), faltering, 'test', () => arrived(consumer, [0, 1, 2]));
    consumer.verdict();
    const commits = new Set(consumer.events.map(({ position }) => position.split('-')[0]));
    assert.equal(commits.size, 1);
  });

  it('takes no batch once it was stopped, whenever that is', async () => {
    for (const turns of numbers(20)) {
      const stop = new AbortController();
      let begunAfterStop = false;
      const consumer = {
        checkpoint: async () => null,
        async consume() {
          begunAfterStop ||= stop.signal.aborted;
        },
      };
      const run = sourceWith().run(consumer, { group: 'test', signal: stop.signal });
      await subscriptions(1);
      write(turns);
      for (const _ of numbers(turns)) await nextTurn();
      stop.abort();
      await run;
      await subscriptions(0);
      assert.equal(begunAfterStop, false, `stopped after ${turns} turns`);
    }
  });

  it('stops when the connection is closed', async () => {
    write(0);
    const consumer = new RecordingConsumer<RecordedEvent>();
    const run = sourceWith().run(consumer, { group: 'test', signal: new AbortController().signal });
    await arrived(consumer, [0]);
    await connection.close();
    await run;
  });

  it('refuses a checkpoint of another store with a word about its form', async () => {
    const foreign = { checkpoint: async () => '42', consume: async () => undefined };
    await runUntil(sourceWith(), foreign, 'test', () =>
      eventually(() => assert.match(warnings.join(), /"42" is not a position of EventStoreDB/)),
    );
  });

  describe('how far the log goes', () => {
    const end = async (source: EventStoreDbEventSource) => (await source.ends()).get(0);

    it('is where its last event is, whoever wrote it, and takes one event to know', async () => {
      const source = sourceWith();
      assert.equal(await end(source), null);
      writeForeign(2_000);
      write(0);
      assert.equal(await end(source), positionOf(0));
      writeForeign(2_000);
      assert.ok(comparePositions((await end(source)) as Position, positionOf(0) as Position) > 0);
      assert.equal(server.traffic.eventsSent, 2);
    });

    it('counts events of ours, and stops at 10,000', async () => {
      const source = sourceWith();
      const countAfter = (position?: Position) => source.countAfter(0, position ?? null, 10_000);
      assert.deepEqual(await countAfter(), exactly(0));
      write(...numbers(5));
      writeForeign(100);
      assert.deepEqual(await countAfter(), exactly(5));
      assert.deepEqual(await countAfter(positionOf(2)), exactly(2));
      assert.deepEqual(await countAfter(positionOf(4)), exactly(0));
      write(...numbers(10_100));
      assert.deepEqual(await countAfter(), { events: 10_000, isAtLeast: true });
      await subscriptions(0);
    });

    it('counts for a moment, and says then how many there are at least', async () => {
      write(0, 1);
      writeForeign(5_000);
      server.faults.searchMs = 60;
      write(2);
      assert.deepEqual(await sourceWith().countAfter(0, null, 50), { events: 2, isAtLeast: true });
      await subscriptions(0);
    });

    it('is not waited for when the server does not answer', async () => {
      write(0);
      server.faults.silent = true;
      await assert.rejects(sourceWith().ends(), { name: 'EventStoreUnavailable' });
      await server.kill();
      await assert.rejects(sourceWith().countAfter(0, null), { name: 'EventStoreUnavailable' });
    });
  });
});
