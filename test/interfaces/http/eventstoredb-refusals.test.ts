import assert from 'node:assert/strict';
import { checkedClient } from '../../support/checked-client.ts';
import { runCli } from '../../support/cli.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { type SecureNode, secureNode } from '../../support/eventstoredb/stand-ins.ts';
import { eventually } from '../../support/eventually.ts';
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

  describe('to a user', () => {
    let node: SecureNode;
    const readAll = (roles: unknown) => node.write('$$$all', '$metadata', { $acl: { $r: roles } });

    beforeEach(async () => {
      node = await secureNode();
      readAll(['$admins', 'fieldlog']);
    });
    afterEach(() => node.stop());

    async function serveAgain(): Promise<void> {
      await served?.close();
      served = await servedFolder({ EVENTSTORE_URL: node.urlOf('fieldlog:p'), LOG_LEVEL: 'silent' });
      call = await checkedClient(served.url);
    }
    const isNotReady = (reason: string) =>
      eventually(async () => {
        const { status, json } = await call('GET', '/health/ready');
        assert.deepEqual([status, json.detail], [503, `Failed: eventStore (${reason})`]);
      });
    const isReady = () =>
      eventually(async () => assert.equal((await call('GET', '/health/ready')).status, 200));

    it('is not ready while $all may not be read, and goes on where it was when it may', async () => {
      await serveAgain();
      await isReady();
      readAll('$admins');
      node.server.dropConnections();
      await isNotReady('its user may not read $all');
      const registered = await eventually(async () => {
        const answer = await call('POST', '/api/v1/devices', { json: device('a') });
        assert.equal(answer.status, 201, answer.text);
        return answer;
      });
      readAll(['$admins', 'fieldlog']);
      await isReady();
      const listed = await call('GET', `/api/v1/devices?waitFor=${registered.json.position}&timeout=30s`);
      assert.deepEqual([listed.status, listed.json.devices?.length], [200, 1], listed.text);
    });

    it('is 503 while its password is another, and well again when it is right', async () => {
      await serveAgain();
      node.server.store.rights.setUser('fieldlog', { password: 'rotated' });
      await isNotReady('its user is not known with this password');
      const refused = await call('POST', '/api/v1/devices', { json: device('a') });
      assert.deepEqual(problemOf(refused), [503, 'dependency-unavailable']);
      assert.ok(refused.headers.get('Retry-After'));
      node.server.store.rights.setUser('fieldlog', { password: 'p' });
      await isReady();
      assert.equal((await call('POST', '/api/v1/devices', { json: device('a') })).status, 201);
    });

    it('ends the start with one line and code 2, before anything is served', async () => {
      readAll('$admins');
      const env = { EVENTSTORE_URL: node.urlOf('fieldlog:p'), PORT: '0', DATA_DIR: served?.folder ?? '' };
      const { code, out, err } = await runCli(['serve'], { env });
      assert.deepEqual([code, out], [2, '']);
      assert.match(err, /^.*EVENTSTORE_URL: user "fieldlog" may not read \$all: .*\n$/);
    });
  });
});
