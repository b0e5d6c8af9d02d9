import assert from 'node:assert/strict';
import { Metadata, type StatusObject, status } from '@grpc/grpc-js';
import {
  AppendTooLarge,
  EventStoreUnavailable,
  StreamDeleted,
} from '../../../application/ports/event-store.ts';
import { EventStoreDbConnection } from '../../../infrastructure/eventstoredb/connection.ts';
import { Failures, failureTable, kindOf } from '../../../infrastructure/eventstoredb/errors.ts';
import { EventStoreDbEventStore } from '../../../infrastructure/eventstoredb/event-store.ts';
import { newEvent, newStream } from '../../contracts/event-store.contract.ts';
import { bareClients, eventsOf, failureOf, someEvent } from '../../support/eventstoredb/bare-clients.ts';
import { EventStoreDbCluster } from '../../support/eventstoredb/cluster.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { failOnUnhandledRejections } from '../../support/unhandled-rejections.ts';

const answer = (code: status, details: string): StatusObject => ({ code, details, metadata: new Metadata() });

describe('What EventStoreDB answers instead of doing what it is asked', () => {
  let server: EventStoreDbDouble;
  let connection: EventStoreDbConnection;
  let store: EventStoreDbEventStore;
  let stream: string;
  const open = bareClients();
  failOnUnhandledRejections();

  beforeEach(async () => {
    server = await EventStoreDbDouble.start();
    connection = new EventStoreDbConnection(server.url, {
      deadlineMs: 10_000,
      patienceMs: 150,
      longestPauseMs: 20,
    });
    store = new EventStoreDbEventStore(connection);
    stream = newStream();
  });
  afterEach(async () => {
    await connection.close();
    await server.stop();
  });

  const appends = () => server.calls.filter((call) => call === 'Append').length;
  const append = () => store.append(stream, [newEvent()], 'none');

  describe('is an outage, and tried again', () => {
    const outages: Record<string, StatusObject> = {
      cancelled: answer(status.CANCELLED, 'Call cancelled'),
      'an unknown error': answer(status.UNKNOWN, 'Unexpected OperationResult: Retry'),
      'a deadline': answer(status.DEADLINE_EXCEEDED, 'Deadline exceeded'),
      'a timeout of the server': answer(status.ABORTED, 'Operation timed out'),
      'an internal error': answer(status.INTERNAL, 'Received RST_STREAM with code 2'),
      'not ready': answer(status.UNAVAILABLE, 'Server Is Not Ready'),
    };
    for (const [title, refusal] of Object.entries(outages))
      it(`when it is ${title}`, async () => {
        server.faults.refusal = refusal;
        await assert.rejects(append(), (error) => {
          assert.ok(error instanceof EventStoreUnavailable);
          assert.match(error.message, new RegExp(refusal.details));
          return error.reason === undefined;
        });
        assert.ok(appends() > 1);
        server.faults.refusal = undefined;
        assert.equal((await append())[0]?.revision, 0);
      });

    it('when no cluster can be discovered', async () => {
      const cluster = await EventStoreDbCluster.start();
      const away = new EventStoreDbConnection(
        cluster.urlWith({ maxDiscoverAttempts: '1', discoveryInterval: '1' }),
        { patienceMs: 100, longestPauseMs: 20 },
      );
      try {
        cluster.loseQuorum();
        await assert.rejects(new EventStoreDbEventStore(away).read(stream), {
          name: 'EventStoreUnavailable',
          message: /Failed to discover/,
        });
        cluster.regainQuorum();
        assert.deepEqual(await new EventStoreDbEventStore(away).read(stream), []);
      } finally {
        await away.close();
        await cluster.stop();
      }
    });

    it('when the channel has been closed', async () => {
      await store.read(stream);
      // biome-ignore lint/complexity/useLiteralKeys: protected, and the only way to the channel
      (await connection.client['getChannel']()).close();
      await new Promise((resolve) => setImmediate(resolve));
      const read = () =>
        connection.once((client) => eventsOf(client.readAll()), { doing: 'read', stream: '$all' });
      await assert.rejects(read(), {
        name: 'EventStoreUnavailable',
        message: /Channel has been shut down/,
      });
      assert.deepEqual(await read(), []);
    });
  });

  it('fails no call that is made while another has the client reconnect', async () => {
    await store.check();
    const calls = [append(), store.read(newStream())];
    connection.abandon(connection.client);
    await Promise.all(calls);
    assert.equal(server.store.stored(stream)?.length, 1);
  });

  it('names what the user may not do, and is not tried again', async () => {
    server.store.rights.setUser('fieldlog', { password: 'p' });
    await assert.rejects(append(), {
      name: 'EventStoreUnavailable',
      reason: `nobody may append to ${stream} without a user`,
    });
    await assert.rejects(store.read(stream), { reason: `nobody may read ${stream} without a user` });
    await assert.rejects(store.eraseBefore(stream, 1), {
      reason: `nobody may read the metadata of ${stream} without a user`,
    });
    assert.equal(appends(), 1);
    const failures = new Failures('esdb://field%40log:p@host:2113');
    assert.equal(failures.user, 'user "field@log"');
    const reason = (code: number) => {
      const refused = Object.assign(new Error('refused'), { type: 'access-denied', code });
      const subject = { doing: 'read', stream: '$all' } as const;
      return (failures.translated(refused, subject) as EventStoreUnavailable).reason;
    };
    assert.equal(reason(7), 'its user may not read $all');
    assert.equal(reason(16), 'its user is not known with this password');
  });

  it('says how much it would take of an append that is too large', async () => {
    const large = { text: 'x'.repeat(1_100_000) };
    await assert.rejects(store.append(stream, [newEvent(large)], 'none'), (error) => {
      assert.ok(error instanceof AppendTooLarge);
      return error.limit === 1_048_576;
    });
    assert.equal(appends(), 1);
    const huge = { text: 'x'.repeat(17 * 1024 * 1024) };
    await assert.rejects(store.append(stream, [newEvent(huge)], 'none'), AppendTooLarge);
    await append();
  });

  it('says that a stream is gone for good', async () => {
    await append();
    server.store.tombstone(stream, 'any');
    const isGone = (error: unknown) => error instanceof StreamDeleted && error.stream === stream;
    await assert.rejects(store.read(stream), isGone);
    await assert.rejects(append(), isGone);
    await assert.rejects(store.eraseBefore(stream, 1), isGone);
  });

  it('is a fault of ours when the call was wrong', async () => {
    for (const code of [status.INVALID_ARGUMENT, status.UNIMPLEMENTED]) {
      const before = appends();
      server.faults.refusal = answer(code, 'no such thing');
      await assert.rejects(append(), { code, message: /no such thing/ });
      assert.equal(appends() - before, 1);
    }
  });

  it('is reported with its code when it is not known, and is an outage when it meets several streams', async () => {
    server.faults.refusal = answer(status.DATA_LOSS, 'The index is broken');
    const one = () => store.append(stream, [newEvent()], 'none');
    for (let times = 0; times < 3; times += 1)
      await assert.rejects(one(), (error: Error) => {
        assert.ok(!(error instanceof EventStoreUnavailable));
        assert.match(error.message, /code 15.*The index is broken/);
        return true;
      });
    await assert.rejects(store.append(newStream(), [newEvent()], 'none'));
    await assert.rejects(store.append(newStream(), [newEvent()], 'none'), {
      name: 'EventStoreUnavailable',
      message: /code 15/,
    });
    await assert.rejects(one(), { name: 'EventStoreUnavailable' });
  });

  it('has a row for everything that the client was seen to throw', async () => {
    const cluster = await EventStoreDbCluster.start();
    const [leader, follower] = [cluster.leader, cluster.followers[0]] as EventStoreDbDouble[];
    const [lead, follow] = [open(leader?.url ?? ''), open(follower?.url ?? '')];
    const batch = open(leader?.url ?? '', 'batch');
    try {
      await lead.appendToStream('gone', someEvent());
      await lead.tombstoneStream('gone');
      const seen = [
        await failureOf(eventsOf(follow.readStream('a', { requiresLeader: true }))),
        await failureOf(eventsOf(lead.readStream('gone'))),
        await failureOf(batch.appendToStream('gone', someEvent())),
        await failureOf(lead.appendToStream('a', someEvent({ text: 'x'.repeat(1_100_000) }))),
        await failureOf(lead.appendToStream('a', someEvent({ text: 'x'.repeat(17 * 1024 * 1024) }))),
      ].map(({ error }) => kindOf(error));
      assert.deepEqual(seen, ['not-leader', 'stream-deleted', 'stream-deleted', 'too-large', 'too-large']);
      await batch.appendToStream('b', someEvent());
      cluster.loseQuorum();
      const { error } = await failureOf(batch.appendToStream('b', someEvent()));
      assert.equal(kindOf(error), 'outage');
    } finally {
      await cluster.stop();
    }
    const named = { type: 'another', code: 99 };
    assert.equal(kindOf(Object.assign(new Error('said'), named)), 'unknown');
    assert.equal(kindOf(new Error('of our own')), 'fault');
    assert.equal(kindOf('not even an error'), 'fault');
    for (const { kind, type, code, message } of failureTable) {
      const text = message ? message.source.replace(/[\^$]|\((.*)\|.*\)/g, '$1') : 'said';
      const error = Object.assign(new Error(text), type && { type }, code !== undefined && { code });
      assert.equal(kindOf(error), kind, `${type ?? code ?? text}`);
    }
  });
});
