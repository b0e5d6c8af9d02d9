import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { generate } from 'mqtt-packet';
import { serveCalls } from '../harness/peer.ts';

/** Publishers of MQTT 3.1.1 with as little of their own as can be: PUBACKs are counted, not parsed by a library. */
export type MqttLoadPeer = typeof calls;

type Load = {
  readonly port: number;
  readonly connections: number;
  readonly seconds: number;
  /** Publications of one connection that are not acknowledged yet, at most. */
  readonly window: number;
  /** Publications a second of all connections; as many as there can be when absent. */
  readonly rate?: number;
};

type Taken = { readonly perSecond: number; readonly p99Ms: number };

const pubackBytes = 4;

const calls = {
  /** QoS 1. The first second is not counted. */
  async publish(load: Load): Promise<Taken> {
    const publishers = await Promise.all(
      Array.from({ length: load.connections }, (_, i) => publisher(load, i)),
    );
    await pause(1000);
    for (const one of publishers) one.latencies.length = 0;
    const began = performance.now();
    await pause(load.seconds * 1000);
    const elapsed = (performance.now() - began) / 1000;
    const latencies = publishers.flatMap((one) => one.latencies).sort((a, b) => a - b);
    for (const one of publishers) one.stop();
    const p99Ms = latencies[Math.floor(latencies.length * 0.99)] ?? Number.NaN;
    return { perSecond: latencies.length / elapsed, p99Ms };
  },

  /** Opens connections that do nothing, until `close`. */
  async idle({ port, connections }: { port: number; connections: number }): Promise<number> {
    for (let i = 0; i < connections; i += 100)
      idling.push(
        ...(await Promise.all(Array.from({ length: 100 }, (_, j) => connected(port, `idle-${i + j}`)))),
      );
    return idling.length;
  },

  async close(): Promise<void> {
    for (const socket of idling.splice(0)) socket.destroy();
  },
};

const idling: Socket[] = [];

async function connected(port: number, clientId: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  socket.write(
    generate({
      cmd: 'connect',
      clientId,
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      keepalive: 600,
    }),
  );
  await new Promise((resolve, reject) => {
    socket.once('data', resolve);
    socket.once('error', reject);
  });
  return socket;
}

async function publisher({ port, window, rate, connections }: Load, number: number) {
  const socket = await connected(port, `load-${number}`);
  const sentAt: number[] = [];
  const latencies: number[] = [];
  let first = 0;
  let messageId = 0;
  let bytes = 0;
  let sentCount = 0;
  const began = performance.now() + (number / connections) * 10;

  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    const now = performance.now();
    for (; bytes >= pubackBytes; bytes -= pubackBytes) {
      latencies.push(now - (sentAt[first] ?? now));
      first += 1;
    }
    if (rate === undefined) fill();
  });
  const timer = rate === undefined ? undefined : setInterval(keepRate, 5);
  if (rate === undefined) fill();
  return {
    latencies,
    stop() {
      clearInterval(timer);
      socket.destroy();
    },
  };

  /** What is late is sent late, and its time runs from when it was sent: the window bounds it. */
  function keepRate(): void {
    const due = Math.floor(((performance.now() - began) / 1000) * ((rate ?? 0) / connections));
    const packets: Buffer[] = [];
    while (sentCount < due && sentAt.length - first < window) packets.push(next());
    if (packets.length > 0) socket.write(Buffer.concat(packets));
  }

  function fill(): void {
    const packets: Buffer[] = [];
    while (sentAt.length - first < window) packets.push(next());
    if (packets.length > 0) socket.write(Buffer.concat(packets));
  }

  function next(): Buffer {
    messageId = (messageId % 65_535) + 1;
    sentCount += 1;
    sentAt.push(performance.now());
    const payload = `{"ts":${1_790_000_000_000 + sentCount},"values":{"temperature":${sentCount % 100},"humidity":50}}`;
    const topic = `fieldlog/d-${number}/telemetry`;
    return generate({ cmd: 'publish', topic, payload, qos: 1, dup: false, retain: false, messageId });
  }
}

serveCalls(calls);
