import assert from 'node:assert/strict';
import type { DeviceBounds } from '../../../application/device-bounds.ts';
import type { Scope } from '../../../application/ports/api-keys.ts';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { type Application, openApplication } from '../../../interfaces/composition/application.ts';
import { openLog } from '../../../interfaces/composition/process.ts';
import { checkedClient } from '../../support/checked-client.ts';
import { eventually } from '../../support/eventually.ts';
import { type HttpClient, problemOf } from '../../support/http-client.ts';
import { liveClient } from '../../support/live-client.ts';
import { type ServedFolder, servedFolder } from '../../support/served.ts';

type Headers = Readonly<Record<string, string>>;

describe('Saved live queries', function () {
  this.timeout(60_000);
  let served: ServedFolder;
  let application: Application;
  let call: HttpClient;
  let operator: Headers;
  let reader: Headers;
  let north: Headers;
  let auditor: Headers;

  before(async () => {
    served = await servedFolder();
    application = await openApplication(configFrom({ DATA_DIR: served.folder }), openLog('silent', 'test'));
    call = await checkedClient(served.url);
    const keys = await application.keys();
    const made = async (name: string, scopes: readonly Scope[], only: DeviceBounds | null = null) => ({
      'X-API-Key': (await keys.create({ name, scopes, only, expiresAt: null }))?.secret ?? '',
    });
    operator = await made('operator', ['operate', 'devices:write', 'telemetry:write', 'telemetry:read']);
    reader = await made('reader', ['telemetry:read']);
    north = await made('north', ['telemetry:read', 'devices:read'], { labels: { site: 'north' } });
    auditor = await made('auditor', ['devices:read']);
    await eventually(async () => assert.equal((await call('GET', '/api/v1/alarms')).status, 401));
    for (const [deviceId, site] of [
      ['n', 'north'],
      ['s', 'south'],
    ]) {
      const json = { deviceId, name: deviceId, type: 'pump', labels: { site } };
      assert.equal((await call('POST', '/api/v1/devices', { json, headers: operator })).status, 201);
    }
  });
  after(async () => {
    await served?.close();
    await application?.close();
  });

  const at = (name = '') => `/api/v1/live/queries${name && `/${name}`}`;
  const save = (name: string, json: object, headers = operator) => call('PUT', at(name), { json, headers });
  const streamed = async (query: string, headers: Headers) => {
    const client = await liveClient(served.url, query, headers);
    await client.cut();
    return client.status;
  };

  it('are saved, listed, saved anew at a revision, and removed, with who did it', async () => {
    const parameters = { events: 'buckets', interval: '1h', metric: ['t', 'p'], type: 'pump' };
    const { status, json, headers } = await save('averages', parameters);
    const { savedAt, ...saved } = json;
    assert.deepEqual([status, headers.get('ETag')], [200, '"0"']);
    assert.deepEqual(saved, { name: 'averages', parameters, revision: 0, savedBy: 'operator' });
    assert.ok(Math.abs(Date.parse(savedAt) - Date.now()) < 60_000);
    await save('all', {});
    const names = async () =>
      (await call('GET', at(), { headers: reader })).json.queries.map(({ name }: { name: string }) => name);
    assert.deepEqual(await names(), ['all', 'averages']);
    assert.equal((await save('averages', parameters)).json.revision, 0);
    assert.equal((await save('averages', { ...parameters, interval: '1d' })).json.revision, 1);
    const stale = await save('averages', parameters, { ...operator, 'If-Match': '"0"' });
    assert.deepEqual(problemOf(stale), [412, 'stale-revision']);
    assert.equal((await call('GET', at('averages'), { headers: reader })).json.parameters.interval, '1d');

    const gone = () =>
      call('DELETE', at('averages'), { headers: { ...operator, 'X-Requested-With': 'test' } });
    assert.equal((await gone()).status, 204);
    for (const answer of [await gone(), await call('GET', at('averages'), { headers: reader })])
      assert.deepEqual(problemOf(answer), [404, 'live-query-not-found']);
    assert.deepEqual(await names(), ['all']);
    assert.equal(await streamed('query=averages', reader), 404);
  });

  it('are refused where a stream would be, by the name of the parameter', async () => {
    for (const [json, path] of [
      [{ events: 'reading' }, '/events/0'],
      [{ events: 'buckets,readings' }, '/events'],
      [{ interval: '1h' }, '/interval'],
      [{ from: 'start' }, '/from'],
      [{ metric: ' ' }, '/metric/0'],
      [{ type: 7 }, '/type'],
    ] as const) {
      const answer = await save('bad', json);
      assert.deepEqual(problemOf(answer), [400, 'invalid-request'], JSON.stringify(json));
      assert.equal(answer.json.errors[0].path, path);
    }
    assert.deepEqual(problemOf(await call('PUT', at('-'), { json: {}, headers: operator })), [
      400,
      'invalid-request',
    ]);
    await save('all', {});
    assert.equal(await streamed('query=all&metric=t', reader), 400);
    assert.deepEqual(problemOf(await save('all', {}, reader)), [403, 'scope-missing']);
    assert.deepEqual(problemOf(await save('all', {}, north)), [403, 'scope-missing']);
    assert.deepEqual(problemOf(await call('GET', at(), { headers: north })), [403, 'outside-key']);
  });

  it('stream by name what they select, within what the key may see and by its scopes', async () => {
    await save('pumps', { type: 'pump', metric: 't' });
    await save('changes', { events: ['devices', 'readings'] });
    assert.equal(await streamed('query=pumps', auditor), 403);
    assert.equal(await streamed('query=changes', auditor), 403);
    assert.equal(await streamed('query=changes', reader), 403);
    assert.equal(await streamed('query=changes', north), 200);
    const whole = await liveClient(served.url, 'query=pumps&from=start', reader);
    const part = await liveClient(served.url, 'query=pumps&from=start', north);
    const json = ['s', 'n'].flatMap((deviceId) =>
      ['t', 'u'].map((metric, i) => ({ deviceId, timestamp: Date.now() + i, metrics: { [metric]: 1 } })),
    );
    assert.equal((await call('POST', '/api/v1/telemetry', { json, headers: operator })).status, 202);
    const devicesOf = ({ events }: typeof whole) =>
      events
        .filter(({ event }) => event === 'reading')
        .map(({ data }) => `${data.deviceId} ${Object.keys(data.metrics)}`);
    await eventually(() => assert.deepEqual(devicesOf(whole), ['s t', 'n t']));
    await eventually(() => assert.deepEqual(devicesOf(part), ['n t']));
    await Promise.all([whole.cut(), part.cut()]);
  });
});
