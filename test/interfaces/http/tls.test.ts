import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect } from 'node:tls';
import express from 'express';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { openLog } from '../../../interfaces/composition/process.ts';
import { serve } from '../../../interfaces/composition/roles.ts';
import { expressServer } from '../../../interfaces/http/listener.ts';
import { runCli } from '../../support/cli.ts';
import { eventually } from '../../support/eventually.ts';
import { selfSigned } from '../../support/self-signed.ts';

describe('HTTPS', function () {
  this.timeout(60_000);
  let folder: string;
  let certFile: string;
  let keyFile: string;
  const first = selfSigned();
  const env = () => ({
    PORT: '0',
    DATA_DIR: path.join(folder, 'data'),
    TLS_CERT_FILE: certFile,
    TLS_KEY_FILE: keyFile,
  });

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-tls-'));
    certFile = path.join(folder, 'cert.pem');
    keyFile = path.join(folder, 'key.pem');
  });
  beforeEach(() => write(first));
  after(() => rm(folder, { recursive: true }));

  async function write({ cert, key }: { readonly cert: string; readonly key: string }): Promise<void> {
    await Promise.all([writeFile(certFile, cert), writeFile(keyFile, key)]);
  }

  /** Trusts `ca` alone, as a client that was given this certificate does. */
  async function statusOf(url: URL, ca: string): Promise<number | undefined> {
    const request = get({
      port: url.port,
      path: '/health/live',
      ca,
      host: '127.0.0.1',
      servername: 'localhost',
      agent: false,
    });
    const [response] = await once(request, 'response');
    response.resume();
    return response.statusCode;
  }

  it('serves MQTT by the same certificate, where MQTT_TLS says so', async () => {
    const config = configFrom({ ...env(), MQTT_PORT: '0', MQTT_TLS: 'true' });
    const served = await serve(config, openLog('silent', 'test'));
    try {
      const url = new URL(served.mqttUrl ?? assert.fail());
      assert.equal(url.protocol, 'mqtts:');
      const socket = connect({
        host: url.hostname,
        port: Number(url.port),
        ca: first.cert,
        servername: 'localhost',
      });
      await once(socket, 'secureConnect');
      socket.destroy();
    } finally {
      await served.close();
    }
  });

  it('serves by the certificate of the files, and no client in plain text', async () => {
    const served = await serve(configFrom(env()), openLog('silent', 'test'));
    const url = new URL(served.url);
    assert.equal(url.protocol, 'https:');
    assert.equal(await statusOf(url, first.cert), 200);
    await assert.rejects(statusOf(url, selfSigned().cert), /self-signed|certificate/);
    await assert.rejects(fetch(`http://127.0.0.1:${url.port}/health/live`));
    await served.close();
  });

  it('is seen to live by the health check of the container, and a worker beside it by HTTP', async () => {
    const served = await serve(configFrom(env()), openLog('silent', 'test'));
    const { port } = new URL(served.url);
    assert.deepEqual(await healthCheck('api', { ...env(), PORT: port }), [0, '200\n']);
    const [code] = await healthCheck('projector', { ...env(), WORKER_PORT: port });
    assert.equal(code, 1);
    await served.close();
    assert.deepEqual(await healthCheck('api', { ...env(), PORT: port }), [1, '']);
  });

  it('takes a renewed certificate without a restart, once it and its key match', async () => {
    const served = await serve(configFrom(env()), openLog('silent', 'test'));
    const url = new URL(served.url);
    const renewed = selfSigned();
    await writeFile(certFile, renewed.cert);
    await writeFile(keyFile, renewed.key);
    await eventually(async () => assert.equal(await statusOf(url, renewed.cert), 200), {
      within: 30_000,
      every: 200,
    });
    await served.close();
  });

  async function healthCheck(role: string, variables: Record<string, string>): Promise<[number, string]> {
    const script = path.resolve(import.meta.dirname, '../../../deploy/container/health.mjs');
    const child = spawn(process.execPath, [script, role], { env: variables });
    const [out, [code]] = await Promise.all([child.stdout.toArray(), once(child, 'close')]);
    return [code, Buffer.concat(out).toString()];
  }

  const wrong: readonly (readonly [what: string, spoil: () => Promise<void>, says: RegExp])[] = [
    [
      'the key of another certificate',
      () => writeFile(keyFile, selfSigned().key),
      /TLS_CERT_FILE and TLS_KEY_FILE must be a certificate in PEM and its key: .*mismatch/,
    ],
    ['no certificate', () => writeFile(certFile, 'hello'), /must be a certificate in PEM/],
    ['no file', () => rm(certFile), /TLS_CERT_FILE names .*cert\.pem, which cannot be read: ENOENT/],
  ];
  for (const [what, spoil, says] of wrong)
    it(`does not start with ${what}`, async () => {
      await spoil();
      const { code, err } = await runCli(['serve'], { env: env() });
      assert.equal(code, 2);
      assert.match(err, says);
      assert.equal(err.trimEnd().split('\n').length, 1);
    });

  it('does not start with half of a pair', async () => {
    const { TLS_KEY_FILE: _, ...half } = env();
    const { code, err } = await runCli(['serve'], { env: half });
    assert.equal(code, 2);
    assert.match(err, /TLS needs both TLS_CERT_FILE and TLS_KEY_FILE/);
  });

  it("hands Express requests and responses that are Express's own, without changing a prototype", async () => {
    const app = express();
    const born: boolean[] = [];
    const server = expressServer(app, first);
    server.prependListener('request', (req, res) => {
      born.push(Object.getPrototypeOf(req) === app.request, Object.getPrototypeOf(res) === app.response);
    });
    app.get('/', (req, res) => void res.json({ secure: req.secure, protocol: req.protocol }));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const socket = connect({ port, host: '127.0.0.1', ca: first.cert, servername: 'localhost' });
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    const text = (await socket.toArray()).join('');
    server.close();
    assert.match(text, /\{"secure":true,"protocol":"https"\}/);
    assert.deepEqual(born, [true, true]);
  });
});
