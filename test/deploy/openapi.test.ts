import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { type RunningServer, runningServer } from '../support/running-server.ts';
import { describeWith, itWith, run } from './tools.ts';
import { root } from './yaml-file.ts';

const scopes = 'operate,devices:write,devices:read,telemetry:write,telemetry:read';

describe('The OpenAPI document', function () {
  this.timeout(900_000);
  let server: RunningServer;
  let folder: string;
  let file: string;
  let key: string;

  before(async () => {
    server = await runningServer();
    const made = await server.command('keys', 'create', '--name', 'ci', '--scopes', scopes, '--json');
    ({ key } = JSON.parse(made.out));
    folder = mkdtempSync(path.join(tmpdir(), 'fieldlog-openapi-'));
    file = path.join(folder, 'openapi.json');
    const { text } = await server.call('GET', '/openapi.json');
    writeFileSync(file, text);
  });
  after(async () => {
    await server?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  itWith('redocly', 'is valid by redocly without a warning', (redocly) => {
    const { totals } = JSON.parse(
      redocly('lint', `--config=${path.join(root, '.ci/openapi/redocly.yaml')}`, '--format=json', file),
    );
    assert.deepEqual([totals.errors, totals.warnings], [0, 0]);
  });

  itWith('spectral', 'is valid by spectral without a warning', (spectral) => {
    spectral('lint', '--fail-severity=hint', '--ruleset', path.join(root, '.ci/openapi/spectral.yml'), file);
  });

  describeWith(['schemathesis'], 'by schemathesis, with a fixed seed', () => {
    it('accepts what it says and refuses the rest, in every operation', () => {
      // It looks for its hooks where it is started.
      const script =
        'cd .ci/openapi && PYTHONPATH=. exec schemathesis --config-file schemathesis.toml run "$0" -H "$1" --no-color --warnings off';
      run('sh', '-c', script, `${server.url}/openapi.json`, `Authorization: Bearer ${key}`);
    });
  });

  describeWith(['openapi-python-client'], 'makes clients', () => {
    it('is made without a warning', () => void run('clients/build', server.url));

    it('in TypeScript registers a device, sends a reading and reads it', async () => {
      const built = pathToFileURL(path.join(root, 'clients/typescript/dist/index.js')).href;
      const { fieldlogClient } = await import(built);
      const api = fieldlogClient({ baseUrl: server.url, apiKey: key });
      const device = { deviceId: 'typed', name: 'T', type: 'test' };
      assert.equal((await api.POST('/api/v1/devices', { body: device })).response.status, 201);
      const reading = { deviceId: 'typed', timestamp: 1_767_225_600_000, metrics: { temp: 20.5 } };
      const sent = await api.POST('/api/v1/telemetry', { body: reading });
      const found = await api.GET('/api/v1/devices/{deviceId}/telemetry', {
        params: { path: { deviceId: 'typed' }, query: { waitFor: sent.data.positions } },
      });
      assert.deepEqual(found.data.points, [
        { timestamp: '2026-01-01T00:00:00.000Z', metric: 'temp', value: 20.5 },
      ]);
      const paused = await api.POST('/api/v1/devices/{deviceId}/reinstate', {
        params: { path: { deviceId: 'typed' } },
      });
      assert.equal(paused.response.status, 200);
      const { error } = await api.GET('/api/v1/devices/{deviceId}', { params: { path: { deviceId: 'no' } } });
      assert.match(error.type, /device-not-registered$/);
    });

    it('in Python compiles', () => {
      run('python3', '-m', 'compileall', '-q', 'clients/python/fieldlog_client');
    });
  });
});
