import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import mqtt from 'mqtt';
import type { Certificate } from '../../../interfaces/http/listener.ts';
import { describeWith } from '../../deploy/tools.ts';
import { eventually } from '../../support/eventually.ts';
import { mqttEndpoint } from '../../support/mqtt-endpoint.ts';
import { selfSigned } from '../../support/self-signed.ts';

describe('The MQTT endpoint by TLS', function () {
  this.timeout(20_000);
  const first = selfSigned();
  let at: ReturnType<typeof mqttEndpoint>;
  let port: number;
  const open: { end(): void }[] = [];

  beforeEach(async () => {
    at = mqttEndpoint({ certificate: first });
    ({ port } = await at.server.listen(0, '127.0.0.1'));
  });
  afterEach(async () => {
    for (const one of open.splice(0)) one.end();
    await at.server.close(1000);
  });

  /** Trusts this certificate alone. */
  function client(certificate: Certificate) {
    const made = mqtt.connect({
      ...{ protocol: 'mqtts', host: '127.0.0.1', servername: 'localhost', port, ca: certificate.cert },
      ...{ username: 'token-a', protocolVersion: 5, reconnectPeriod: 0 },
    });
    open.push({ end: () => void made.end(true) });
    return made;
  }

  function handshake(options: object): TLSSocket {
    const socket = connectTls({
      host: '127.0.0.1',
      servername: 'localhost',
      port,
      ca: first.cert,
      ...options,
    });
    open.push({ end: () => void socket.destroy() });
    return socket;
  }

  const taken = () => at.taken.map(({ metrics }) => metrics.t);

  it('takes readings, and acknowledges them', async () => {
    const one = client(first);
    await one.publishAsync('v1/devices/me/telemetry', '{"ts":1790000000000,"values":{"t":1}}', { qos: 1 });
    assert.deepEqual(at.taken, [{ deviceId: 'a', timestamp: 1_790_000_000_000, metrics: { t: 1 } }]);
  });

  describeWith(['mosquitto_pub'], 'by mosquitto_pub', () => {
    it('takes readings, and acknowledges them', async () => {
      const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-mqtts-'));
      const authority = path.join(folder, 'cert.pem');
      await writeFile(authority, first.cert);
      try {
        const { stderr } = await promisify(execFile)('mosquitto_pub', [
          ...['-h', 'localhost', '-p', String(port), '-V', 'mqttv5', '-q', '1', '--cafile', authority],
          ...['-u', 'token-a', '-t', 'v2/t', '-m', '{"t": 1}'],
        ]);
        assert.equal(stderr, '');
        assert.deepEqual(taken(), [1]);
      } finally {
        await rm(folder, { recursive: true });
      }
    });
  });

  it('shows the certificate that it was given, and a renewed one to who comes later', async () => {
    const one = client(first);
    await new Promise<void>((resolve) => one.once('connect', () => resolve()));
    const refused = await new Promise<Error>((resolve) => client(selfSigned()).once('error', resolve));
    assert.match(refused.message, /self.signed certificate/);
    const renewed = selfSigned();
    at.server.renew(renewed);
    const later = client(renewed);
    await later.publishAsync('v1/devices/me/telemetry', '{"ts":1790000000000,"values":{"t":2}}', { qos: 1 });
    // The other connection stays.
    await one.publishAsync('v1/devices/me/telemetry', '{"ts":1790000000001,"values":{"t":3}}', { qos: 1 });
    assert.deepEqual(taken(), [2, 3]);
  });

  it('refuses plain text, and TLS before 1.2', async () => {
    const plain = connectSocket(port, '127.0.0.1');
    open.push({ end: () => void plain.destroy() });
    plain.on('error', () => {});
    const answered: Buffer[] = [];
    plain.on('data', (bytes) => answered.push(bytes));
    // A CONNECT of MQTT 3.1.1 with the user name `token-a`.
    plain.write(Buffer.from('101700044d51545404820000000000077461', 'hex'));
    plain.write('oken-a');
    await once(plain, 'close');
    // At most an alert of TLS.
    assert.ok(Buffer.concat(answered).length === 0 || answered[0]?.[0] === 0x15);
    const old = handshake({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' });
    await assert.rejects(once(old, 'secureConnect'));
    assert.match(await at.metrics.metrics(), /^fieldlog_mqtt_connections 0$/m);
  });

  it('continues after clients that leave in the middle of a handshake', async () => {
    const away = Array.from({ length: 20 }, (_, i) => {
      const socket = connectSocket(port, '127.0.0.1');
      socket.on('error', () => {});
      // The beginning of a ClientHello.
      socket.write(Buffer.from('16030100c8010000c40303', 'hex').subarray(0, 1 + (i % 11)));
      return socket;
    });
    await Promise.all(away.map((socket) => once(socket, 'connect')));
    for (const socket of away) socket.resetAndDestroy();
    const one = client(first);
    await one.publishAsync('v1/devices/me/telemetry', '{"ts":1790000000000,"values":{"t":1}}', { qos: 1 });
    await eventually(async () => assert.match(await at.metrics.metrics(), /^fieldlog_mqtt_connections 1$/m));
  });
});
