import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { EventStoreDbConnection } from '../../../infrastructure/eventstoredb/connection.ts';
import { EventStoreDbEventStore } from '../../../infrastructure/eventstoredb/event-store.ts';
import { newEvent, newStream } from '../../contracts/event-store.contract.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import type { ProposedEvent } from '../../support/eventstoredb/model/events.ts';
import { eventually } from '../../support/eventually.ts';
import { failOnUnhandledRejections } from '../../support/unhandled-rejections.ts';

const metadataEvent = (data: string): ProposedEvent => ({
  id: randomUUID(),
  type: '$metadata',
  contentType: 'application/json',
  data: Buffer.from(data),
  metadata: new Uint8Array(),
});

describe('Erasing from a stream of EventStoreDB', () => {
  let server: EventStoreDbDouble;
  let connection: EventStoreDbConnection;
  let store: EventStoreDbEventStore;
  let stream: string;
  failOnUnhandledRejections();

  beforeEach(async () => {
    server = await EventStoreDbDouble.start();
    connection = new EventStoreDbConnection(server.url, { deadlineMs: 300, longestPauseMs: 20 });
    store = new EventStoreDbEventStore(connection);
    stream = newStream();
    await store.append(stream, [newEvent(), newEvent(), newEvent()], 'none');
  });
  afterEach(async () => {
    await connection.close();
    await server.stop();
  });

  const setMetadata = (json: string) => server.store.append(`$$${stream}`, 'any', [metadataEvent(json)]);
  const versions = () => server.store.stored(`$$${stream}`) ?? [];
  const metadata = () => JSON.parse(String(Buffer.from(versions().at(-1)?.data ?? [])));
  const revisions = async () => (await store.read(stream)).map(({ revision }) => revision);

  it('sets the first revision of a stream without metadata', async () => {
    await store.eraseBefore(stream, 2);
    assert.deepEqual(metadata(), { $tb: 2 });
    assert.deepEqual(await revisions(), [2]);
  });

  it('keeps everything else that the metadata says', async () => {
    const rest = {
      $acl: { $r: ['$admins', 'fieldlog'], $w: 'fieldlog' },
      $maxAge: 3600,
      owner: { team: 'ops' },
    };
    setMetadata(JSON.stringify(rest));
    await store.eraseBefore(stream, 2);
    assert.deepEqual(metadata(), { ...rest, $tb: 2 });
    assert.deepEqual(await revisions(), [2]);
  });

  it('keeps what somebody else sets at the same moment', async () => {
    setMetadata('{"owner":"a"}');
    const append = server.store.append.bind(server.store);
    server.store.append = (...parameters) => {
      server.store.append = append;
      setMetadata('{"owner":"b","$maxCount":100}');
      return append(...parameters);
    };
    await store.eraseBefore(stream, 2);
    assert.deepEqual(metadata(), { owner: 'b', $maxCount: 100, $tb: 2 });
    assert.equal(versions().length, 3);
  });

  it('sets it once, though the answer is lost', async () => {
    server.faults.forgetful = true;
    const erasing = store.eraseBefore(stream, 2);
    await eventually(() => assert.equal(versions().length, 1));
    server.faults.forgetful = false;
    await erasing;
    assert.equal(versions().length, 1);
  });

  it('brings back nothing that was truncated already', async () => {
    for (const before of ['{"$tb":3}', '{"$tb":9223372036854775807}', '{"$tb":2}']) {
      setMetadata(before);
      const { length } = versions();
      await store.eraseBefore(stream, 2);
      assert.equal(versions().length, length);
    }
  });

  it('takes what is no metadata for none', async () => {
    for (const broken of ['[1', '"text"', 'null']) {
      setMetadata(broken);
      await store.eraseBefore(stream, 2);
      assert.deepEqual(metadata(), { $tb: 2 });
    }
  });
});
