import assert from 'node:assert/strict';
import type { ProposedEvent, StoredEvent } from '../../support/eventstoredb/model/events.ts';
import { StoreModel, type StoreOptions } from '../../support/eventstoredb/model/store.ts';

const event = (id: string, size = 10): ProposedEvent => ({
  id,
  type: 'Something',
  contentType: 'application/json',
  data: new Uint8Array(size),
  metadata: new Uint8Array(),
});

const metadata = (json: object): ProposedEvent => ({
  ...event(JSON.stringify(json)),
  type: '$metadata',
  data: new TextEncoder().encode(JSON.stringify(json)),
});

/** The store behind the stand-in, without a server: what a simulation of the whole uses. */
describe('The EventStoreDB stand-in, its store', () => {
  let time = 1_000;
  let ids = 0;
  let store: StoreModel;
  const options: StoreOptions = {
    now: () => time,
    newId: () => {
      ids += 1;
      return `id-${ids}`;
    },
  };

  beforeEach(() => {
    [time, ids] = [1_000, 0];
    store = new StoreModel(options);
  });

  const read = (stream: string, read: Parameters<StoreModel['read']>[1] = {}) => {
    const found = store.read(stream, read);
    return typeof found === 'string' ? found : [...found].map(({ id }) => id);
  };
  const inLog = (): readonly StoredEvent[] => [...store.log.forwards(0)];
  const append = (stream: string, ...events: ProposedEvent[]) => store.append(stream, 'any', events);

  it('takes its time and its ids from its caller alone', () => {
    append('a', event('1'));
    store.softDelete('a', 'any');
    time = 2_000;
    append('a', event('2'));
    assert.deepEqual(
      inLog().map(({ id, createdAt }) => [id, createdAt]),
      [
        ['1', 1_000],
        ['id-1', 1_000],
        ['2', 2_000],
        ['id-2', 2_000],
      ],
    );
  });

  it('shows a node that is behind streams, metadata and deletions as they were', () => {
    append('a', event('1'), event('2'));
    append('$$a', metadata({ $tb: 1 }));
    time = 2_000;
    store.tombstone('a', 'any');
    assert.equal(store.log.countAt(999), 0);
    assert.equal(store.log.countAt(1_000), 3);
    assert.deepEqual(read('a', { count: 1 }), ['1']);
    assert.deepEqual(read('a', { count: 2 }), ['1', '2']);
    assert.deepEqual(read('a', { count: 3 }), ['2']);
    assert.equal(read('a', { count: 4 }), 'deleted');
    assert.equal(read('a', { count: 0 }), 'not-found');
  });

  it('drops in a scavenge what cannot be read any longer, and nothing else', () => {
    append('truncated', event('t1'), event('t2'), event('t3'));
    append('$$truncated', metadata({ $tb: 1 }));
    append('$$truncated', metadata({ $tb: 2 }));
    append('counted', event('c1'), event('c2'));
    append('$$counted', metadata({ $maxCount: 1 }));
    append('ended', event('e1'));
    append('$$ended', metadata({}));
    store.tombstone('ended', 'any');
    append('other', event('o1'));
    const before = inLog();
    store.scavenge();
    const after = inLog();
    assert.deepEqual(
      after.map(({ stream, revision }) => `${stream} ${revision}`),
      ['truncated 2', '$$truncated 1', 'counted 1', '$$counted 0', 'ended 9223372036854775807', 'other 0'],
    );
    for (const { id, position, number } of after)
      assert.deepEqual(
        before.filter((stored) => stored.number === number).map((stored) => [stored.id, stored.position]),
        [[id, position]],
      );
    assert.deepEqual(read('truncated'), ['t3']);
    // Positions of what is gone are still good to begin at.
    const [first] = before as [StoredEvent];
    assert.equal(store.log.place(first.position), 'boundary');
    assert.equal(store.log.at(store.log.numberAfter(first.position))?.id, 't3');
    assert.deepEqual(append('truncated', event('t4')), {
      revision: 3n,
      position: inLog().at(-1)?.position,
    });
  });

  it('gives positions out again when it was put back', () => {
    append('a', event('1'));
    const copy = store.copy();
    const lost = [append('a', event('2')), append('b', event('3', 500))];
    store.putBack(copy);
    assert.deepEqual(read('a'), ['1']);
    assert.equal(read('b'), 'not-found');
    const again = append('a', event('4', 7_000));
    assert.deepEqual(again, lost[0]);
    const [, beyond] = lost as [unknown, { position: StoredEvent['position'] }];
    assert.equal(store.log.place(beyond.position), 'inside');
  });

  it('makes the events of a run when they are read', () => {
    append('a', event('1'));
    store.appendRun('orders', 1_000_000, event(''));
    append('a', event('2'));
    append('orders', event('3'));
    assert.equal(store.log.count, 1_000_003);
    assert.deepEqual(read('a'), ['1', '2']);
    const [last, before] = [
      ...(store.read('orders', { from: 999_999n }) as Iterable<StoredEvent>),
    ].toReversed();
    assert.deepEqual([last?.revision, before?.revision, before?.number], [1_000_000n, 999_999n, 1_000_000]);
    const middle = store.log.at(500_000) as StoredEvent;
    assert.deepEqual([middle.stream, middle.revision], ['orders', 499_999n]);
    assert.equal(store.log.numberAfter(middle.position), 500_001);
    assert.equal(store.log.numberAfter(middle.position, 'including'), 500_000);
    assert.equal(store.log.place(middle.position), 'boundary');
    assert.equal(store.log.place({ ...middle.position, commit: middle.position.commit + 1n }), 'inside');
    const [backwards] = store.log.backwards(1_000_001);
    assert.equal(backwards?.number, 1_000_000);
  });
});
