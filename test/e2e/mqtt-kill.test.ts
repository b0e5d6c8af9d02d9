import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import mqtt from 'mqtt';
import { configFrom } from '../../infrastructure/config/config.ts';
import { StartupError } from '../../infrastructure/startup-error.ts';
import { openLog } from '../../interfaces/composition/process.ts';
import { serve } from '../../interfaces/composition/roles.ts';
import { describeWith } from '../deploy/tools.ts';
import { eventually } from '../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../support/fieldlog-process.ts';
import { freePort } from '../support/free-port.ts';
import { httpClient } from '../support/http-client.ts';
import { Mosquitto, passwordLine } from '../support/mosquitto.ts';

// The whole number of them by KILLS=20, before a change of how publications are taken.
const kills = Number(process.env.KILLS ?? (process.env.CI ? 5 : 2));
const device = 'device-1';

describe('A server killed under load by MQTT', function () {
  this.timeout(240_000);
  let folder: string;
  let server: FieldlogProcess | undefined;
  let url = '';
  let mqttPort: number;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-mqtt-kill-'));
    mqttPort = await freePort();
  });
  after(async () => {
    await server?.end('SIGKILL');
    await rm(folder, { recursive: true });
  });

  async function start(): Promise<void> {
    server = fieldlog(['serve'], { DATA_DIR: folder, PORT: '0', MQTT_PORT: String(mqttPort) });
    [, url = ''] = await server.says(/(http:\/\/\S+)/);
  }

  it(`${kills} times over still has every reading it acknowledged, once`, async () => {
    await start();
    const json = { deviceId: device, name: device, type: 'test' };
    assert.equal((await httpClient(url)('POST', '/api/v1/devices', { json })).status, 201);
    const clients = ([4, 5] as const).map((protocolVersion) =>
      mqtt.connect({
        host: '127.0.0.1',
        port: mqttPort,
        reconnectPeriod: 50,
        protocolVersion,
        clientId: `c-${protocolVersion}`,
      }),
    );
    try {
      const acknowledged = new Set<number>();
      let sent = 0;
      let isOver = false;
      /** What is not acknowledged the client itself sends again, once it is connected. */
      const load = clients.map(async (client) => {
        client.on('error', () => {});
        const publish = async () => {
          while (!isOver) {
            sent += 1;
            const n = sent;
            const reading = JSON.stringify({ timestamp: new Date(n).toISOString(), metrics: { n } });
            await client.publishAsync(`fieldlog/${device}/telemetry`, reading, { qos: 1 });
            acknowledged.add(n);
          }
        };
        await Promise.all(Array.from({ length: 20 }, publish));
      });
      for (let kill = 0; kill < kills; kill += 1) {
        const before = acknowledged.size;
        await eventually(() => assert.ok(acknowledged.size > before + 200), { within: 30_000 });
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 200));
        await server?.end('SIGKILL');
        await start();
      }
      isOver = true;
      await Promise.all(load);
      assert.equal(acknowledged.size, sent);

      await everyReadingOnce(url, sent);
    } finally {
      for (const client of clients) client.end(true);
    }
  });
});

describeWith(['mosquitto'], 'A server killed under load by an MQTT broker', function () {
  this.timeout(120_000);
  let folder: string;
  let broker: Mosquitto;
  let server: FieldlogProcess | undefined;
  let url = '';

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-mqtt-bridge-'));
    broker = await Mosquitto.start(['allow_anonymous false', 'password_file $FOLDER/users'], {
      users: passwordLine('bridge', 'secret'),
    });
  });
  after(async () => {
    await server?.end('SIGKILL');
    await broker?.remove();
    await rm(folder, { recursive: true });
  });

  const brokerUrl = (password: string) => `mqtt://bridge:${password}@127.0.0.1:${broker.port}`;

  async function start(): Promise<void> {
    server = fieldlog(['serve'], {
      ...{ DATA_DIR: folder, PORT: '0', AUTO_REGISTER: 'plant' },
      ...{ MQTT_BROKER_URL: brokerUrl('secret'), MQTT_BROKER_CLIENT_ID: 'node-1' },
    });
    [, url = ''] = await server.says(/(http:\/\/\S+)/);
  }

  it('has every reading that the broker acknowledged, once, and says how it stands with the broker', async () => {
    await start();
    const client = mqtt.connect(brokerUrl('secret'), { protocolVersion: 5, reconnectPeriod: 50 });
    try {
      let sent = 0;
      let acknowledged = 0;
      for (let kill = 0; kill < 3; kill += 1) {
        const publish = async () => {
          for (let i = 0; i < 20; i += 1) {
            sent += 1;
            const reading = JSON.stringify({ timestamp: new Date(sent).toISOString(), metrics: { n: 1 } });
            await client.publishAsync(`fieldlog/${device}/telemetry`, reading, { qos: 1 });
            acknowledged += 1;
          }
        };
        const load = Promise.all(Array.from({ length: 20 }, publish));
        await eventually(() => assert.ok(acknowledged > sent / 2));
        await server?.end('SIGKILL');
        await load;
        await start();
      }
      await everyReadingOnce(url, acknowledged);

      const call = httpClient(url);
      const readiness = async () => (await call('GET', '/health/ready')).json.checks.mqttBroker;
      assert.equal(await readiness(), 'ok');
      await broker.stop();
      await eventually(async () => assert.equal(await readiness(), 'failed'));
      assert.equal((await call('GET', '/health/ready?dependency=mqttBroker')).status, 503);
      const { text } = await call('GET', '/metrics');
      assert.match(text, /^fieldlog_mqtt_bridge_connections 0$/m);
      await broker.start();
      await eventually(async () => assert.equal(await readiness(), 'ok'));
    } finally {
      client.end(true);
    }
  });

  it('does not start where the broker refuses', async () => {
    const start = (env: object) =>
      serve(
        configFrom({ PORT: '0', DATA_DIR: path.join(folder, 'other'), ...env }),
        openLog('silent', 'test'),
      );
    await assert.rejects(start({ MQTT_BROKER_URL: brokerUrl('wrong') }), (error) => {
      assert.ok(error instanceof StartupError);
      return /^The MQTT broker of MQTT_BROKER_URL refuses: .*Not authorized; .*$/.test(error.message);
    });
    const named = { MQTT_BROKER_URL: brokerUrl('secret'), MQTT_BROKER_CA_FILE: 'gone.pem' };
    await assert.rejects(start(named), /MQTT_BROKER_CA_FILE names gone\.pem, which cannot be read/);
  });
});

async function everyReadingOnce(url: string, sent: number): Promise<void> {
  const call = httpClient(url);
  await eventually(
    async () => {
      const { json: status } = await call('GET', '/api/v1/status');
      const { stored, duplicate, corrected, deadLettered } = status.ledger;
      assert.deepEqual({ stored, corrected, deadLettered }, { stored: sent, corrected: 0, deadLettered: 0 });
      assert.ok(duplicate >= 0);
    },
    { within: 60_000 },
  );
}
