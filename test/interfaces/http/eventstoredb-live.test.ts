import assert from 'node:assert/strict';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { eventually } from '../../support/eventually.ts';
import { httpClient, problemOf } from '../../support/http-client.ts';
import { type LiveClient, liveClient } from '../../support/live-client.ts';
import { type ServedFolder, servedFolder } from '../../support/served.ts';

describe('Live streams on an EventStoreDB that is put back to an earlier copy', function () {
  this.timeout(120_000);
  let server: EventStoreDbDouble;
  let served: ServedFolder;
  const open: LiveClient[] = [];

  beforeEach(async () => {
    server = await EventStoreDbDouble.start();
    served = await servedFolder({ EVENTSTORE_URL: server.url });
  });
  afterEach(async () => {
    for (const client of open.splice(0)) await client.cut();
    await served.close();
    await server.stop();
  });

  async function register(...deviceIds: readonly string[]): Promise<void> {
    const call = httpClient(served.url);
    for (const deviceId of deviceIds)
      await eventually(
        async () => {
          const json = { deviceId, name: `the name of ${deviceId}`, type: 'test' };
          assert.equal((await call('POST', '/api/v1/devices', { json })).status, 201);
        },
        { within: 30_000, every: 200 },
      );
  }

  async function follow(headers: Readonly<Record<string, string>> = {}): Promise<LiveClient> {
    const client = await liveClient(served.url, 'events=devices', headers);
    open.push(client);
    return client;
  }

  const devicesOf = ({ events }: LiveClient): string[] =>
    events.flatMap(({ event, data }) => (event === 'device' ? [data.deviceId] : []));

  it('end, say why they cannot be continued, and begin with what the store has now', async () => {
    await register('a');
    const copy = server.store.copy();
    const client = await follow();
    await register('b', 'c');
    await eventually(() => assert.deepEqual(devicesOf(client), ['b', 'c']));
    await server.putBack(copy);
    await register('device-with-a-longer-id', 'd', 'e');
    await client.ended;
    assert.deepEqual(devicesOf(client), ['b', 'c']);

    const [refused] = problemOf(
      await httpClient(served.url)('GET', `/api/v1/live?events=devices&from=${client.lastId()}`),
    );
    assert.equal(refused, 410);
    const next = await follow();
    await register('f');
    await eventually(() => assert.deepEqual(devicesOf(next), ['f']));
  });
});
