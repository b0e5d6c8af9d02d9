import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
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

  const register = async (...ids: readonly string[]) => {
    for (const id of ids) {
      const { status, json } = await call('POST', '/api/v1/devices', {
        json: { ...device(id), labels: { site: 'north' } },
      });
      assert.equal(status, 201, id);
      await call('GET', `/api/v1/devices?waitFor=${json.position}&timeout=30s`);
      await call('GET', `/api/v1/devices/${id}/history?waitFor=${json.position}&timeout=30s`);
    }
  };
  const listed = async (query = '') =>
    (await call('GET', `/api/v1/devices${query}`)).json.devices.map(
      ({ deviceId }: { deviceId: string }) => deviceId,
    );
  const written = (type: string, json: object) => ({
    id: randomUUID(),
    type,
    contentType: 'application/json',
    data: Buffer.from(JSON.stringify(json)),
    metadata: new Uint8Array(),
  });

  it('takes a device whose stream was deleted for good from every read model, and says so of it', async () => {
    await register('a', 'b');
    server.store.tombstone('device-a', 'any');
    await eventually(async () => {
      assert.deepEqual(await listed(), ['b']);
      assert.deepEqual(await listed('?label=site:north'), ['b']);
      const history = await call('GET', '/api/v1/devices/a/history');
      assert.deepEqual(problemOf(history), [410, 'device-stream-deleted'], history.text);
    });
    for (const path of ['telemetry', 'telemetry?interval=1h', 'telemetry/latest']) {
      const answer = await call('GET', `/api/v1/devices/a/${path}`);
      assert.deepEqual(problemOf(answer), [410, 'device-stream-deleted'], answer.text);
    }
  });

  it('takes a device whose stream was deleted from every read model, and lets it be registered anew', async () => {
    await register('a', 'b');
    await call('PATCH', '/api/v1/devices/a', { json: { name: 'A' } });
    server.store.softDelete('device-a', 'any');
    await eventually(async () => assert.deepEqual(await listed(), ['b']));
    assert.deepEqual(problemOf(await call('GET', '/api/v1/devices/a')), [404, 'device-not-registered']);
    await eventually(async () => assert.equal((await call('GET', '/api/v1/devices/a/history')).status, 404));
    await register('a');
    assert.deepEqual(await listed('?label=site:north'), ['a', 'b']);
    const { json } = await call('GET', '/api/v1/devices/a/history');
    assert.deepEqual(
      json.history.map(({ revision, event }: { revision: number; event: string }) => [revision, event]),
      [[2, 'DeviceRegistered']],
    );
  });

  it('keeps a device that was erased, whose stream is truncated by that', async () => {
    await register('a');
    const erased = await call('POST', '/api/v1/devices/a/erase', { json: { reason: 'r' } });
    await register('b');
    assert.equal(erased.status, 200);
    assert.deepEqual(await listed(), ['a', 'b']);
  });

  it('is a problem that names stream, revision and type where a stream cannot be understood', async () => {
    await register('cut', 'spoilt', 'well');
    await call('POST', '/api/v1/devices/cut/suspend', { json: { reason: 'r' } });
    server.store.append('$$device-cut', 'any', [written('$metadata', { $maxCount: 1 })]);
    server.store.append('device-spoilt', 'any', [written('OrderPlaced', { order: 1 })]);
    for (const [id, revision, eventType] of [
      ['cut', 1, 'DeviceSuspended'],
      ['spoilt', 1, 'OrderPlaced'],
    ] as const)
      for (const answer of [
        await call('GET', `/api/v1/devices/${id}`),
        await call('PATCH', `/api/v1/devices/${id}`, { json: { name: 'N' } }),
        await call('GET', `/api/v1/devices/${id}/telemetry`),
      ]) {
        assert.deepEqual(problemOf(answer), [409, 'device-stream-unreadable'], answer.text);
        assert.deepEqual(
          [answer.json.stream, answer.json.revision, answer.json.eventType],
          [`device-${id}`, revision, eventType],
        );
        assert.match(answer.json.detail, /docs\/runbook\.md/);
      }
    const readings = ['cut', 'well'].map((deviceId) => ({ deviceId, metrics: { n: 1 } }));
    const sent = await call('POST', '/api/v1/telemetry', { json: readings });
    assert.deepEqual([sent.status, sent.json.accepted], [202, 1], sent.text);
  });

  it('is the same problem where the metadata of a stream hides all of it, and the device stays refused', async () => {
    await register('hidden', 'well');
    server.store.append('$$device-hidden', 'any', [written('$metadata', { $tb: 100 })]);
    for (const answer of [
      await call('GET', '/api/v1/devices/hidden'),
      await call('PATCH', '/api/v1/devices/hidden', { json: { name: 'N' } }),
      await call('POST', '/api/v1/devices', { json: device('hidden') }),
      await call('POST', '/api/v1/devices/hidden/erase', { json: { reason: 'r' } }),
    ]) {
      assert.deepEqual(problemOf(answer), [409, 'device-stream-unreadable'], answer.text);
      assert.equal(answer.json.stream, 'device-hidden');
      assert.match(answer.json.detail, /\$tb, \$maxAge, \$maxCount.*docs\/runbook\.md/);
    }
  });

  it('refuses the readings of what AUTO_REGISTER cannot register, and takes those of others', async () => {
    await served?.close();
    served = await servedFolder({ EVENTSTORE_URL: server.url, LOG_LEVEL: 'silent', AUTO_REGISTER: 'auto' });
    call = await checkedClient(served.url);
    await register('gone', 'hidden');
    server.store.tombstone('device-gone', 'any');
    server.store.append('$$device-hidden', 'any', [written('$metadata', { $maxCount: 0, $tb: 9 })]);
    server.store.append('device-spoilt', 'any', [written('OrderPlaced', { order: 1 })]);
    await eventually(async () => {
      const readings = ['gone', 'hidden', 'spoilt', 'new'].map((deviceId) => ({
        deviceId,
        metrics: { n: 1 },
      }));
      const { status, json, text } = await call('POST', '/api/v1/telemetry', { json: readings });
      assert.deepEqual([status, json.accepted], [202, 1], text);
      assert.deepEqual(
        json.errors.map(({ index, type }: { index: number; type: string }) => [
          index,
          type.split('/').at(-1),
        ]),
        [0, 1, 2].map((index) => [index, 'device-not-registered']),
      );
    });
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

    it('is not ready while $all may not be read, and continues where it was when it may', async () => {
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

    it('is 503 while it may not append to streams, and well again when it may', async () => {
      const streams = (roles: unknown) =>
        node.write('$settings', 'update-default-acl', {
          $userStreamAcl: { $r: roles, $w: roles, $mr: roles, $mw: roles },
        });
      await serveAgain();
      assert.equal((await call('POST', '/api/v1/devices', { json: device('a') })).status, 201);
      streams('$admins');
      await isNotReady('its user may not read the streams of devices');
      for (const refused of [
        await call('POST', '/api/v1/devices', { json: device('b') }),
        await call('POST', '/api/v1/devices/a/suspend', { json: { reason: 'r' } }),
        await call('GET', '/api/v1/devices/a'),
      ]) {
        assert.deepEqual(problemOf(refused), [503, 'dependency-unavailable'], refused.text);
        assert.ok(refused.headers.get('Retry-After'));
      }
      streams(['$admins', 'fieldlog']);
      await isReady();
      assert.equal((await call('POST', '/api/v1/devices', { json: device('b') })).status, 201);
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
