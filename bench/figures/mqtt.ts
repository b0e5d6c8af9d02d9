import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Bench } from '../harness/bench.ts';
import { startPeer } from '../harness/peer.ts';
import { startFieldlog, startProcess } from '../harness/process.ts';
import type { Pending, Row } from '../harness/row.ts';
import { freePort } from '../harness/time-series-servers.ts';
import { watchUsage } from '../harness/usage.ts';
import type { MqttLoadPeer } from '../peers/mqtt-load.ts';

const connections = 200;
/** Messages a second. */
const rate = 20_000;

/** PUBACKs a second and how long they take, beside a broker that stores nothing; and what idle connections hold. */
export async function mqtt(bench: Bench): Promise<(Row | Pending)[]> {
  const folder = await bench.folder();
  const server = bench.keep(
    await startFieldlog('serve', {
      DATA_DIR: folder,
      MQTT_PORT: '0',
      MQTT_CONNECTIONS: '20000',
      AUTO_REGISTER: 'bench',
    }),
  );
  const [, own = ''] = await server.said(/mqtt:\/\/127\.0\.0\.1:(\d+)/);
  const load = bench.keep(startPeer<MqttLoadPeer>('publishers', 'mqtt-load.ts'));
  const broker = await startBroker(bench, folder);
  const seconds = bench.size(8, 1);
  const at = (port: string | number, pace?: number) =>
    load.call('publish', {
      port: Number(port),
      connections,
      seconds,
      window: pace === undefined ? 8 : 100,
      ...(pace && { rate: pace }),
    });
  const before = watchUsage('serve', server.pid)().memory ?? Number.NaN;
  const watch = watchUsage('serve, idle', server.pid);
  const count = await load.call('idle', { port: Number(own), connections: bench.size(10_000, 500) });
  const idle = watch();
  await load.call('close', undefined as never);
  await at(own, rate);

  // At a pace first: what as many as there can be leave to the projector takes long.
  const paced = await bench.inTurn(
    { run: async () => (await at(own, rate)).p99Ms, processes: [server, load] },
    { run: async () => (await at(broker.port, rate)).p99Ms, processes: [broker] },
  );
  const most = await bench.inTurn(
    { run: async () => (await at(own)).perSecond, processes: [server, load] },
    { run: async () => (await at(broker.port)).perSecond, processes: [broker] },
  );
  return [
    {
      figure: `MQTT QoS 1, ${connections} connections, 8 unacknowledged each, durable`,
      unit: 'messages/s',
      values: most.values,
      against: { what: 'mosquitto, which stores nothing', values: most.againstValues },
      target: { atLeast: rate },
      usage: most.usage,
    },
    {
      figure: `MQTT QoS 1, PUBACK P99 at ${rate} messages/s`,
      unit: 'ms',
      values: paced.values,
      against: { what: 'mosquitto, which stores nothing', values: paced.againstValues },
      target: { atMost: 50 },
      usage: paced.usage,
    },
    {
      figure: `memory that ${count} idle MQTT connections add to the server`,
      unit: 'MiB',
      values: [(idle.memory ?? Number.NaN) - before],
      target: { atMost: 300 },
      usage: [idle],
    },
  ];
}

async function startBroker(bench: Bench, folder: string) {
  const port = await freePort();
  const file = path.join(folder, 'mosquitto.conf');
  await writeFile(file, `listener ${port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\n`);
  const broker = bench.keep(startProcess('mosquitto', 'mosquitto', ['-c', file]));
  await broker.said(/mosquitto version .* running/);
  return { ...broker, port };
}
