import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { exactly } from '../../../application/ports/event-source.ts';
import type { NewEvent, RecordedEvent } from '../../../application/ports/event-store.ts';
import { sqliteEventSource } from '../../../infrastructure/sqlite/event-source.ts';
import { SqliteEventStore } from '../../../infrastructure/sqlite/event-store.ts';

const newEvent = (id: string): NewEvent => ({
  id,
  type: 'Happened',
  data: {},
  metadata: {
    $correlationId: 'c',
    $causationId: 'c',
    actor: 'test',
    recordedAt: '2026-01-01T00:00:00.000Z',
    schemaVersion: 1,
  },
});

describe('SqliteSource beside streams of other kinds', () => {
  let folder: string;
  let file: string;
  let store: SqliteEventStore;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-streams-'));
    file = path.join(folder, 'events.db');
    store = new SqliteEventStore(file);
    await store.append('device-1', [newEvent('d1')], 'none');
    await store.append('rule-1', [newEvent('r1'), newEvent('r2')], 'none');
    await store.append('device-2', [newEvent('d2')], 'none');
    await store.append('alarm-1', [newEvent('a1')], 'none');
  });

  afterEach(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });

  /** The ids of all events of streams that begin with `prefix`, read by a consumer that checks what it is given. */
  async function idsOf(prefix?: string): Promise<readonly string[]> {
    const source = sqliteEventSource(file, prefix === undefined ? {} : { prefix });
    const stopped = new AbortController();
    const end = (await source.ends()).get(0);
    const ids: string[] = [];
    let at: string | null = null;
    await source.run(
      {
        checkpoint: async () => at,
        consume: async ({ after, events }: { after: string | null; events: readonly RecordedEvent[] }) => {
          assert.equal(after, at);
          ids.push(...events.map(({ id }) => id));
          at = events.at(-1)?.position ?? null;
          if (at === end) stopped.abort();
        },
      },
      { group: 'test', signal: stopped.signal },
    );
    await source.close();
    return ids;
  }

  it('gives the events of one kind of stream, in order and without a gap', async () => {
    assert.deepEqual(await idsOf(), ['d1', 'd2']);
    assert.deepEqual(await idsOf('rule-'), ['r1', 'r2']);
    assert.deepEqual(await idsOf('alarm-'), ['a1']);
  });

  it('ends with the last event of its kind, also when others follow', async () => {
    const source = sqliteEventSource(file);
    assert.deepEqual([...(await source.ends())], [[0, '4']]);
    await store.append('alarm-1', [newEvent('a2')], 0);
    assert.deepEqual([...(await source.ends())], [[0, '4']]);
    await store.append('device-1', [newEvent('d3')], 0);
    assert.deepEqual([...(await source.ends())], [[0, '7']]);
    await source.close();
  });

  it('counts the events of its kind alone', async () => {
    const source = sqliteEventSource(file);
    assert.deepEqual(await source.countAfter(0, null), exactly(2));
    assert.deepEqual(await source.countAfter(0, '1'), exactly(1));
    assert.deepEqual(await source.countAfter(0, '4'), exactly(0));
    await source.close();
  });
});
