import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { type HttpClient, httpClient } from '../support/http-client.ts';
import { Containers, describeWithContainers, type Ended } from './containers.ts';
import type { Pod } from './kubernetes-objects.ts';
import { yamlDocuments } from './yaml-file.ts';

const image = 'localhost/fieldlog:test';
const name = 'fieldlog';
const [deployment] = yamlDocuments('deploy/kubernetes/base/api.yaml') as readonly [
  { readonly spec: { readonly template: Pod } },
];
const [{ resources }] = deployment.spec.template.spec.containers;

/** As the manifests run it; the limits are small, for podman's own may be more than this machine allows. */
const confined = [
  '--read-only',
  '--tmpfs=/tmp',
  '--cap-drop=all',
  '--security-opt=no-new-privileges',
  `--memory=${resources.limits.memory.replace('Mi', 'm')}`,
  '--ulimit=nofile=1024:1024',
  '--ulimit=nproc=4096:4096',
  '--network=host',
  `--volume=${name}:/var/lib/fieldlog`,
];
const program = ['node', '--max-semi-space-size=16', 'interfaces/cli/fieldlog.mjs'];

describeWithContainers('The image, built by buildah and run by podman', function () {
  this.timeout(120_000);
  let containers: Containers;
  let url: string;
  let call: HttpClient;
  let Authorization: string;
  let waitFor: string;

  before(async function () {
    // The base is made in the first run of a machine.
    this.timeout(900_000);
    containers = await Containers.open();
    await containers.output('.ci/image', image);
    url = `http://127.0.0.1:${await freePort()}`;
    call = httpClient(url);
  });
  after(() => containers?.close());

  const podman = (...args: readonly string[]): Promise<Ended> => containers.run('podman', ...args);
  const once = (...args: readonly string[]) => podman('run', '--rm', ...confined, image, ...args);
  const within = (...args: readonly string[]) => podman('exec', name, ...args);
  const inspect = async (what: string, template: string): Promise<unknown> =>
    JSON.parse(await containers.output('podman', 'inspect', '--format', `{{json ${template}}}`, what));
  const serve = async (): Promise<void> => {
    const address = ['--env=HOST=127.0.0.1', `--env=PORT=${new URL(url).port}`];
    await containers.output('podman', 'run', '--detach', `--name=${name}`, ...confined, ...address, image);
    await ready();
  };
  const ready = () =>
    eventually(async () => assert.equal((await call('GET', '/health/ready')).status, 200), {
      within: 60_000,
      every: 100,
    });

  it('says how it is run and how its health is checked', async () => {
    const config = (await inspect(image, '.Config')) as Record<string, unknown>;
    assert.equal(config.User, '1000:1000');
    assert.deepEqual(config.Entrypoint, program);
    assert.deepEqual(config.Cmd, ['serve']);
    const health = (await inspect(image, '.HealthCheck')) as { Test: readonly string[] };
    assert.deepEqual(health.Test, ['CMD', 'node', 'deploy/container/health.mjs', 'api']);
  });

  it('answers a command, and refuses to be open to others before there is a key', async () => {
    assert.match((await once('--version')).out, /^\d+\.\d+\.\d+\n$/);
    const { code, out, err } = await once('serve');
    assert.deepEqual([code, out], [2, '']);
    assert.match(err, /^fieldlog: .*keys create/m);
  });

  it('makes a key, and runs confined as the manifests confine it', async () => {
    const scopes = 'devices:write,devices:read,telemetry:write,telemetry:read,operate';
    const made = await once('keys', 'create', '--name', 'test', '--scopes', scopes);
    assert.equal(made.code, 0, made.err);
    Authorization = `Bearer ${made.out.trim()}`;

    await serve();

    const { out } = await within('cat', '/proc/1/status');
    assert.match(out, /^Uid:\s+1000\s+1000\s+1000\s+1000$/m);
    assert.match(out, /^CapEff:\s+0{16}$/m);
    assert.match(out, /^CapBnd:\s+0{16}$/m);
    assert.match((await within('touch', '/app/new')).err, /Read-only file system/);
    assert.equal(await inspect(name, '.HostConfig.Memory'), 512 * 1024 * 1024);
  });

  it('is healthy', async () => {
    const { code, out, err } = await podman('healthcheck', 'run', name);
    assert.equal(code, 0, out + err);
  });

  it('asks for the key, stores readings and answers queries', async () => {
    assert.equal((await call('GET', '/api/v1/devices')).status, 401);
    const headers = { Authorization };
    const device = { deviceId: 'boiler-1', name: 'Boiler 1', type: 'boiler' };
    assert.equal((await call('POST', '/api/v1/devices', { json: device, headers })).status, 201);
    const reading = { deviceId: 'boiler-1', metrics: { temperature: 21.5 } };
    const accepted = await call('POST', '/api/v1/telemetry', { json: reading, headers });
    assert.equal(accepted.status, 202, accepted.text);
    waitFor = accepted.json.positions.join(',');
    await temperatureIs(21.5);
  });

  it('runs commands beside the server, with their exit codes', async () => {
    const { code, out, err } = await within(...program, 'audit');
    assert.deepEqual([code, err], [0, '']);
    assert.match(out, /No difference/);
    assert.equal((await within(...program, 'devices', '--none')).code, 2);
  });

  it('refuses small requests that hold much, eight at once by the token of a device, within its memory', async () => {
    // Less than 10 KB that are 10 MB once inflated.
    const flood = Uint8Array.from(gzipSync(`[${'{},'.repeat(3_333_333)}{}]`));
    const { json } = await call('POST', '/api/v1/devices', {
      json: { deviceId: 'boiler-2', name: 'Boiler 2', type: 'boiler', issueToken: true },
      headers: { Authorization },
    });
    const headers = {
      Authorization: `Bearer ${json.token}`,
      'Content-Type': 'application/json',
      'Content-Encoding': 'gzip',
    };
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => call('POST', '/api/v1/telemetry', { body: flood, headers })),
    );
    assert.deepEqual(
      answers.map(({ status }) => status),
      answers.map(() => 413),
    );
    assert.equal(await inspect(name, '.State.OOMKilled'), false);
    await temperatureIs(21.5);
  });

  it('ends well by SIGTERM, within its time', async () => {
    await containers.output('podman', 'stop', '--time', '20', name);
    assert.equal(await inspect(name, '.State.ExitCode'), 0);
    await assert.rejects(fetch(url));
  });

  it('has its data and its key when it is started again on its volume, after SIGKILL too', async () => {
    await containers.output('podman', 'start', name);
    await ready();
    await temperatureIs(21.5);
    await containers.output('podman', 'kill', '--signal', 'KILL', name);
    await containers.output('podman', 'wait', name);
    await containers.output('podman', 'rm', name);
    await serve();
    await temperatureIs(21.5);
    assert.equal((await call('GET', '/api/v1/devices')).status, 401);
  });

  async function temperatureIs(expected: number): Promise<void> {
    const latest = `/api/v1/devices/boiler-1/telemetry/latest?waitFor=${waitFor}`;
    const { status, json, text } = await call('GET', latest, { headers: { Authorization } });
    assert.equal(status, 200, text);
    assert.deepEqual(
      json.points.map(({ metric, value }: { metric: string; value: unknown }) => [metric, value]),
      [['temperature', expected]],
    );
  }
});
