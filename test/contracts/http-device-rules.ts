import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { problemOf, type Reply } from '../support/http-client.ts';
import type { HttpSubject } from './http.contract.ts';

/** Once the clock shows another millisecond than the one the device was last changed in. */
async function inAnotherMoment(last: Pick<Reply, 'json'>, change: () => Promise<Reply>): Promise<Reply> {
  await eventually(() => assert.ok(Date.now() > Date.parse(last.json.updatedAt)), { every: 1 });
  return change();
}

export function httpDeviceRules({ call, fresh }: HttpSubject): void {
  const register = async (more: object = {}) => {
    const deviceId = fresh('device');
    const json = { deviceId, name: 'Boiler', type: 'boiler', ...more };
    return { deviceId, answer: await call('POST', '/api/v1/devices', { json }) };
  };

  describe('a device', () => {
    it('is registered under the id it was given', async () => {
      const { deviceId, answer } = await register({ labels: { site: 'cellar' }, name: '  Boiler 7 ' });
      assert.equal(answer.status, 201);
      assert.equal(answer.headers.get('Location'), `/api/v1/devices/${deviceId}`);
      assert.equal(answer.headers.get('ETag'), '"0"');
      const { position, registeredAt, updatedAt, ...device } = answer.json;
      assert.match(position, /^devices:0:\d/);
      assert.equal(registeredAt, updatedAt);
      assert.deepEqual(device, {
        deviceId,
        name: 'Boiler 7',
        type: 'boiler',
        labels: { site: 'cellar' },
        status: 'active',
        revision: 0,
      });
      assert.deepEqual((await call('GET', `/api/v1/devices/${deviceId}`)).json, answer.json);
    });

    it('is registered under an id of its own when it was given none', async () => {
      const json = { name: 'Nameless', type: 'test' };
      const first = await call('POST', '/api/v1/devices', { json });
      const second = await call('POST', '/api/v1/devices', { json });
      assert.deepEqual([first.status, second.status], [201, 201]);
      assert.notEqual(first.json.deviceId, second.json.deviceId);
    });

    it('is registered once', async () => {
      const { deviceId } = await register();
      const again = await call('POST', '/api/v1/devices', {
        json: { deviceId, name: 'Boiler', type: 'boiler' },
      });
      assert.deepEqual(problemOf(again), [409, 'device-already-registered']);
    });

    it('gets the first answer again under the same key, with or without an id, whatever came after', async () => {
      for (const json of [
        { deviceId: fresh('keyed'), name: 'K', type: 'test' },
        { name: 'K', type: 'test' },
      ]) {
        const keyed = { json, headers: { 'Idempotency-Key': fresh('key') } };
        const first = await call('POST', '/api/v1/devices', keyed);
        await call('PATCH', `/api/v1/devices/${first.json.deviceId}`, { json: { name: 'Changed' } });
        const again = await call('POST', '/api/v1/devices', keyed);
        assert.deepEqual([again.status, again.json], [201, first.json]);
        assert.equal(again.headers.get('Location'), first.headers.get('Location'));
        const other = await call('POST', '/api/v1/devices', { ...keyed, json: { ...json, name: 'Other' } });
        assert.deepEqual(problemOf(other), [422, 'idempotency-key-reused']);
      }
    });

    it('is registered once when ten try at the same time', async () => {
      const json = { deviceId: fresh('raced'), name: 'Raced', type: 'test' };
      const answers = await Promise.all(
        Array.from({ length: 10 }, () => call('POST', '/api/v1/devices', { json })),
      );
      assert.deepEqual(answers.map(({ status }) => status).sort(), [201, ...Array(9).fill(409)]);
    });

    it('has its details changed, labels as a whole', async () => {
      const { deviceId } = await register({ labels: { a: '1', b: '2' } });
      const json = { type: 'heater', labels: { c: '3' } };
      const { status, headers, json: device } = await call('PATCH', `/api/v1/devices/${deviceId}`, { json });
      assert.deepEqual([status, headers.get('ETag'), device.revision], [200, '"1"', 1]);
      assert.deepEqual([device.name, device.type, device.labels], ['Boiler', 'heater', { c: '3' }]);
      const same = await call('PATCH', `/api/v1/devices/${deviceId}`, { json });
      assert.deepEqual([same.status, same.json.revision], [200, 1]);
      const none = await call('PATCH', `/api/v1/devices/${deviceId}`, { json: {} });
      assert.deepEqual(problemOf(none), [400, 'invalid-request']);
    });

    it('is suspended, reinstated and decommissioned, the last for good', async () => {
      const { deviceId } = await register();
      const act = (action: string, json?: object) =>
        call('POST', `/api/v1/devices/${deviceId}/${action}`, json && { json });
      assert.equal((await act('suspend', { reason: 'drifts' })).json.status, 'suspended');
      assert.equal((await act('reinstate')).json.status, 'active');
      assert.equal((await act('decommission', { reason: 'worn out' })).json.status, 'decommissioned');
      assert.deepEqual(problemOf(await act('reinstate')), [409, 'device-decommissioned']);
      assert.equal((await act('decommission', { reason: 'again' })).status, 200);
    });

    it('is erased for good, with all that was known of it', async () => {
      const { deviceId } = await register({ name: 'Boiler of Ada', labels: { owner: 'Ada' } });
      const act = (action: string, json: object, headers = {}) =>
        call('POST', `/api/v1/devices/${deviceId}/${action}`, { json, headers });
      const once = { 'Idempotency-Key': fresh('erase') };
      const { status, json: left } = await act('erase', { reason: 'asked for' }, once);
      assert.deepEqual([status, left.status, left.name, left.labels], [200, 'erased', 'erased', {}]);
      // What it answers is what is read from then on, in the stream and, when projected, in the read model.
      assert.deepEqual((await act('erase', { reason: 'asked for' }, once)).json, left);
      assert.deepEqual((await call('GET', `/api/v1/devices/${deviceId}`)).json, left);
      const { position, ...row } = left;
      const listed = await call('GET', `/api/v1/devices?q=${deviceId}&waitFor=${position}`);
      assert.equal(listed.status, 200, listed.text);
      assert.deepEqual(listed.json.devices, [row]);
      assert.equal((await call('GET', `/api/v1/devices/${deviceId}?at=0`)).status, 404);
      assert.deepEqual(problemOf(await act('reinstate', {})), [409, 'device-decommissioned']);
      assert.equal((await act('erase', { reason: 'again' })).json.revision, left.revision);
      assert.deepEqual(problemOf(await act('erase', {})), [400, 'invalid-request']);
    });

    it('is changed only at the revision the caller has seen', async () => {
      const { deviceId } = await register();
      const change = (name: string, match: string) =>
        call('PATCH', `/api/v1/devices/${deviceId}`, { json: { name }, headers: { 'If-Match': match } });
      assert.equal((await change('Two', '"0"')).json.revision, 1);
      const stale = await change('Three', '"0"');
      assert.deepEqual([...problemOf(stale), stale.json.revision], [412, 'stale-revision', 1]);
      assert.equal((await change('Four', '*')).json.revision, 2);
      // As a proxy that compresses answers passes it on.
      assert.equal((await change('Five', 'W/"2"')).json.revision, 3);
      for (const wrong of ['W/2', '2', '"2", "3"', '"x"'])
        assert.deepEqual((await change('Six', wrong)).json.errors[0].path, '/if-match', wrong);
    });

    it('that does not exist is refused by every call', async () => {
      const path = `/api/v1/devices/${fresh('never')}`;
      const calls = [
        call('GET', path),
        call('GET', `${path}/history`),
        call('GET', `${path}/telemetry`),
        call('GET', `${path}/telemetry/latest`),
        call('PATCH', path, { json: { name: 'x' } }),
        call('POST', `${path}/suspend`, { json: { reason: 'x' } }),
        call('POST', `${path}/reinstate`),
        call('POST', `${path}/decommission`, { json: { reason: 'x' } }),
      ];
      for (const answer of await Promise.all(calls))
        assert.deepEqual(problemOf(answer), [404, 'device-not-registered']);
    });

    it('is sent again only when it has changed', async () => {
      const { deviceId } = await register();
      const get = (tag: string) =>
        call('GET', `/api/v1/devices/${deviceId}`, { headers: { 'If-None-Match': tag } });
      assert.deepEqual([(await get('"0"')).status, (await get('"0"')).text], [304, '']);
      assert.equal((await get('W/"0", "7"')).status, 304);
      assert.equal((await get('"1"')).status, 200);
    });

    it('can be seen as it was at a revision or a time', async () => {
      const { deviceId, answer } = await register();
      const { json: second } = await inAnotherMoment(answer, () =>
        call('PATCH', `/api/v1/devices/${deviceId}`, { json: { name: 'Second' } }),
      );
      const { json: third } = await inAnotherMoment({ json: second }, () =>
        call('POST', `/api/v1/devices/${deviceId}/suspend`, { json: { reason: 'test' } }),
      );
      const at = async (moment: string) =>
        (await call('GET', `/api/v1/devices/${deviceId}?at=${encodeURIComponent(moment)}`)).json;
      for (const device of [answer.json, second, third]) {
        assert.deepEqual(await at(String(device.revision)), device);
        assert.deepEqual(await at(device.updatedAt), device);
      }
      assert.deepEqual([second.name, second.status, third.status], ['Second', 'active', 'suspended']);
      const beyond = await call('GET', `/api/v1/devices/${deviceId}?at=3`);
      assert.deepEqual(problemOf(beyond), [400, 'invalid-request']);
      assert.equal(beyond.json.detail, `query/at: must be at most 2, the newest revision of ${deviceId}`);
      const before = await call('GET', `/api/v1/devices/${deviceId}?at=2000-01-01T00:00Z`);
      assert.deepEqual(problemOf(before), [404, 'device-not-registered']);
    });
  });

  describe('many devices at once', () => {
    const bulk = (body: string, headers = {}) => call('POST', '/api/v1/devices/bulk', { body, headers });

    it('each stand or fall by themselves, in order', async () => {
      const { deviceId: taken } = await register();
      const twice = fresh('twice');
      const items = [
        { deviceId: fresh('one'), name: 'One', type: 'test' },
        { deviceId: taken, name: 'Taken', type: 'test' },
        { name: 'Two', type: 'test' },
        { name: '', type: 'test', colour: 'red' },
        { deviceId: twice, name: 'First', type: 'test' },
        { deviceId: twice, name: 'Second', type: 'test' },
        // Nothing that people can see.
        { name: '\u200b\u2060', type: 'test' },
      ];
      const { status, json } = await bulk(JSON.stringify(items));
      assert.equal(status, 200);
      assert.deepEqual(
        json.outcomes.map(({ index, status }: { index: number; status: number }) => [index, status]),
        [
          [0, 201],
          [1, 409],
          [2, 201],
          [3, 400],
          [4, 201],
          [5, 409],
          [6, 400],
        ],
      );
      assert.equal(json.outcomes[4].device.name, 'First');
      assert.deepEqual(json.outcomes[3].errors.map(({ path }: { path: string }) => path).sort(), [
        '/3/colour',
        '/3/name',
      ]);
    });

    it('come as lines too, and give the same answer under the same key', async () => {
      const items = [
        { deviceId: fresh('line'), name: 'Line', type: 'test' },
        { name: 'Other', type: 'test' },
      ];
      const body = `${items.map((item) => JSON.stringify(item)).join('\n')}\nnot json\n`;
      const headers = { 'Content-Type': 'application/x-ndjson', 'Idempotency-Key': fresh('key') };
      const first = await bulk(body, headers);
      const statuses = first.json.outcomes.map(({ status }: { status: number }) => status);
      assert.deepEqual(statuses, [201, 201, 400]);
      assert.deepEqual((await bulk(body, headers)).json, first.json);
    });

    it('are refused as a whole when they are none or no list', async () => {
      for (const body of ['[]', '{"name":"x","type":"y"}', 'null'])
        assert.deepEqual(problemOf(await bulk(body)), [400, 'invalid-request'], body);
    });
  });
}
