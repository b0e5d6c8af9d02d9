import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { EventStoreUnavailable, RevisionConflict } from '../../../application/ports/event-store.ts';
import {
  type ConnectionOptions,
  EventStoreDbConnection,
} from '../../../infrastructure/eventstoredb/connection.ts';
import { EventStoreDbEventStore } from '../../../infrastructure/eventstoredb/event-store.ts';
import { newEvent, newStream } from '../../contracts/event-store.contract.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { accessDenied } from '../../support/eventstoredb/failures.ts';
import { eventually } from '../../support/eventually.ts';
import { failOnUnhandledRejections } from '../../support/unhandled-rejections.ts';

const foreignEvent = () => ({
  id: randomUUID(),
  type: 'Foreign',
  contentType: 'application/json',
  data: new TextEncoder().encode('{"n":1}'),
  metadata: new Uint8Array(),
});

describe('Appending to EventStoreDB', () => {
  const closing: (() => Promise<unknown>)[] = [];
  let server: EventStoreDbDouble;
  let stream: string;

  beforeEach(async () => {
    server = await startServer();
    stream = newStream();
  });
  afterEach(async () => {
    await Promise.all(closing.splice(0).map((close) => close()));
  });
  failOnUnhandledRejections();

  async function startServer(): Promise<EventStoreDbDouble> {
    const started = await EventStoreDbDouble.start();
    closing.push(() => started.stop());
    return started;
  }

  function storeAt(url: string, options: ConnectionOptions = {}) {
    const connection = new EventStoreDbConnection(url, { longestPauseMs: 50, ...options });
    closing.unshift(() => connection.close());
    return new EventStoreDbEventStore(connection);
  }

  const appendsMade = (to = server) => to.calls.filter((call) => call === 'Append').length;
  const idsIn = (name: string) => server.store.stored(name)?.map(({ id }) => id);

  describe('to a server that does not answer', () => {
    it('gives up after its deadline and appends once, however often it has to ask', async () => {
      const store = storeAt(server.url, { deadlineMs: 100 });
      const events = [newEvent(), newEvent()];
      server.faults.silent = true;
      const append = store.append(stream, events, 'none');
      await eventually(() => assert.ok(appendsMade() >= 2));
      server.faults.silent = false;
      assert.deepEqual(
        (await append).map(({ id }) => id),
        events.map(({ id }) => id),
      );
      assert.deepEqual(
        idsIn(stream),
        events.map(({ id }) => id),
      );
    });

    it('recognises an append that was written though its answer was lost', async () => {
      const store = storeAt(server.url, { deadlineMs: 100 });
      const event = newEvent();
      server.faults.forgetful = true;
      const append = store.append(stream, [event], 'none');
      await eventually(() => assert.ok(appendsMade() >= 2));
      server.faults.forgetful = false;
      const [answer] = await append;
      assert.equal(answer?.revision, 0);
      assert.deepEqual(idsIn(stream), [event.id]);
    });

    it('asks what became of an append of unused ids only when its answer was lost', async () => {
      const store = storeAt(server.url, { deadlineMs: 100 });
      const reads = () => server.calls.filter((call) => call === 'Read').length;
      await store.append(stream, [newEvent()], 'none', 'unused');
      assert.equal(reads(), 0);
      const event = newEvent();
      server.faults.forgetful = true;
      const append = store.append(stream, [event], 0, 'unused');
      await eventually(() => assert.ok(appendsMade() >= 3));
      server.faults.forgetful = false;
      assert.deepEqual(await append, (await store.read(stream)).slice(1));
      assert.equal(idsIn(stream)?.length, 2);
      assert.ok(reads() >= 2);
    });

    it('tries another connection when the one it has falls silent', async () => {
      const store = storeAt(server.url, { deadlineMs: 100, patienceMs: 5_000 });
      await store.check();
      server.muteConnections();
      assert.equal((await store.append(stream, [newEvent()], 'none'))[0]?.revision, 0);
      assert.equal((await store.read(stream)).length, 1);
    });

    it('says so when its patience ends', async () => {
      const store = storeAt(server.url, { deadlineMs: 50, patienceMs: 200 });
      server.faults.silent = true;
      await assert.rejects(store.append(stream, [newEvent()], 'none'), EventStoreUnavailable);
      await assert.rejects(store.read(stream), EventStoreUnavailable);
      await assert.rejects(store.check(), EventStoreUnavailable);
    });

    it('tells of a conflict that came up between two attempts', async () => {
      const store = storeAt(server.url, { deadlineMs: 100 });
      server.faults.silent = true;
      const append = assert.rejects(store.append(stream, [newEvent()], 'none'), RevisionConflict);
      await eventually(() => assert.ok(appendsMade() >= 1));
      server.store.append(stream, 'no-stream', [foreignEvent()]);
      server.faults.silent = false;
      await append;
    });
  });

  describe('to a server that comes and goes', () => {
    it('outlives lost connections in the middle of an append', async () => {
      const store = storeAt(server.url);
      const event = newEvent();
      server.faults.forgetful = true;
      const append = store.append(stream, [event], 'none');
      await eventually(() => assert.deepEqual(idsIn(stream), [event.id]));
      server.faults.forgetful = false;
      server.dropConnections();
      assert.equal((await append)[0]?.id, event.id);
      assert.deepEqual(idsIn(stream), [event.id]);
    });

    it('waits for a server that is not there at first', async () => {
      await server.kill();
      const store = storeAt(server.url);
      const [append, read] = [store.append(stream, [newEvent()], 'none'), store.read(newStream())];
      await assert.rejects(store.check(), EventStoreUnavailable);
      await server.listen();
      assert.equal((await append)[0]?.revision, 0);
      assert.deepEqual(await read, []);
    });

    it('says so when its patience ends, and is well again once the server is', async () => {
      const store = storeAt(server.url, { patienceMs: 100 });
      await server.kill();
      await assert.rejects(store.append(stream, [newEvent()], 'none'), EventStoreUnavailable);
      await assert.rejects(store.read(stream), EventStoreUnavailable);
      await server.listen();
      assert.equal((await store.append(stream, [newEvent()], 'none'))[0]?.revision, 0);
      await store.check();
    });

    it('appends again after a cluster could not be discovered', async () => {
      const store = storeAt(server.clusterUrl, { patienceMs: 100 });
      await server.kill();
      await assert.rejects(store.append(stream, [newEvent()], 'none'), {
        name: 'EventStoreUnavailable',
        message: /Failed to discover/,
      });
      await assert.rejects(store.read(stream), /Failed to discover/);
      await server.listen();
      assert.equal((await store.append(stream, [newEvent()], 'none'))[0]?.revision, 0);
      assert.equal((await store.read(stream)).length, 1);
    });
  });

  it('is not touched by what happens to another client in the process', async () => {
    const broken = await startServer();
    const [mine, others] = [storeAt(server.url), storeAt(broken.url, { patienceMs: 200 })];
    await Promise.all([mine.read(stream), others.read(stream)]);
    server.faults.forgetful = true;
    broken.faults.silent = true;
    const append = mine.append(stream, [newEvent()], 'none');
    const failing = assert.rejects(others.append(newStream(), [newEvent()], 'none'), EventStoreUnavailable);
    await eventually(() => assert.deepEqual([appendsMade(), appendsMade(broken)], [1, 1]));
    await broken.kill();
    await failing;
    assert.equal(appendsMade(), 1);
    server.faults.forgetful = false;
    server.dropConnections();
    await append;
    assert.deepEqual(
      [...server.calls, ...broken.calls].filter((call) => call === 'BatchAppend'),
      [],
    );
  });

  it('tells of a conflict even when the connection string asks for none to be thrown', async () => {
    const store = storeAt(`${server.url}&throwOnAppendFailure=false`);
    await store.append(stream, [newEvent()], 'none');
    await assert.rejects(store.append(stream, [newEvent()], 'none'), RevisionConflict);
  });

  it('does not insist when it is refused', async () => {
    const store = storeAt(server.url);
    server.faults.refusal = accessDenied();
    await assert.rejects(store.append(stream, [newEvent()], 'none'), {
      name: 'EventStoreUnavailable',
      reason: `nobody may append to ${stream} without a user`,
    });
    assert.equal(appendsMade(), 1);
  });

  it('reads what others wrote without metadata', async () => {
    server.store.append(stream, 'no-stream', [foreignEvent()]);
    const [read] = await storeAt(server.url).read(stream);
    assert.deepEqual([read?.data, read?.metadata], [{ n: 1 }, {}]);
  });

  it('says what is wrong with a connection string', () => {
    assert.throws(() => new EventStoreDbConnection('esdb://?tls=false'), /expected host/);
    assert.throws(
      () => new EventStoreDbConnection('http://localhost'),
      /expected esdb:\/\/ or esdb\+discover/,
    );
  });

  it('takes the connection strings of KurrentDB', async () => {
    await storeAt(server.url.replace('esdb', 'kurrentdb')).check();
    await storeAt(server.clusterUrl.replace('esdb', 'kurrentdb')).check();
  });

  describe('closing', () => {
    it('lets the connection go', async () => {
      const connection = new EventStoreDbConnection(server.url);
      await new EventStoreDbEventStore(connection).check();
      assert.equal(server.connections, 1);
      await connection.close();
      await eventually(() => assert.equal(server.connections, 0));
    });

    it('fails what is in progress, and does not wait for an answer that never comes', async () => {
      const connection = new EventStoreDbConnection(server.url);
      server.faults.silent = true;
      const read = assert.rejects(new EventStoreDbEventStore(connection).read(stream), EventStoreUnavailable);
      await eventually(() => assert.ok(server.calls.includes('Read')));
      await connection.close();
      await read;
      await assert.rejects(new EventStoreDbEventStore(connection).read(stream), EventStoreUnavailable);
    });

    it('may be done before anything was opened', async () => {
      await server.kill();
      await new EventStoreDbConnection(server.url).close();
      await new EventStoreDbConnection(server.clusterUrl, { deadlineMs: 100 }).close();
    });
  });
});
