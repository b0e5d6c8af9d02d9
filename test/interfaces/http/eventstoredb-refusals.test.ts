import assert from 'node:assert/strict';
import { checkedClient } from '../../support/checked-client.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { type HttpClient, problemOf } from '../../support/http-client.ts';
import { type ServedFolder, servedFolder } from '../../support/served.ts';

const device = (deviceId: string) => ({ deviceId, name: deviceId, type: 'test' });

describe('What EventStoreDB refuses, over HTTP', function () {
  this.timeout(60_000);
  let server: EventStoreDbDouble;
  let served: ServedFolder | undefined;
  let call: HttpClient;

  beforeEach(async () => {
    server = await EventStoreDbDouble.start();
    served = await servedFolder({ EVENTSTORE_URL: server.url, LOG_LEVEL: 'silent' });
    call = await checkedClient(served.url);
  });
  afterEach(async () => {
    await served?.close();
    served = undefined;
    await server.stop();
  });

  it('is 410 for a device whose stream was deleted for good, and holds up no readings of others', async () => {
    for (const id of ['a', 'b'])
      assert.equal((await call('POST', '/api/v1/devices', { json: device(id) })).status, 201);
    server.store.tombstone('device-a', 'any');
    for (const answer of [
      await call('GET', '/api/v1/devices/a'),
      await call('GET', '/api/v1/devices/a?at=0'),
      await call('PATCH', '/api/v1/devices/a', { json: { name: 'A' } }),
      await call('POST', '/api/v1/devices/a/suspend', { json: { reason: 'r' } }),
      await call('POST', '/api/v1/devices/a/token'),
      await call('POST', '/api/v1/devices/a/erase', { json: { reason: 'r' } }),
      await call('POST', '/api/v1/devices', { json: device('a') }),
    ])
      assert.deepEqual(problemOf(answer), [410, 'device-stream-deleted'], answer.text);
    const bulk = await call('POST', '/api/v1/devices/bulk', { json: [device('a'), device('c')] });
    assert.deepEqual(
      bulk.json.outcomes.map(({ status }: { status: number }) => status),
      [410, 201],
    );
    const readings = ['a', 'b'].map((deviceId) => ({ deviceId, metrics: { n: 1 } }));
    const sent = await call('POST', '/api/v1/telemetry', { json: readings });
    assert.equal(sent.status, 202, sent.text);
    assert.deepEqual(
      sent.json.errors.map(({ index, type }: { index: number; type: string }) => [
        index,
        type.split('/').at(-1),
      ]),
      [[0, 'device-not-registered']],
    );
  });
});
