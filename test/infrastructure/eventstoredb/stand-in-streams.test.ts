import assert from 'node:assert/strict';
import {
  ANY,
  BACKWARDS,
  binaryEvent,
  type EventStoreDBClient,
  jsonEvent,
  NO_STREAM,
  StreamDeletedError,
  StreamNotFoundError,
  WrongExpectedVersionError,
} from '@eventstore/db-client';
import { newStream } from '../../contracts/event-store.contract.ts';
import { bareClients, eventsOf, failureOf, someEvent } from '../../support/eventstoredb/bare-clients.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { eventually } from '../../support/eventually.ts';
import { failOnUnhandledRejections } from '../../support/unhandled-rejections.ts';

const deletedRevision = 9223372036854775807n;

/** What EventStoreDB 23.10.6 was seen to answer, asked of the tests' stand-in with the client's own package. */
describe('The EventStoreDB stand-in, streams', () => {
  let server: EventStoreDbDouble;
  let client: EventStoreDBClient;
  let stream: string;
  const open = bareClients();
  failOnUnhandledRejections();

  before(async () => {
    server = await EventStoreDbDouble.start();
  });
  after(() => server.stop());
  beforeEach(() => {
    client = open(server.url);
    stream = newStream();
  });

  const append = (
    events: ReturnType<typeof someEvent>[],
    expectedRevision: bigint | typeof ANY | typeof NO_STREAM,
  ) => client.appendToStream(stream, events, { expectedRevision });
  const write = (count: number) =>
    append(
      Array.from({ length: count }, (_, n) => someEvent({ n })),
      ANY,
    );
  const revisions = async (options = {}) =>
    (await eventsOf(client.readStream(stream, options))).map(({ revision }) => revision);

  describe('without deletion', () => {
    it('fails a read of a stream that never was as stream-not-found, without a code', async () => {
      const { error, type, code } = await failureOf(revisions());
      assert.ok(error instanceof StreamNotFoundError);
      assert.deepEqual([type, code], ['stream-not-found', undefined]);
    });

    for (const appends of [undefined, 'batch'] as const)
      it(`answers an append where the stream is elsewhere with its revision, ${appends ?? 'one call each'}`, async () => {
        client = open(server.url, appends);
        await write(3);
        for (const expected of [NO_STREAM, 0n, 7n] as const) {
          const { error, type, code } = await failureOf(append([someEvent()], expected));
          assert.ok(error instanceof WrongExpectedVersionError);
          assert.deepEqual([type, code, error.actualVersion], ['wrong-expected-version', undefined, 2n]);
        }
      });

    it('takes the same id at the same revision for the same append, with the first position', async () => {
      await write(1);
      const events = [someEvent(), someEvent()];
      const first = await append(events, 0n);
      await write(1);
      assert.deepEqual(await append(events, 0n), first);
      assert.equal(first.nextExpectedRevision, 2n);
      assert.deepEqual(await revisions(), [0n, 1n, 2n, 3n]);
    });

    it('stores the same id again at the next revision', async () => {
      const event = someEvent();
      await append([event], NO_STREAM);
      assert.equal((await append([event], 0n)).nextExpectedRevision, 1n);
      assert.deepEqual(
        (await eventsOf(client.readStream(stream))).map(({ id }) => id),
        [event.id, event.id],
      );
    });

    it('takes the same id at any revision for the same append, with the first position', async () => {
      const event = someEvent();
      const first = await append([event], ANY);
      await write(2);
      assert.deepEqual(await append([event], ANY), first);
      assert.deepEqual(await revisions(), [0n, 1n, 2n]);
    });

    it('refuses a stored event together with a new one', async () => {
      const event = someEvent();
      await append([event], NO_STREAM);
      for (const expected of [NO_STREAM, ANY] as const) {
        const { type } = await failureOf(append([event, someEvent()], expected));
        assert.equal(type, 'wrong-expected-version');
      }
      assert.deepEqual(await revisions(), [0n]);
    });

    it('refuses an append of more than 1 MiB, and says the limit', async () => {
      const half = () => someEvent({ text: 'x'.repeat(540_000) });
      await append([half()], NO_STREAM);
      const { type, code, trailers } = await failureOf(append([half(), half()], 0n));
      assert.deepEqual([type, code], ['maximum-append-size-exceeded', 3]);
      assert.equal(trailers.exception, 'maximum-append-size-exceeded');
      assert.equal(trailers['maximum-append-size'], '1048576');
      assert.deepEqual(await revisions(), [0n]);
    });

    it('refuses a message of more than 16 MiB by its transport', async () => {
      const { type, code } = await failureOf(
        append([someEvent({ text: 'x'.repeat(17 * 1024 * 1024) })], NO_STREAM),
      );
      assert.deepEqual([type, code], ['unknown', 8]);
    });

    it('stores what other programs write into a stream, whatever it is', async () => {
      const events = [
        jsonEvent({ type: 'NeverHeardOf', data: { a: 1 } }),
        binaryEvent({ type: 'DeviceRegistered', data: Buffer.from('not JSON') }),
        jsonEvent({ type: 'DeviceRegistered', data: ['of', 'another', 'shape'], metadata: [1] as never }),
      ];
      await client.appendToStream(stream, events);
      assert.deepEqual(
        (await eventsOf(client.readStream(stream))).map(({ type, isJson }) => [type, isJson]),
        [
          ['NeverHeardOf', true],
          ['DeviceRegistered', false],
          ['DeviceRegistered', true],
        ],
      );
    });
  });

  describe('with metadata', () => {
    it('reads from the first revision that is not truncated', async () => {
      await write(4);
      await client.setStreamMetadata(stream, { truncateBefore: 2 });
      assert.deepEqual(await revisions(), [2n, 3n]);
      assert.deepEqual(await revisions({ fromRevision: 0n, maxCount: 1 }), [2n]);
      assert.deepEqual(await revisions({ direction: BACKWARDS, fromRevision: 'end' }), [3n, 2n]);
    });

    it('reads nothing, and does not fail, when truncated beyond its end', async () => {
      await write(3);
      await client.setStreamMetadata(stream, { truncateBefore: 10 });
      assert.deepEqual(await revisions(), []);
      assert.equal((await append([someEvent()], 2n)).nextExpectedRevision, 3n);
      assert.deepEqual(await revisions(), []);
    });

    it('reads the newest events up to $maxCount', async () => {
      await write(3);
      await client.setStreamMetadata(stream, { maxCount: 1 });
      assert.deepEqual(await revisions(), [2n]);
      await write(1);
      assert.deepEqual(await revisions(), [3n]);
    });

    it('reads no events older than $maxAge', async () => {
      await write(2);
      await client.setStreamMetadata(stream, { maxAge: 3600 });
      assert.deepEqual(await revisions(), [0n, 1n]);
      await client.setStreamMetadata(stream, { maxAge: 0 });
      await eventually(async () => assert.deepEqual(await revisions(), []));
    });

    it('replaces all of it, and checks its expected revision', async () => {
      await write(1);
      const acl = { readRoles: ['a'] } as never;
      await client.setStreamMetadata(stream, { acl, maxAge: 60, owner: 'ops' } as never, {
        expectedRevision: NO_STREAM,
      });
      const { type } = await failureOf(
        client.setStreamMetadata(stream, { maxCount: 9 }, { expectedRevision: NO_STREAM }),
      );
      assert.equal(type, 'wrong-expected-version');
      await client.setStreamMetadata(stream, { truncateBefore: 1 }, { expectedRevision: 0n });
      assert.deepEqual((await client.getStreamMetadata(stream)).metadata, { truncateBefore: 1 });
      // A metastream keeps its newest event alone.
      assert.deepEqual(
        (await eventsOf(client.readStream(`$$${stream}`))).map(({ type, revision }) => [type, revision]),
        [['$metadata', 1n]],
      );
    });
  });

  describe('soft-deleted', () => {
    beforeEach(async () => {
      await write(3);
      await client.setStreamMetadata(stream, { maxAge: 60 });
      await client.deleteStream(stream, { expectedRevision: 2n });
    });

    it('fails reads as stream-not-found, and has the largest number as its first revision', async () => {
      assert.equal((await failureOf(revisions())).type, 'stream-not-found');
      const { metadata } = await client.getStreamMetadata(stream);
      assert.deepEqual(metadata, { truncateBefore: Number(deletedRevision) });
    });

    for (const expected of [NO_STREAM, ANY, 2n] as const)
      it(`continues with the next revision after an append that expects ${expected}`, async () => {
        assert.equal((await append([someEvent(), someEvent()], expected)).nextExpectedRevision, 4n);
        assert.deepEqual(await revisions(), [3n, 4n]);
        assert.deepEqual((await client.getStreamMetadata(stream)).metadata, { truncateBefore: 3 });
      });

    it('takes no append at another revision', async () => {
      assert.equal((await failureOf(append([someEvent()], 0n))).type, 'wrong-expected-version');
      assert.equal((await failureOf(revisions())).type, 'stream-not-found');
    });

    it('begins anew when its metadata is set', async () => {
      await client.setStreamMetadata(stream, { maxCount: 5 });
      const { metadata } = await client.getStreamMetadata(stream);
      assert.deepEqual(metadata, { truncateBefore: 3, maxCount: 5 });
      assert.deepEqual(await revisions(), []);
    });
  });

  it('refuses to delete a stream that is elsewhere or never was', async () => {
    const { type, code, trailers } = await failureOf(client.deleteStream(stream));
    assert.deepEqual([type, code, trailers['stream-name']], ['wrong-expected-version', 9, stream]);
    await write(2);
    const { error } = await failureOf(client.tombstoneStream(stream, { expectedRevision: 0n }));
    assert.ok(error instanceof WrongExpectedVersionError);
    assert.equal(error.actualVersion, 1n);
  });

  describe('with a tombstone', () => {
    beforeEach(async () => {
      await write(2);
      await client.setStreamMetadata(stream, { maxAge: 60 });
      await client.tombstoneStream(stream);
    });

    it('fails reads as stream-deleted', async () => {
      const { error, type, code, trailers } = await failureOf(revisions());
      assert.ok(error instanceof StreamDeletedError);
      assert.deepEqual([type, code], ['stream-deleted', 9]);
      assert.deepEqual([trailers.exception, trailers['stream-name']], ['stream-deleted', stream]);
    });

    it('takes neither appends nor metadata', async () => {
      for (const expected of [NO_STREAM, ANY, 1n] as const) {
        const { type, code, trailers } = await failureOf(append([someEvent()], expected));
        assert.deepEqual([type, code, trailers['stream-name']], ['stream-deleted', 9, stream]);
      }
      const { type, code, trailers } = await failureOf(client.setStreamMetadata(stream, {}));
      assert.deepEqual([type, code, trailers['stream-name']], ['stream-deleted', 9, `$$${stream}`]);
    });

    it('fails batch appends without a code or a message', async () => {
      client = open(server.url, 'batch');
      const { type, code, message } = await failureOf(append([someEvent()], ANY));
      assert.deepEqual([type, code, message], ['stream-deleted', undefined, '']);
    });

    it('has an event of its own in $all, at the largest revision', async () => {
      const ours = (await eventsOf(client.readAll())).filter(({ streamId }) => streamId.endsWith(stream));
      assert.deepEqual(
        ours.map(({ streamId, type, revision }) => [streamId, type, revision]),
        [
          [stream, 'Something', 0n],
          [stream, 'Something', 1n],
          [`$$${stream}`, '$metadata', 0n],
          [stream, '$streamDeleted', deletedRevision],
        ],
      );
    });
  });
});
