import assert from 'node:assert/strict';
import { problemOf } from '../support/http-client.ts';
import type { HttpSubject } from './http.contract.ts';

export function httpDeviceQueryRules({ call, pages, fresh }: HttpSubject): void {
  describe('queries of devices', () => {
    const type = fresh('type');
    let ids: string[];
    let waitFor: string;

    before(async () => {
      ids = ['c', 'a', 'b'].map((name) => fresh(name)).sort();
      const items = ids.map((deviceId, i) => ({
        deviceId,
        name: `Kühlraum ${i}`,
        type,
        labels: { site: i === 0 ? 'north' : 'south', 'a.b': 'x:y' },
      }));
      const { json } = await call('POST', '/api/v1/devices/bulk', { json: items });
      await call('POST', `/api/v1/devices/${ids[2]}/suspend`, { json: { reason: 'test' } });
      const { json: last } = await call('PATCH', `/api/v1/devices/${ids[0]}`, {
        json: { name: '100% cold' },
      });
      waitFor = [
        ...json.outcomes.map(({ device }: { device: { position: string } }) => device.position),
        last.position,
      ].join();
    });

    const find = async (query: string) =>
      (await call('GET', `/api/v1/devices?type=${type}&waitFor=${waitFor}&${query}`)).json.devices.map(
        ({ deviceId }: { deviceId: string }) => deviceId,
      );

    it('find them by state, label and part of the name or id', async () => {
      assert.deepEqual(await find(''), ids);
      assert.deepEqual(await find('status=suspended'), [ids[2]]);
      assert.deepEqual(await find('label=site:south&label=a.b:x:y'), ids.slice(1));
      assert.deepEqual(await find('label=site:north&label=a.b:z'), []);
      assert.deepEqual(await find('q=%C3%BChlraum'), ids.slice(1));
      assert.deepEqual(await find('q=0%25'), [ids[0]]);
      assert.deepEqual(await find(`q=${ids[1]?.toUpperCase()}`), [ids[1]]);
    });

    it('come in pages that hold each once', async () => {
      const path = `/api/v1/devices?type=${type}&limit=2`;
      const found = await pages(path, 'devices');
      assert.deepEqual(
        found.map((page) => page.map(({ deviceId }) => deviceId)),
        [ids.slice(0, 2), ids.slice(2)],
      );
      const first = await call('GET', path);
      const [, link] = /^<(.+)>; rel="next"$/.exec(first.headers.get('Link') ?? '') ?? [];
      assert.deepEqual((await call('GET', link ?? '')).json.devices[0].deviceId, ids[2]);
      const other = await call('GET', `/api/v1/devices?type=other&cursor=${first.json.next}`);
      assert.equal(other.json.errors[0].path, '/cursor');
      const tampered = `${first.json.next.slice(0, -2)}AA`;
      assert.equal((await call('GET', `${path}&cursor=${tampered}`)).status, 400);
    });

    it('tell who changed what, when and why', async () => {
      const correlationId = fresh('why');
      const json = { reason: 'no longer drifts' };
      await call('POST', `/api/v1/devices/${ids[1]}/suspend`, { json: { reason: 'drifts' } });
      const { json: now } = await call('POST', `/api/v1/devices/${ids[1]}/decommission`, {
        json,
        headers: { 'X-Correlation-Id': correlationId },
      });
      const [entries] = await pages(`/api/v1/devices/${ids[1]}/history?waitFor=${now.position}`, 'history');
      assert.deepEqual(
        entries?.map(({ revision, event }) => [revision, event]),
        [
          [0, 'DeviceRegistered'],
          [1, 'DeviceSuspended'],
          [2, 'DeviceDecommissioned'],
        ],
      );
      const last = entries?.[2];
      assert.deepEqual(last?.changes, [{ field: 'status', from: 'suspended', to: 'decommissioned' }]);
      assert.deepEqual([last?.reason, last?.correlationId], ['no longer drifts', correlationId]);
      const small = await pages(`/api/v1/devices/${ids[1]}/history?limit=1`, 'history');
      assert.deepEqual(small.flat(), entries);
    });
  });

  describe('consistency', () => {
    it('is what a caller asks for: the effects of a write, or the answer that they are not there yet', async () => {
      const { json: device } = await call('POST', '/api/v1/devices', {
        json: { name: 'Now', type: fresh('type') },
      });
      const list = await call('GET', `/api/v1/devices?type=${device.type}&waitFor=${device.position}`);
      assert.deepEqual(list.json.devices.length, 1);
      assert.match(list.headers.get('Fieldlog-Position') ?? '', /^devices:0:\d/);
      assert.match(list.headers.get('Fieldlog-Lag') ?? '', /^\d+$/);
      const late = await call('GET', '/api/v1/telemetry/latest?waitFor=telemetry:0:99999999999&timeout=20');
      assert.deepEqual(problemOf(late), [503, 'not-yet-projected']);
      assert.equal(late.headers.get('Retry-After'), '1');
      const nowhere = await call('GET', '/api/v1/telemetry/latest?waitFor=telemetry:99999:0&timeout=30s');
      assert.deepEqual(problemOf(nowhere), [400, 'invalid-request']);
      assert.match(nowhere.json.detail, /^query\/waitFor: must name a partition of telemetry, which has 0\b/);
    });
  });
}
