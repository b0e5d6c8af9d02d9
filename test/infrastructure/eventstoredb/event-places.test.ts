import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Container } from 'inversify';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { openContainer } from '../../../interfaces/composition/container.ts';
import { services as s } from '../../../interfaces/composition/services.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { silentLog } from '../../support/eventstoredb/silent-log.ts';
import { eventually } from '../../support/eventually.ts';

const foreignEvents = 300_000;
/** Ten times as slow as a real server, so that this many events take as long as three million. */
const searchesPerSecond = 27_000;
const operator = { correlationId: 'c', actor: 'test' };
const definition = {
  name: 'Hot',
  selector: {},
  severity: 'warning',
  notify: [],
  condition: { kind: 'range', above: 30 },
} as const;

describe('A start beside other programs in EventStoreDB', function () {
  this.timeout(60_000);
  let server: EventStoreDbDouble;
  let folder: string;
  let container: Container | undefined;

  beforeEach(async () => {
    server = await EventStoreDbDouble.start();
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-places-'));
    await start();
  });
  afterEach(async () => {
    await stop();
    await server.stop();
    await rm(folder, { recursive: true });
  });

  async function start(): Promise<void> {
    const config = configFrom({ DATA_DIR: folder, EVENTSTORE_URL: server.url });
    container = await openContainer(config, silentLog);
  }

  async function stop(): Promise<void> {
    const open = container;
    container = undefined;
    await open?.unbindAllAsync();
  }

  async function startAgain(): Promise<void> {
    await stop();
    await start();
  }

  const opened = (): Container => {
    assert.ok(container);
    return container;
  };

  async function create(id: string): Promise<void> {
    const [rules, hooks, queries] = await Promise.all([
      opened().getAsync(s.rules),
      opened().getAsync(s.hooks),
      opened().getAsync(s.liveQueries),
    ]);
    await rules.create(id, definition, operator);
    await hooks.create(id, { url: 'https://example.com/' }, operator);
    await queries.save(id, { events: 'readings' }, operator);
  }

  async function known() {
    const [rules, hooks, queries] = await Promise.all([
      opened().getAsync(s.rules),
      opened().getAsync(s.hooks),
      opened().getAsync(s.liveQueries),
    ]);
    return Promise.all([
      rules.list().then((all) => all.map(({ ruleId }) => ruleId)),
      hooks.list().then((all) => all.map(({ hookId }) => hookId)),
      queries.list().then((all) => all.map(({ name }) => name)),
    ]);
  }

  const each = (...ids: readonly string[]) => [ids, ids, ids];

  /** What readings are judged by, of any time. */
  async function versions() {
    const book = await opened().getAsync(s.ruleBook);
    await book.refreshNow();
    return [book.list(), book.endedBetween(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)];
  }

  const writeTheirs = (count: number) =>
    server.store.appendRun('orders-1', count, {
      type: 'OrderPlaced',
      contentType: 'application/json',
      data: Buffer.from('{}'),
      metadata: new Uint8Array(),
    });

  /** Resolves when the next start searches only what comes from now on. */
  async function remembered(): Promise<void> {
    const end = [...(await (await opened().getAsync(s.ruleSource)).ends()).values()][0];
    const db = await opened().getAsync(s.database);
    await eventually(async () =>
      assert.deepEqual(await db.rows('SELECT streams, up_to FROM event_places ORDER BY streams'), [
        ['hook-', end],
        ['liveQuery-', end],
        ['rule-', end],
      ]),
    );
  }

  /** How many events the server looked at until everything was known. */
  async function searchedFor(expected: readonly (readonly string[])[]): Promise<number> {
    const before = server.traffic.eventsConsidered;
    await eventually(async () => assert.deepEqual(await known(), expected));
    return server.traffic.eventsConsidered - before;
  }

  it('knows rules, hooks and live queries at once, and searches the log only where none did before', async () => {
    await create('one');
    writeTheirs(foreignEvents);
    assert.deepEqual(await known(), each('one'));
    await remembered();
    await startAgain();
    server.faults.searchesPerSecond = searchesPerSecond;
    const began = performance.now();
    const searched = await searchedFor(each('one'));
    const took = performance.now() - began;
    assert.ok(searched < 1_000, `${searched} events were searched`);
    assert.ok(took < 5_000, `it took ${took} ms`);
    await create('two');
    assert.deepEqual(await known(), each('one', 'two'));

    // The database is new, or has been deleted.
    await (await opened().getAsync(s.database)).run('DELETE FROM event_places');
    await startAgain();
    server.faults.searchesPerSecond = Number.POSITIVE_INFINITY;
    assert.ok((await searchedFor(each('one', 'two'))) >= foreignEvents);
  });

  it('knows what the log has when it was put back to an earlier copy and has grown since', async () => {
    await create('kept');
    const copy = server.store.copy();
    await create('lost');
    assert.deepEqual(await known(), each('kept', 'lost'));
    await remembered();
    await stop();
    await server.putBack(copy);
    await start();
    await create('new');
    writeTheirs(2_000);
    await searchedFor(each('kept', 'new'));
    await remembered();
    await startAgain();
    assert.ok((await searchedFor(each('kept', 'new'))) < 1_000);
  });

  it('is right as well where the log was put back while the process ran', async () => {
    await create('kept');
    const copy = server.store.copy();
    await create('lost');
    assert.deepEqual(await known(), each('kept', 'lost'));
    await server.putBack(copy);
    await eventually(() => create('new'));
    await searchedFor(each('kept', 'new'));
    writeTheirs(2_000);
    await remembered();
    await startAgain();
    assert.ok((await searchedFor(each('kept', 'new'))) < 1_000);
  });

  it('judges as before by rules that somebody deleted in the store, before it and meanwhile', async () => {
    for (const id of ['kept', 'soft', 'tomb', 'later']) await create(id);
    server.store.softDelete('rule-soft', 'any');
    server.store.tombstone('rule-tomb', 'any');
    writeTheirs(2_000);
    await eventually(async () => assert.deepEqual((await known())[0], ['kept', 'later']));
    await remembered();
    await stop();
    server.store.softDelete('rule-later', 'any');
    await start();
    await eventually(async () => assert.deepEqual((await known())[0], ['kept']));
    const byPlaces = await versions();
    await (await opened().getAsync(s.database)).run('DELETE FROM event_places');
    await startAgain();
    assert.deepEqual(await versions(), byPlaces);
  });

  it('searches the log where a scavenge took events out of it', async () => {
    await create('kept');
    await create('lost');
    const rules = await opened().getAsync(s.rules);
    await rules.change('lost', { name: 'Hotter' }, operator);
    writeTheirs(2_000);
    assert.deepEqual(await known(), each('kept', 'lost'));
    await remembered();
    await stop();
    for (const kind of ['rule', 'hook', 'liveQuery']) server.store.softDelete(`${kind}-lost`, 'any');
    // It leaves the last event of a stream.
    server.store.scavenge();
    await start();
    assert.ok((await searchedFor(each('kept'))) >= 2_000);
    await remembered();
    await startAgain();
    assert.ok((await searchedFor(each('kept'))) < 1_000);
  });
});
