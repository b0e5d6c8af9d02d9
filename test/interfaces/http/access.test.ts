import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type Scope, scopes } from '../../../application/ports/api-keys.ts';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { dataFiles } from '../../../infrastructure/sqlite/database-file.ts';
import {
  type ApiKeyOperations,
  type Application,
  openApplication,
} from '../../../interfaces/composition/application.ts';
import { openLog } from '../../../interfaces/composition/process.ts';
import { type Served, serve } from '../../../interfaces/composition/roles.ts';
import { checkedClient } from '../../support/checked-client.ts';
import { runCli } from '../../support/cli.ts';
import { eventually } from '../../support/eventually.ts';
import { type Call, type HttpClient, httpClient, problemOf } from '../../support/http-client.ts';

const log = openLog('silent', 'test');

/** What each route must ask for, said apart from the routes: one that no line is about fails. */
const asked: readonly (readonly [form: RegExp, scope: Scope | 'any' | 'public'])[] = [
  [/^get \/(ping|health(\/(live|ready))?|openapi\.json|(docs|dashboard)(\/\{asset\})?)?$/, 'public'],
  [/^post \/api\/v1\/devices(\/bulk)?$/, 'devices:write'],
  [/^patch \/api\/v1\/devices\/\{deviceId\}$/, 'devices:write'],
  [/^post \/api\/v1\/devices\/\{deviceId\}\/(suspend|reinstate|decommission|token)$/, 'devices:write'],
  [/^post \/api\/v1\/devices\/\{deviceId\}\/(erase|telemetry\/retractions)$/, 'operate'],
  [/^get \/api\/v1\/devices(\/\{deviceId\}(\/history)?)?$/, 'devices:read'],
  [/^post \/api\/v1\/(\{deviceToken\}\/)?telemetry$/, 'telemetry:write'],
  [/^post (\/api\/v2)?\/write$/, 'telemetry:write'],
  [/^post \/(query|v1\/metrics|api\/v1\/prometheus\/write)$/, 'telemetry:write'],
  [/^(post \/telemetry|put \/telemetry\/\{tenant\}\/\{device\})$/, 'telemetry:write'],
  [/^get \/api\/v1(\/devices\/\{deviceId\})?\/telemetry(\/latest)?$/, 'telemetry:read'],
  [/^(post \/api\/v1\/rules|patch \/api\/v1\/rules\/\{ruleId\})$/, 'devices:write'],
  [/^post \/api\/v1\/rules\/\{ruleId\}\/(enable|disable|remove)$/, 'devices:write'],
  [/^post \/api\/v1\/alarms\/\{alarmId\}\/(acknowledge|silence|clear)$/, 'devices:write'],
  [/^get \/api\/v1\/(rules(\/\{ruleId\})?|alarms(\/\{alarmId\})?)$/, 'devices:read'],
  [/^post \/api\/v1\/rules\/preview$/, 'telemetry:read'],
  [/^get (\/api\/v1\/mqtt\/rejections|\/metrics|\/api\/v1\/status)$/, 'operate'],
  [/^(get|post|patch) \/api\/v1\/(projections|dead-letters|audit|rebuilds)\b/, 'operate'],
  [/^(get|post|patch) \/api\/v1\/hooks\b/, 'operate'],
  [/^get \/api\/v1\/live(\/queries(\/\{name\})?)?$/, 'telemetry:read'],
  [/^(put|delete) \/api\/v1\/live\/queries\/\{name\}$/, 'operate'],
  [/^post \/api\/v1\/import$/, 'telemetry:write'],
  [/^get \/api\/v1\/access$/, 'any'],
];

/** A stream that is let in would not end; an import that may register asks for devices:write as well. */
const parameters: Readonly<Record<string, string>> = {
  '/api/v1/live': '?events=none',
  '/api/v1/import': '?register=false',
};

describe('Access to the API', function () {
  this.timeout(60_000);
  let folder: string;
  let application: Application;
  let keys: ApiKeyOperations;
  let served: Served;
  let call: HttpClient;
  let admin: (method: string, path: string, sent?: Call) => ReturnType<HttpClient>;
  const secrets = new Map<string, string>();
  const metricsToken = 'only-for-reading-metrics';
  const env = () => ({ PORT: '0', DATA_DIR: folder, METRICS_TOKEN: metricsToken });

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-access-'));
    application = await openApplication(configFrom(env()), log);
    keys = await application.keys();
    for (const scope of scopes) secrets.set(scope, await made(`only-${scope.replace(':', '-')}`, [scope]));
    secrets.set('all', await made('admin', scopes));
    served = await serve(configFrom(env()), log);
    call = await checkedClient(served.url);
    admin = (method, path, sent) => as('all', method, path, sent);
  });
  after(async () => {
    await served?.close();
    await application?.close();
    await rm(folder, { recursive: true });
  });

  async function made(name: string, scopes: readonly Scope[], expiresAt: number | null = null) {
    const { secret } = (await keys.create({ name, scopes, expiresAt })) ?? {};
    assert.ok(secret);
    return secret;
  }

  const bearer = (secret = '') => ({ Authorization: `Bearer ${secret}` });

  const as = (who: string, method: string, path: string, { headers, ...sent }: Call = {}) =>
    call(method, path, { ...sent, headers: { ...headers, ...bearer(secrets.get(who)) } });

  it('asks each route for its scope, and lets no other scope do', async () => {
    const { paths } = (await call('GET', '/openapi.json')).json;
    const operations = Object.entries<Record<string, { security: object[]; 'x-required-scopes'?: string[] }>>(
      paths,
    ).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { security, 'x-required-scopes': listed }]) => ({
        ...{ method, path, security, listed },
      })),
    );
    assert.ok(operations.length >= 20);
    for (const { method, path, security, listed } of operations) {
      const [match, ...more] = asked.filter(([form]) => form.test(`${method} ${path}`));
      assert.ok(match && more.length === 0, `this test must say what ${method} ${path} asks for`);
      const [, scope] = match;
      assert.deepEqual(
        [security.filter((one) => 'bearer' in one || 'apiKey' in one), listed],
        scope === 'public'
          ? [[], undefined]
          : [[{ bearer: [] }, { apiKey: [] }], scope === 'any' ? [] : [scope]],
        `${method} ${path} in OpenAPI`,
      );
      const address = path.replaceAll(/\{\w+\}/g, '1') + (parameters[path] ?? '');
      const sent = method === 'get' ? {} : { body: '[' };
      const statusOf = async (headers: Record<string, string>) => {
        const { status } = await call(method.toUpperCase(), address, { ...sent, headers });
        return status === 401 || status === 403 ? status : 'in';
      };
      const statuses = [];
      for (const one of scopes) statuses.push(await statusOf(bearer(secrets.get(one))));
      const wanted = scopes.map((one) =>
        scope === 'public' || scope === 'any' || one === scope ? 'in' : 403,
      );
      assert.deepEqual(statuses, wanted, `${method} ${path} with each of ${scopes}`);
      assert.equal(await statusOf({}), scope === 'public' ? 'in' : 401, `${method} ${path} without a key`);
      assert.equal(await statusOf({ 'X-API-Key': secrets.get('all') ?? '' }), 'in', `${method} ${path}`);
    }
  });

  it('says what is missing, in the words of RFC 6750', async () => {
    const none = await call('GET', '/api/v1/devices');
    assert.deepEqual(problemOf(none), [401, 'key-required']);
    assert.equal(none.headers.get('WWW-Authenticate'), 'Bearer realm="fieldlog"');
    const other = await as('telemetry:write', 'GET', '/api/v1/devices');
    assert.deepEqual(problemOf(other), [403, 'scope-missing']);
    assert.equal(other.json.scope, 'devices:read');
    assert.match(
      other.headers.get('WWW-Authenticate') ?? '',
      /error="insufficient_scope", scope="devices:read"/,
    );
  });

  it('refuses what is no key, or nearly one', async () => {
    const good = secrets.get('all') ?? '';
    const end = good.at(-1) === 'A' ? 'B' : 'A';
    for (const secret of ['nonsense', `${good.slice(0, -1)}${end}`, good.toUpperCase(), metricsToken])
      assert.equal((await call('GET', '/api/v1/devices', { headers: bearer(secret) })).status, 401, secret);
    const basic = { Authorization: `Basic ${Buffer.from(`admin:${good}`).toString('base64')}` };
    assert.equal((await call('GET', '/api/v1/devices', { headers: basic })).status, 401);
  });

  it('takes a key the moment it is made, and no longer than five seconds after it is revoked', async () => {
    const headers = bearer(await made('short-lived', ['devices:read']));
    assert.equal((await call('GET', '/api/v1/devices', { headers })).status, 200);
    await keys.revoke('short-lived');
    const refused = async () => assert.equal((await call('GET', '/api/v1/devices', { headers })).status, 401);
    await eventually(refused, { within: 5000 });
  });

  it('takes no key that has expired', async () => {
    const headers = bearer(await made('expired', ['devices:read'], Date.now() - 1));
    assert.equal((await call('GET', '/api/v1/devices', { headers })).status, 401);
  });

  it('writes down whose key did what', async () => {
    const json = { deviceId: 'audited', name: 'A', type: 'test' };
    await as('devices:write', 'POST', '/api/v1/devices', { json });
    await eventually(async () => {
      const { json } = await admin('GET', '/api/v1/devices/audited/history');
      assert.deepEqual(
        json.history?.map(({ actor }: { actor: string }) => actor),
        ['only-devices-write'],
      );
    });
  });

  it('reads metrics by the token for them, which is good for nothing else', async () => {
    assert.equal((await call('GET', '/metrics', { headers: bearer(metricsToken) })).status, 200);
    assert.equal((await call('GET', '/metrics', { headers: bearer(`${metricsToken}x`) })).status, 401);
    assert.equal((await call('GET', '/api/v1/status', { headers: bearer(metricsToken) })).status, 401);
  });

  it('keeps no secret in any file', async () => {
    const registered = await admin('POST', '/api/v1/devices', {
      json: { deviceId: 'secretive', name: 'S', type: 'test', issueToken: true },
    });
    const shown = [...secrets.values(), registered.json.token];
    for (const file of Object.values(dataFiles(folder))) {
      const db = new DatabaseSync(file, { readOnly: true });
      const tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
      for (const { name } of tables) {
        const text = JSON.stringify(db.prepare(`SELECT * FROM "${name}"`).all(), (_, value) =>
          typeof value === 'bigint' ? String(value) : value,
        );
        for (const secret of shown) assert.ok(!text.includes(secret.split('.')[1]), `${file} ${name}`);
      }
      db.close();
    }
  });

  describe('by a device token', () => {
    const reading = (deviceId: string) => ({ deviceId, metrics: { a: 1 } });
    const sendAs = (token: string, json: unknown) =>
      call('POST', '/api/v1/telemetry', { json, headers: bearer(token) });
    let token: string;
    let other: string;

    before(async () => {
      const register = async (deviceId: string) => {
        const json = { deviceId, name: 'T', type: 'test', issueToken: true };
        const { status, json: device } = await admin('POST', '/api/v1/devices', { json });
        assert.equal(status, 201);
        return device.token;
      };
      token = await register('token-1');
      other = await register('token-2');
    });

    it('takes readings of that device, and of no other', async () => {
      assert.equal((await sendAs(token, reading('token-1'))).status, 202);
      for (const readings of [reading('token-2'), [reading('token-1'), reading('token-2')]])
        assert.deepEqual(problemOf(await sendAs(token, readings)), [403, 'not-this-device']);
      assert.equal((await sendAs(other, reading('token-2'))).status, 202);
    });

    it('does nothing else', async () => {
      const headers = bearer(token);
      for (const address of ['/api/v1/devices/token-1', '/api/v1/devices/token-1/telemetry', '/metrics'])
        assert.deepEqual(problemOf(await call('GET', address, { headers })), [403, 'scope-missing']);
    });

    it('is no longer possible with the token before', async () => {
      const { status, json } = await admin('POST', '/api/v1/devices/token-1/token');
      assert.equal(status, 200);
      assert.equal(json.revision, 2);
      assert.deepEqual(problemOf(await sendAs(token, reading('token-1'))), [401, 'key-required']);
      assert.equal((await sendAs(json.token, reading('token-1'))).status, 202);
    });

    it('is refused for a token of a device that has none, or is not there', async () => {
      await admin('POST', '/api/v1/devices', { json: { deviceId: 'bare', name: 'B', type: 'test' } });
      for (const deviceId of ['bare', 'nowhere']) {
        const whose = Buffer.from(deviceId).toString('base64url');
        const made = `fld_${whose}.${token.split('.')[1]}`;
        assert.deepEqual(problemOf(await sendAs(made, reading(deviceId))), [401, 'key-required']);
      }
    });

    it('comes with a bulk registration too, and is shown once though the request is repeated', async () => {
      const json = [{ deviceId: 'bulk-1', name: 'B', type: 'test', issueToken: true }];
      const sent = { json, headers: { 'Idempotency-Key': 'bulk-token' } };
      const first = await admin('POST', '/api/v1/devices/bulk', sent);
      const again = await admin('POST', '/api/v1/devices/bulk', sent);
      const [{ device }] = first.json.outcomes;
      assert.equal((await sendAs(device.token, reading('bulk-1'))).status, 202);
      assert.deepEqual(again.json.outcomes[0].device, { ...device, token: null });
    });

    it('shows no reader the hash', async () => {
      const hash = /[0-9a-f]{64}/;
      await eventually(async () => {
        const { json, text } = await admin('GET', '/api/v1/devices/token-2/history');
        assert.equal(json.history?.at(-1)?.event, 'DeviceTokenIssued');
        assert.doesNotMatch(text, hash);
      });
      for (const address of ['/api/v1/devices/token-2', '/api/v1/devices/token-2?at=1', '/api/v1/devices'])
        assert.doesNotMatch((await admin('GET', address)).text, hash);
    });
  });

  it('limits a key, and no other, where a limit is configured', async () => {
    const limits = { RATE_LIMIT_PER_KEY: '1', RATE_LIMIT_BURST_SECONDS: '60' };
    const limited = await serve(configFrom({ ...env(), ...limits }), log);
    const ask = (who: string) =>
      httpClient(limited.url)('GET', '/api/v1/devices', { headers: bearer(secrets.get(who)) });
    let last = await ask('devices:read');
    for (let i = 0; i < 200 && last.status === 200; i += 1) last = await ask('devices:read');
    assert.deepEqual(problemOf(last), [429, 'rate-limited']);
    assert.deepEqual(last.json.limit, { name: 'per-key', of: 'only-devices-read', rate: 1, burst: 60 });
    assert.equal(last.headers.get('Retry-After'), '1');
    assert.equal((await ask('all')).status, 200);
    await limited.close();
  });

  it('refuses a public address without a key, in one line that says what to do', async () => {
    const DATA_DIR = path.join(folder, 'without-keys');
    const { code, err } = await runCli(['serve'], { env: { DATA_DIR, HOST: '0.0.0.0', PORT: '0' } });
    assert.equal(code, 2);
    assert.match(err, /^fieldlog: HOST is 0\.0\.0\.0, .*`fieldlog keys create`.*\n$/);
  });

  it('takes a public address once there is a key', async () => {
    // Loopback by another name, which is not among those known to be loopback.
    const open = await serve(configFrom({ ...env(), HOST: '::ffff:127.0.0.1' }), log);
    const { port } = new URL(open.url);
    const reached = httpClient(`http://127.0.0.1:${port}`);
    assert.equal((await reached('GET', '/api/v1/devices')).status, 401);
    assert.equal((await reached('GET', '/health/ready')).status, 200);
    await open.close();
  });
});

describe('Access without any key', () => {
  it('is open to all on this machine, but not to a wrong device token', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-open-'));
    const served = await serve(configFrom({ PORT: '0', DATA_DIR: folder, RATE_LIMIT_PER_DEVICE: '1' }), log);
    const call = httpClient(served.url);
    const json = { deviceId: 'd', name: 'D', type: 'test', issueToken: true };
    const { token } = (await call('POST', '/api/v1/devices', { json })).json;
    const send = (headers: Record<string, string>, count = 1) =>
      call('POST', '/api/v1/telemetry', {
        json: Array.from({ length: count }, () => ({ deviceId: 'd', metrics: { a: 1 } })),
        headers,
      });
    const statuses = [
      (await send({})).status,
      (await send({ Authorization: `Bearer ${token}` })).status,
      (
        await send({
          Authorization: `Bearer ${token.replace(/\.(.)/, (_: string, c: string) => (c === '-' ? '.A' : '.-'))}`,
        })
      ).status,
      (await send({ 'X-API-Key': 'flk_unknown.key' })).status,
      (await call('GET', '/metrics')).status,
    ];
    assert.deepEqual(statuses, [202, 202, 401, 202, 200]);

    await send({}, 100);
    const limited = await send({});
    assert.deepEqual(problemOf(limited), [429, 'rate-limited']);
    assert.deepEqual(limited.json.limit, { name: 'per-device', of: 'd', rate: 1, burst: 10 });
    assert.ok(Number(limited.headers.get('Retry-After')) >= 60);
    await served.close();
    await rm(folder, { recursive: true });
  });
});
