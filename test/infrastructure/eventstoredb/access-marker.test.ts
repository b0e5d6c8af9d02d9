import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { AccessMarker } from '../../../application/ports/api-keys.ts';
import { eventStoreDbAccessMarker } from '../../../infrastructure/eventstoredb/access-marker.ts';
import { EventStoreDbConnection } from '../../../infrastructure/eventstoredb/connection.ts';
import { EventStoreDbEventStore } from '../../../infrastructure/eventstoredb/event-store.ts';
import { uuidIds } from '../../../infrastructure/identity.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';

const stream = 'fieldlog-access';

describe('The mark of closed access in EventStoreDB', () => {
  let server: EventStoreDbDouble;
  let connection: EventStoreDbConnection;
  let marker: AccessMarker;

  beforeEach(async () => {
    server = await EventStoreDbDouble.start();
    connection = new EventStoreDbConnection(server.url);
    marker = eventStoreDbAccessMarker(new EventStoreDbEventStore(connection), uuidIds, { now: Date.now });
    await marker.closeAccess();
    await marker.recordRevoked(['a']);
  });
  afterEach(async () => {
    await connection.close();
    await server.stop();
  });

  const setMetadata = (json: object) =>
    server.store.append(`$$${stream}`, 'any', [
      {
        id: randomUUID(),
        type: '$metadata',
        contentType: 'application/json',
        data: Buffer.from(JSON.stringify(json)),
        metadata: new Uint8Array(),
      },
    ]);

  for (const [how, lose] of [
    ['deleted for good', () => server.store.tombstone(stream, 'any')],
    ['hidden whole', () => setMetadata({ $tb: 100 })],
  ] as const)
    it(`stays when its stream is ${how}, and keys can still be made and revoked`, async () => {
      lose();
      assert.equal(await marker.isAccessClosed(), true);
      await marker.closeAccess();
      await marker.recordRevoked(['b']);
      assert.deepEqual([...(await marker.revokedNames())], []);
    });

  it('takes revocations where the first events are hidden', async () => {
    setMetadata({ $maxCount: 1 });
    await marker.recordRevoked(['b']);
    assert.deepEqual([...(await marker.revokedNames())], ['b']);
  });
});
