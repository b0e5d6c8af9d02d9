import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { comparePositions } from '../../application/ports/event-source.ts';
import {
  type EventEraser,
  type EventStore,
  type NewEvent,
  type RecordedEvent,
  RevisionConflict,
} from '../../application/ports/event-store.ts';
import { deviceStream } from '../../domain/device.ts';
import type { Opened } from './opened.ts';

/** A new event with an id of its own. */
export function newEvent(data: unknown = { name: 'Boiler' }): NewEvent {
  return {
    id: randomUUID(),
    type: 'DeviceDetailsChanged',
    data,
    metadata: {
      $correlationId: randomUUID(),
      $causationId: randomUUID(),
      actor: 'contract',
      recordedAt: '2026-01-01T00:00:00.000Z',
      schemaVersion: 1,
    },
  };
}

/** A stream of its own; the prefix is what every source of device events looks for. */
export const newStream = (): string => deviceStream(`contract-${randomUUID()}`);

/** What every EventStore must do, and do when it is to forget. */
export function eventStoreContract(
  adapter: string,
  open: () => Promise<Opened<{ readonly store: EventStore & EventEraser }>>,
): void {
  describe(`${adapter} honours EventStore`, function () {
    this.timeout(60_000);
    let opened: Opened<{ readonly store: EventStore & EventEraser }>;
    let store: EventStore & EventEraser;
    let stream: string;

    before(async () => {
      opened = await open();
      store = opened.store;
    });
    beforeEach(() => {
      stream = newStream();
    });
    after(() => opened?.close());

    const ids = (events: readonly NewEvent[]) => events.map(({ id }) => id);
    const idsIn = async (name: string) => ids(await store.read(name));
    const refused = (append: Promise<unknown>) =>
      assert.rejects(
        append,
        (error) =>
          error instanceof RevisionConflict && error.stream === stream && error.message.includes(stream),
      );

    it('reads a missing stream as empty', async () => {
      assert.deepEqual(await store.read(stream), []);
    });

    it('answers an append with the events as they are read later', async () => {
      const events = [newEvent(), newEvent(), newEvent()];
      const answer = await store.append(stream, events, 'none');
      assert.deepEqual(ids(answer), ids(events));
      assert.deepEqual(await store.read(stream), answer);
    });

    it('answers an append of unused ids with the events as they are read later', async () => {
      const answers = [
        await store.append(stream, [newEvent()], 'none', 'unused'),
        await store.append(stream, [newEvent()], 0, 'unused'),
        await store.append(stream, [newEvent(), newEvent()], 1, 'unused'),
      ];
      assert.deepEqual(await store.read(stream), answers.flat());
      await refused(store.append(stream, [newEvent()], 'none', 'unused'));
    });

    it('counts revisions from 0 and keeps the order of appends', async () => {
      const [a, b, c] = [newEvent(), newEvent(), newEvent()];
      await store.append(stream, [a], 'none');
      await store.append(stream, [b, c], 0);
      const read = await store.read(stream);
      assert.deepEqual(
        read.map(({ id, revision, stream }) => ({ id, revision, stream })),
        [a, b, c].map(({ id }, revision) => ({ id, revision, stream })),
      );
    });

    it('gives positions that grow within a stream and from one append to the next', async () => {
      const first = await store.append(stream, [newEvent(), newEvent()], 'none');
      const other = await store.append(newStream(), [newEvent()], 'none');
      const last = await store.append(stream, [newEvent()], 1);
      const inOrder = [...first, ...other, ...last];
      inOrder.slice(1).forEach(({ position }, i) => {
        assert.ok(comparePositions((inOrder[i] as RecordedEvent).position, position) < 0);
      });
      assert.deepEqual(await store.read(stream), [...first, ...last]);
    });

    it('keeps type, data and metadata as they were', async () => {
      const event: NewEvent = {
        ...newEvent({
          text: 'Zürich — 温度 🌡️ \u0000 " \\ \n  ',
          nested: { list: [1, null, true, 0.1, -1e-7, { deep: [] }], empty: {} },
        }),
        type: 'Größe.geändert',
      };
      const traced = {
        ...event.metadata,
        actor: 'Ωperator',
        commandDigest: 'a'.repeat(64),
        traceparent: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`,
      };
      const [stored] = await store.append(stream, [{ ...event, metadata: traced }], 'none');
      const expected = { ...event, metadata: traced, stream, revision: 0, position: stored?.position };
      assert.deepEqual(await store.read(stream), [expected]);
    });

    it('keeps an event of several hundred kilobytes', async () => {
      const data = { text: 'ä€😀'.repeat(40_000) };
      await store.append(stream, [newEvent(data)], 'none');
      assert.deepEqual((await store.read(stream))[0]?.data, data);
    });

    it('reads a long stream whole', async () => {
      const events = Array.from({ length: 700 }, (_, n) => newEvent({ n }));
      await store.append(stream, events.slice(0, 350), 'none');
      await store.append(stream, events.slice(350), 349);
      assert.deepEqual(await idsIn(stream), ids(events));
    });

    it('refuses an append when the stream is elsewhere, and changes nothing', async () => {
      await refused(store.append(stream, [newEvent()], 0));
      const events = [newEvent(), newEvent()];
      await store.append(stream, events, 'none');
      await refused(store.append(stream, [newEvent(), newEvent()], 'none'));
      await refused(store.append(stream, [newEvent(), newEvent()], 0));
      await refused(store.append(stream, [newEvent()], 2));
      assert.deepEqual(await idsIn(stream), ids(events));
    });

    it('answers the same to the same append again, and stores nothing twice', async () => {
      const [first, second] = [[newEvent(), newEvent()], [newEvent()]];
      const answers = [await store.append(stream, first, 'none'), await store.append(stream, second, 1)];
      assert.deepEqual(await store.append(stream, second, 1), answers[1]);
      assert.deepEqual(await store.append(stream, first, 'none'), answers[0]);
      assert.deepEqual(await store.read(stream), answers.flat());
    });

    it('refuses to repeat an append together with events it did not have', async () => {
      const known = newEvent();
      await store.append(stream, [known], 'none');
      await refused(store.append(stream, [known, newEvent()], 'none'));
      assert.deepEqual(await idsIn(stream), [known.id]);
    });

    it('stores none of the events when one cannot be stored', async () => {
      await assert.rejects(store.append(stream, [newEvent(), newEvent({ n: 1n })], 'none'));
      assert.deepEqual(await store.read(stream), []);
    });

    it('lets exactly one of many concurrent appends to a stream win', async () => {
      const candidates = Array.from({ length: 12 }, () => [newEvent(), newEvent()]);
      const outcomes = await Promise.allSettled(
        candidates.map((events) => store.append(stream, events, 'none')),
      );
      const winners = outcomes.flatMap((outcome, i) => (outcome.status === 'fulfilled' ? [i] : []));
      assert.equal(winners.length, 1);
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') assert.ok(outcome.reason instanceof RevisionConflict);
      assert.deepEqual(await idsIn(stream), ids(candidates[winners[0] as number] as NewEvent[]));
    });

    it('answers the same append made several times at once alike', async () => {
      const events = [newEvent(), newEvent()];
      const answers = await Promise.all([1, 2, 3, 4].map(() => store.append(stream, events, 'none')));
      for (const answer of answers) assert.deepEqual(answer, answers[0]);
      assert.deepEqual(await store.read(stream), answers[0]);
    });

    it('takes concurrent appends to many streams, whatever becomes of one of them', async () => {
      await store.append(stream, [newEvent()], 'none');
      const streams = Array.from({ length: 50 }, newStream);
      const conflict = refused(store.append(stream, [newEvent()], 'none'));
      const answers = await Promise.all(streams.map((name) => store.append(name, [newEvent()], 'none')));
      await conflict;
      for (const [i, name] of streams.entries()) assert.deepEqual(await store.read(name), answers[i]);
    });

    it('leaves nothing personal of events before a revision, and the others as they are', async () => {
      const personal = { deviceId: 'd', name: 'Ada', labels: { owner: 'Ada' }, reason: 'Ada is away' };
      const mine = newEvent(personal);
      const events = [{ ...mine, metadata: { ...mine.metadata, actor: 'Ada' } }, newEvent(personal)];
      const other = newStream();
      const untouched = await store.append(other, events, 'none');
      const kept = (await store.append(stream, [...events, newEvent(personal), newEvent()], 'none')).slice(2);
      for (let times = 0; times < 2; times += 1) {
        await store.eraseBefore(stream, 2);
        const left = await store.read(stream);
        assert.deepEqual(left.slice(-2), kept);
        assert.doesNotMatch(JSON.stringify(left.slice(0, -2)), /Ada/);
      }
      assert.deepEqual(await store.read(other), untouched);
      const [next] = await store.append(stream, [newEvent()], 3);
      assert.equal(next?.revision, 4);
    });

    it('keeps what it acknowledged, and knows it again, when opened anew', async function () {
      if (!opened.reopen) return this.skip();
      const events = [newEvent(), newEvent()];
      const answer = await store.append(stream, events, 'none');
      store = (await opened.reopen()).store;
      assert.deepEqual(await store.read(stream), answer);
      assert.deepEqual(await store.append(stream, events, 'none'), answer);
      const [next] = await store.append(stream, [newEvent()], 1);
      assert.equal(next?.revision, 2);
      assert.ok(comparePositions(answer.at(-1)?.position ?? null, next.position) < 0);
    });
  });
}
