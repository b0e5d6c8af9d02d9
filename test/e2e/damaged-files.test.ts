import assert from 'node:assert/strict';
import {
  closeSync,
  cpSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runCli } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../support/fieldlog-process.ts';
import { httpClient, problemOf } from '../support/http-client.ts';
import { allConsumed } from '../support/running-server.ts';

const devices = 300;
const allDevices = Array.from({ length: devices }, (_, i) => `/api/v1/devices/d-${i}?at=0`);

describe('A damaged file', function () {
  this.timeout(120_000);
  let whole: string;
  let folder: string;
  let server: FieldlogProcess | undefined;

  before(async () => {
    folder = whole = mkdtempSync(path.join(tmpdir(), 'fieldlog-whole-'));
    const { call } = await serve();
    const registered = Array.from({ length: devices }, (_, i) => ({
      deviceId: `d-${i}`,
      name: 'x'.repeat(100),
      type: 'test',
    }));
    assert.equal((await call('POST', '/api/v1/devices/bulk', { json: registered })).status, 200);
    for (let n = 0; n < 20; n += 1) {
      const json = Array.from({ length: 500 }, (_, i) => ({
        deviceId: `d-${i % devices}`,
        timestamp: n * 1000 + i,
        metrics: { n: i },
      }));
      assert.equal((await call('POST', '/api/v1/telemetry', { json })).status, 202);
    }
    await allConsumed(call, 30_000);
    assert.equal(await server?.end('SIGTERM'), 0);
  });
  after(async () => {
    await server?.end('SIGKILL');
    rmSync(whole, { recursive: true });
  });
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'fieldlog-damaged-'));
    cpSync(whole, folder, { recursive: true });
  });
  afterEach(async () => {
    await server?.end('SIGKILL');
    rmSync(folder, { recursive: true });
  });

  const run = (...args: string[]) => runCli(args, { env: { DATA_DIR: folder, PORT: '0' } });
  async function serve(env: Readonly<Record<string, string>> = {}) {
    server = fieldlog(['serve'], { DATA_DIR: folder, PORT: '0', LOG_LEVEL: 'silent', ...env });
    const [, url = ''] = await server.says(/(http:\S+)/);
    return { call: httpClient(url) };
  }
  /** From the middle on: the first pages hold the schema, which every use would meet. */
  function overwrite(name: string, bytes = 64 * 1024): void {
    const file = path.join(folder, name);
    const { size } = statSync(file);
    write(file, Math.floor(size / 2 / 4096) * 4096, Math.min(bytes, size / 2));
  }
  function write(file: string, at: number, length: number): void {
    const descriptor = openSync(file, 'r+');
    writeSync(descriptor, Buffer.alloc(length, 0xa5), 0, length, at);
    closeSync(descriptor);
  }

  const remedies = {
    'events.db': /events\.db.*restore it from a backup/,
    'telemetry.db': /telemetry\.db.*restore it from a backup/,
    'read-models.db': /read-models\.db.*move it and the files beside it away.*rebuilt from the logs/,
  };
  for (const [name, remedy] of Object.entries(remedies))
    it(`is found and named with what to do: ${name}`, async () => {
      assert.equal((await run('check')).code, 0);
      overwrite(name);
      const checked = await run('check');
      assert.equal(checked.code, 1);
      assert.match(checked.out, remedy);
      const others = JSON.parse((await run('check', '--json')).out).filter(
        ({ damage }: { damage: unknown }) => damage === null,
      );
      assert.equal(others.length, 3);
      const started = await run('serve');
      assert.equal(started.code, 3);
      assert.match(started.err, remedy);
    });

  /** Bytes inside a row of each log, and requests that come to it. */
  const contents = {
    'events.db': { bytes: '"recordedAt"', routes: allDevices },
    'telemetry.db': { bytes: '"metrics"', routes: ['/api/v1/audit'] },
  } as const;
  for (const [name, { bytes, routes }] of Object.entries(contents))
    it(`is named by a running server, and at the start, where its pages are whole: ${name}`, async () => {
      const { call } = await serve({ LOG_LEVEL: 'error' });
      const file = path.join(folder, name);
      const content = readFileSync(file);
      write(file, content.indexOf(bytes, content.length / 2), bytes.length);
      for (const route of routes) await call('GET', route);
      const remedy = remedies[name as keyof typeof remedies];
      await eventually(async () => {
        const ready = await call('GET', '/health/ready');
        assert.equal(ready.status, 503);
        assert.match(ready.json.detail, remedy);
      });
      assert.match(server?.errors() ?? '', remedy);
      await server?.end('SIGKILL');

      const started = await run('serve');
      assert.equal(started.code, 3);
      assert.match(started.err, remedy);
    });

  it('is named by a running server, which serves by the keys it knows, until another is put in its place: access.db', async () => {
    const made = await run('keys', 'create', '--name', 'test', '--scopes', 'devices:read');
    const headers = { 'X-API-Key': made.out.trim() };
    const { call } = await serve();
    const ready = (query = '') => call('GET', `/health/ready${query}`);
    assert.equal((await ready()).json.checks.apiKeys, 'ok');
    const file = path.join(folder, 'access.db');
    const content = readFileSync(file);
    write(file, 4096, content.length - 4096);

    const { status, json } = await ready();
    assert.deepEqual([status, json.checks.apiKeys], [200, 'failed']);
    const asked = await ready('?dependency=apiKeys');
    assert.equal(asked.status, 503);
    assert.match(asked.json.detail, /apiKeys \(\S+access\.db: .*restore it from a backup/);
    assert.equal((await call('GET', '/api/v1/devices', { headers })).status, 200);

    writeFileSync(file, content);
    assert.equal((await ready()).json.checks.apiKeys, 'ok');
  });

  it('is named by an audit and by a rebuild that come to it', async () => {
    overwrite('telemetry.db');
    for (const args of [['audit'], ['projections', 'rebuild', 'telemetry']]) {
      const { code, err } = await run(...args);
      assert.ok(code === 3 || code === 1, `${code}`);
      assert.match(err, remedies['telemetry.db']);
    }
  });

  it('of read models is rebuilt from the logs as its error says', async () => {
    const before = JSON.parse((await run('projections', 'digest', 'telemetry', '--json')).out);
    overwrite('read-models.db');
    renameSync(path.join(folder, 'read-models.db'), path.join(folder, 'damaged'));
    for (const beside of ['-wal', '-shm'])
      rmSync(path.join(folder, `read-models.db${beside}`), { force: true });
    const { call } = await serve();
    await eventually(
      async () => {
        const { json } = await call('GET', '/api/v1/projections/telemetry/digest');
        assert.deepEqual(json.tables, before.tables);
      },
      { within: 60_000, every: 200 },
    );
  });

  it('of events under a running server is not called an outage that passes', async () => {
    const { call } = await serve();
    overwrite('events.db');
    assert.ok(readFileSync(path.join(folder, 'events.db')).includes(Buffer.alloc(4096, 0xa5)));
    const replies = [];
    for (const route of allDevices) replies.push(await call('GET', route));
    const failed = replies.filter(({ status }) => status !== 200);
    assert.ok(failed.length > 0);
    for (const reply of failed) {
      assert.deepEqual(problemOf(reply), [500, 'storage-damaged']);
      assert.equal(reply.headers.get('retry-after'), null);
    }
    const ready = await call('GET', '/health/ready');
    assert.equal(ready.status, 503);
    assert.match(
      ready.json.detail,
      /eventStore \(\S+events\.db: it is damaged; stop the server and restore it/,
    );
  });
});
