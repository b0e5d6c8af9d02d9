import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import snappy from 'snappyjs';
import type { DeviceBounds } from '../../../application/device-bounds.ts';
import { scopes } from '../../../application/ports/api-keys.ts';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { openApplication } from '../../../interfaces/composition/application.ts';
import { openLog } from '../../../interfaces/composition/process.ts';
import { type Served, serve } from '../../../interfaces/composition/roles.ts';
import { checkedClient } from '../../support/checked-client.ts';
import { eventually } from '../../support/eventually.ts';
import { type Call, type HttpClient, problemOf, type Reply } from '../../support/http-client.ts';
import { messageBytes } from '../../support/metric-messages.ts';

type Decision =
  | 'refused'
  | 'device-in-path'
  | 'selection'
  | 'no-device'
  | 'public'
  | Sends
  | 'registers'
  | 'own-test';
/** Sends a reading of a device. */
type Sends = (deviceId: string) => Call;

const at = 1_790_000_000_000;

const otlp = (device: string): object => ({
  resourceMetrics: [
    {
      resource: { attributes: [{ key: 'device.id', value: { stringValue: device } }] },
      scopeMetrics: [
        { metrics: [{ name: 'a', gauge: { dataPoints: [{ asDouble: 1, timeUnixNano: `${at}000000` }] } }] },
      ],
    },
  ],
});

const remoteWrite = (device: string): Uint8Array<ArrayBuffer> => {
  const labels = [
    { name: '__name__', value: 'a' },
    { name: 'device', value: device },
  ];
  const timeseries = [{ labels, samples: [{ value: 1, timestamp: at }] }];
  return new Uint8Array(snappy.compress(new Uint8Array(messageBytes('WriteRequest', { timeseries }))));
};

const lines: Sends = (deviceId) => ({
  body: `m,device=${deviceId} a=1 ${at}000000`,
  headers: { 'Content-Type': 'text/plain' },
});

/** How each operation honours a key for a part of the fleet, said apart from the routes: one without a line fails. */
const decisions: readonly (readonly [form: RegExp, decision: Decision])[] = [
  [/^get \/(ping|health(\/(live|ready))?|openapi\.json|(docs|dashboard)(\/\{asset\})?)?$/, 'public'],
  [/^post \/api\/v1\/devices(\/bulk)?$/, 'registers'],
  [/^patch \/api\/v1\/devices\/\{deviceId\}$/, 'device-in-path'],
  [/^post \/api\/v1\/devices\/\{deviceId\}\/(suspend|reinstate|decommission|token)$/, 'device-in-path'],
  [/^get \/api\/v1\/devices\/\{deviceId\}(\/history|\/telemetry(\/latest)?)?$/, 'device-in-path'],
  [/^get \/api\/v1\/(devices|telemetry(\/latest)?)$/, 'selection'],
  [/^post \/api\/v1\/devices\/\{deviceId\}\/(erase|telemetry\/retractions)$/, 'refused'],
  [/^get (\/metrics|\/api\/v1\/(status|mqtt\/rejections))$/, 'refused'],
  [/^(get|post|patch) \/api\/v1\/(rules|hooks)\b/, 'refused'],
  [/^(get|put|delete) \/api\/v1\/live\/queries\b/, 'refused'],
  // Of alarms below, of live streams in live-keys.test.ts.
  [/^((get|post) \/api\/v1\/alarms\b|get \/api\/v1\/live$)/, 'own-test'],
  [/^(get|post|patch) \/api\/v1\/(projections|dead-letters|audit|rebuilds)\b/, 'refused'],
  [/^post \/api\/v1\/telemetry$/, (deviceId) => ({ json: { deviceId, timestamp: at, metrics: { a: 1 } } })],
  [
    /^post \/api\/v1\/import$/,
    (deviceId) => ({
      body: `deviceId,timestamp,a\n${deviceId},${at},1\n`,
      headers: { 'Content-Type': 'text/csv' },
    }),
  ],
  [/^post (\/api\/v2)?\/write$/, lines],
  [/^post \/v1\/metrics$/, (deviceId) => ({ json: otlp(deviceId) })],
  [
    /^post \/api\/v1\/prometheus\/write$/,
    (deviceId) => ({
      body: remoteWrite(deviceId),
      headers: { 'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'snappy' },
    }),
  ],
  [/^put \/telemetry\/\{tenant\}\/\{device\}$/, () => ({ json: { a: 1 } })],
  [/^(post \/query|get \/api\/v1\/access)$/, 'no-device'],
  // Take a device's own token, or its id from a credential of that form.
  [/^post \/(telemetry|api\/v1\/\{deviceToken\}\/telemetry)$/, 'no-device'],
];

const bodies: Readonly<Record<string, object>> = {
  patch: { name: 'Changed' },
  suspend: { reason: 'r' },
  decommission: { reason: 'r' },
};

const kinds = [
  ['by the beginning of ids', { idPrefix: 'mine-' }],
  ['by type', { type: 'pump' }],
  ['by labels', { labels: { customer: 'a', site: 'x' } }],
  ['by all of them', { idPrefix: 'mine-', type: 'pump', labels: { customer: 'a' } }],
] as const satisfies readonly (readonly [kind: string, only: DeviceBounds])[];

describe('A key for a part of the fleet', function () {
  this.timeout(60_000);
  let folder: string;
  let served: Served;
  let call: HttpClient;
  let close = async () => {};
  const secrets = new Map<DeviceBounds | null, string>();
  let admin: (method: string, address: string, sent?: Call) => Promise<Reply>;
  let operations: readonly (readonly [
    method: string,
    path: string,
    decision: Decision,
    declared: string | undefined,
  ])[];

  const as = (secret: string, method: string, address: string, { headers, ...sent }: Call = {}) =>
    call(method.toUpperCase(), address, { ...sent, headers: { ...headers, 'X-API-Key': secret } });
  const register = async (deviceId: string, type: string, customer: string) => {
    const json = { deviceId, name: deviceId, type, labels: { customer, site: 'x' } };
    assert.equal((await admin('POST', '/api/v1/devices', { json })).status, 201);
  };

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-bound-'));
    const log = openLog('silent', 'test');
    const config = configFrom({ PORT: '0', DATA_DIR: folder });
    const application = await openApplication(config, log);
    close = () => application.close();
    const keys = await application.keys();
    // Before the server starts, which looks for keys it does not know only now and then.
    for (const [index, only] of [null, ...kinds.map(([, only]) => only)].entries()) {
      const asked = { name: `key-${index}`, scopes, only, expiresAt: null };
      secrets.set(only, (await keys.create(asked))?.secret ?? '');
    }
    const all = secrets.get(null) ?? '';
    served = await serve(config, log);
    call = await checkedClient(served.url);
    admin = (method, address, sent) => as(all, method, address, sent);
    const { paths } = (await call('GET', '/openapi.json')).json;
    operations = Object.entries<Record<string, { 'x-bound-keys'?: string }>>(paths).flatMap(
      ([path, methods]) =>
        Object.entries(methods).map(([method, { 'x-bound-keys': declared }]) => {
          const [match, ...more] = decisions.filter(([form]) => form.test(`${method} ${path}`));
          assert.ok(match && more.length === 0, `this test must say how ${method} ${path} honours such keys`);
          return [method, path, match[1], declared] as const;
        }),
    );
    assert.ok(operations.length >= 40);
    const rule = { ruleId: 'hot', name: 'Hot', kind: 'range', metric: 'hot', above: 50 };
    const { status, text } = await admin('POST', '/api/v1/rules', { json: rule });
    assert.equal(status, 201, text);
  });
  after(async () => {
    await served?.close();
    await close();
    await rm(folder, { recursive: true });
  });

  for (const [index, [kind, only]] of (kinds as readonly (readonly [string, DeviceBounds])[]).entries())
    describe(kind, () => {
      const own = `mine-${index}`;
      const other = `theirs-${index}`;
      let secret: string;

      before(async () => {
        await register(own, 'pump', 'a');
        await register(other, 'meter', 'b');
        secret = secrets.get(only) ?? '';
        for (const deviceId of [own, other]) {
          const json = { deviceId, timestamp: at - 1, metrics: { before: 1 } };
          assert.equal((await admin('POST', '/api/v1/telemetry', { json })).status, 202);
        }
        await eventually(async () => {
          const { text } = await admin('GET', '/api/v1/telemetry/latest?limit=1000');
          assert.ok(text.includes(own) && text.includes(other));
        });
      });

      it('is refused by what is for the whole fleet', async () => {
        for (const [method, path, decision, declared] of operations) {
          const isRefused = decision === 'refused';
          assert.equal(declared === 'refused', isRefused, `${method} ${path} in OpenAPI`);
          if (!isRefused) continue;
          const address = path.replaceAll(/\{\w+\}/g, own);
          const { status, json } = await as(secret, method, address, method === 'get' ? {} : { json: {} });
          assert.deepEqual([status, json?.type.split('/').at(-1)], [403, 'outside-key'], `${method} ${path}`);
          assert.deepEqual(json.only, only);
        }
      });

      it('sends readings of its devices, and of no other, by every form', async () => {
        for (const [method, path, decision] of operations) {
          if (typeof decision !== 'function') continue;
          const send = (deviceId: string) =>
            as(
              secret,
              method,
              path.replace('{tenant}', 't').replace('{device}', deviceId),
              decision(deviceId),
            );
          const taken = await send(own);
          assert.ok(taken.status < 300, `${method} ${path}: ${taken.status} ${taken.text}`);
          assert.doesNotMatch(taken.text, /ejected(DataPoints)?":"?[1-9]/);
          const refused = await send(other);
          assert.ok(
            refused.status >= 400 || /rejectedDataPoints":"1"|"refused":1,/.test(refused.text),
            `${method} ${path}: ${refused.status} ${refused.text}`,
          );
        }
        const mixed = [own, other, own].map((deviceId, i) => ({
          deviceId,
          timestamp: at + i,
          metrics: { b: i },
        }));
        const { status, json } = await as(secret, 'POST', '/api/v1/telemetry', { json: mixed });
        assert.deepEqual([status, json.accepted, json.errors[0].path], [202, 2, '/1/deviceId']);
        const last = await admin('POST', '/api/v1/telemetry', {
          json: [own, other].map((deviceId) => ({ deviceId, timestamp: at + 9, metrics: { last: 9 } })),
        });
        const wait = last.json.positions.map((one: string) => `&waitFor=${one}`).join('');
        const metricsOf = async (deviceId: string) => {
          const { json } = await admin(
            'GET',
            `/api/v1/devices/${deviceId}/telemetry/latest?timeout=20000${wait}`,
          );
          return json.points.map(({ metric }: { metric: string }) => metric).sort();
        };
        assert.deepEqual(await metricsOf(other), ['before', 'last']);
        assert.deepEqual(await metricsOf(own), ['a', 'b', 'before', 'last', 'm.a']);
      });

      it('lists and reads its devices alone', async () => {
        for (const [method, path, decision, declared] of operations) {
          if (decision !== 'selection') continue;
          assert.equal(declared, decision);
          for (const query of ['limit=1000', 'limit=1000&label=site:x', `limit=1000&q=${index}`]) {
            const { status, text } = await as(secret, method, `${path}?${query}`);
            assert.equal(status, 200);
            assert.ok(text.includes(own), `${path}?${query}: ${text}`);
            assert.ok(!text.includes('theirs-'), `${path}?${query}: ${text}`);
          }
          const { text } = await as(secret, method, `${path}?type=meter&label=customer:b`);
          assert.ok(!text.includes('theirs-'), text);
        }
        const buckets = await as(
          secret,
          'GET',
          `/api/v1/telemetry?metric=before&interval=1h&aggregate=count&q=-${index}`,
        );
        assert.deepEqual(
          buckets.json.buckets.map(({ count }: { count: number }) => count),
          [1],
        );
      });

      it('reads and acknowledges alarms of its devices alone', async () => {
        const asked = ({ json }: Reply) => json.alarms.map(({ deviceId }: { deviceId: string }) => deviceId);
        const readings = [own, other].map((deviceId) => ({ deviceId, metrics: { hot: 100 + index } }));
        // The rule, made a moment ago, is followed like any event.
        const everyones = await eventually(
          async () => {
            await admin('POST', '/api/v1/telemetry', { json: readings });
            const found = await admin('GET', '/api/v1/alarms');
            assert.ok(asked(found).includes(own) && asked(found).includes(other), found.text);
            return found;
          },
          { within: 20_000, every: 100 },
        );
        const seen = asked(await as(secret, 'GET', '/api/v1/alarms'));
        assert.ok(seen.includes(own) && seen.every((one: string) => one.startsWith('mine-')), String(seen));
        assert.deepEqual(asked(await as(secret, 'GET', `/api/v1/alarms?deviceId=${other}`)), []);
        const status = async (deviceId: string, method: string, action: string) => {
          const { alarmId } = everyones.json.alarms.find(
            (one: { deviceId: string }) => one.deviceId === deviceId,
          );
          const json = action === '/silence' ? { until: '2026-03-02T06:00:00Z' } : {};
          const sent = method === 'GET' ? {} : { json };
          return (await as(secret, method, `/api/v1/alarms/${alarmId}${action}`, sent)).status;
        };
        assert.equal(await status(other, 'GET', ''), 404);
        for (const action of ['/acknowledge', '/silence', '/clear'])
          assert.equal(await status(other, 'POST', action), 404, action);
        assert.equal(await status(own, 'GET', ''), 200);
        // An alarm is in the event store a moment after it is in the read model.
        await eventually(async () => assert.equal(await status(own, 'POST', '/acknowledge'), 200));
      });

      it('finds of other devices what it finds of devices that are not there', async () => {
        for (const [method, path, decision, declared] of operations) {
          if (decision !== 'device-in-path') continue;
          assert.equal(declared, decision);
          const json = bodies[method] ?? bodies[path.split('/').at(-1) ?? ''] ?? {};
          const ask = (deviceId: string) =>
            as(secret, method, path.replace('{deviceId}', deviceId), method === 'get' ? {} : { json });
          const [theirs, nobodys] = [await ask(other), await ask('theirs-nobody')];
          assert.deepEqual(problemOf(theirs), [404, 'device-not-registered'], `${method} ${path}`);
          const answerOf = ({ json }: Reply, deviceId: string) =>
            JSON.stringify({ ...json, correlationId: '' }).replaceAll(deviceId, 'ID');
          assert.equal(answerOf(theirs, other), answerOf(nobodys, 'theirs-nobody'), `${method} ${path}`);
          if (!path.endsWith('/decommission')) {
            const { status, text } = await ask(own);
            assert.equal(status, 200, `${method} ${path}: ${text}`);
          }
        }
        assert.equal((await admin('GET', `/api/v1/devices/${other}`)).json.revision, 0);
      });

      it('registers devices that are in it, and leaves none outside', async () => {
        const [type, customer] = ['pump', 'a'];
        const fitting = { name: 'N', type, labels: { customer, site: 'x' } };
        const outside = { name: 'N', type: 'meter', labels: { customer: 'b' } };
        const one = (json: object) => as(secret, 'POST', '/api/v1/devices', { json });
        assert.equal((await one({ deviceId: `${own}-new`, ...fitting })).status, 201);
        assert.deepEqual(problemOf(await one({ deviceId: `${other}-new`, ...outside })), [
          403,
          'outside-key',
        ]);
        const json = [
          { deviceId: `${own}-bulk`, ...fitting },
          { deviceId: `${other}-bulk`, ...outside },
        ];
        const { outcomes } = (await as(secret, 'POST', '/api/v1/devices/bulk', { json })).json;
        assert.deepEqual(
          outcomes.map(({ status }: { status: number }) => status),
          [201, 403],
        );
        for (const deviceId of [`${other}-new`, `${other}-bulk`])
          assert.equal((await admin('GET', `/api/v1/devices/${deviceId}`)).status, 404);
        const change = (json: object) => as(secret, 'PATCH', `/api/v1/devices/${own}-new`, { json });
        assert.equal((await change({ labels: { customer, site: 'x', more: '1' } })).status, 200);
        const leaving = {
          ...(only.type !== undefined && { type: 'meter' }),
          ...(only.labels !== undefined && { labels: { customer: 'b' } }),
        };
        if (Object.keys(leaving).length > 0)
          assert.deepEqual(problemOf(await change(leaving)), [403, 'outside-key']);
      });
    });

  it('no longer touches a device that is given to others', async () => {
    const secret = secrets.get(kinds[2][1]) ?? '';
    await register('moving', 'pump', 'a');
    const send = () =>
      as(secret, 'POST', '/api/v1/telemetry', { json: { deviceId: 'moving', metrics: { a: 1 } } });
    assert.equal((await send()).status, 202);
    await admin('PATCH', '/api/v1/devices/moving', { json: { labels: { customer: 'b' } } });
    await eventually(async () => assert.equal((await send()).status, 404));
    assert.equal((await as(secret, 'GET', '/api/v1/devices/moving')).status, 404);
  });

  it('is not continued by the cursor of another key', async () => {
    const { next } = (await admin('GET', '/api/v1/devices?limit=1')).json;
    const { status } = await as(
      secrets.get(kinds[1][1]) ?? '',
      'GET',
      `/api/v1/devices?limit=1&cursor=${next}`,
    );
    assert.equal(status, 400);
  });
});
