import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import mqtt from 'mqtt';
import { eventually } from '../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../support/fieldlog-process.ts';
import { freePort } from '../support/free-port.ts';
import { httpClient } from '../support/http-client.ts';

// The whole number of them by KILLS=20, before a change of how publications are taken.
const kills = Number(process.env.KILLS ?? 5);
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

      const call = httpClient(url);
      await eventually(
        async () => {
          const { json: status } = await call('GET', '/api/v1/status');
          const { stored, duplicate, corrected, deadLettered } = status.ledger;
          assert.deepEqual(
            { stored, corrected, deadLettered },
            { stored: sent, corrected: 0, deadLettered: 0 },
          );
          assert.ok(duplicate >= 0);
        },
        { within: 60_000 },
      );
    } finally {
      for (const client of clients) client.end(true);
    }
  });
});
