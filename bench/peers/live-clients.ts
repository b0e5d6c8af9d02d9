import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { LoadConnection } from '../harness/load-connection.ts';
import { serveCalls } from '../harness/peer.ts';
import { percentile } from '../harness/statistics.ts';
import { deviceId } from '../harness/workload.ts';

/** Clients of live streams, and the sender of what they are sent, so that one clock times it. */
export type LiveClientsPeer = typeof calls;

type Load = {
  readonly url: string;
  readonly devices: number;
  readonly seconds: number;
  /** Of each device. */
  readonly perSecond: number;
};

const perRequest = 100;

const calls = {
  /** As many more streams as there are devices, one of each; resolves when all of them have begun. */
  async open({ url, streams }: { url: string; streams: number }): Promise<void> {
    const { hostname, port, host } = new URL(url);
    const began = async (n: number) => {
      const socket = connect(Number(port), hostname);
      socket.write(
        `GET /api/v1/live?deviceId=${deviceId(n)} HTTP/1.1\r\nHost: ${host}\r\nAccept: text/event-stream\r\n\r\n`,
      );
      await new Promise((resolve, reject) => {
        socket.once('data', resolve);
        socket.once('error', reject);
      });
      socket.on('data', (part) => note(part.toString('latin1')));
    };
    for (let from = 0; from < streams; from += 50)
      await Promise.all(Array.from({ length: Math.min(50, streams - from) }, (_, i) => began(from + i)));
  },

  /**
   * Readings of every device at an even pace. Milliseconds from before a reading was sent, so with the time until it
   * was durable, until its client had it. The first second is not counted.
   */
  async run({ url, devices, seconds, perSecond }: Load): Promise<{ p95: number; received: number }> {
    const target = new URL(url);
    const connection = new LoadConnection(target);
    const requests = (devices / perRequest) * perSecond * (seconds + 1);
    const began = performance.now();
    latencies.length = 0;
    for (let i = 0; i < requests; i += 1) {
      if (i === requests / (seconds + 1)) latencies.length = 0;
      const due = began + (i * perRequest * 1000) / (devices * perSecond);
      if (due > performance.now()) await pause(due - performance.now());
      const first = (i * perRequest) % devices;
      const status = await connection.send(request(target, first));
      if (status !== 202) throw new Error(`readings were answered with ${status}`);
    }
    await pause(1000);
    connection.close();
    return { p95: percentile(latencies, 0.95), received: latencies.length };
  },
};

const latencies: number[] = [];

/** An event that comes in two parts is not counted. */
function note(text: string): void {
  const now = Date.now();
  for (const [, sentAt] of text.matchAll(/"sentAt":(\d{13})/g)) latencies.push(now - Number(sentAt));
}

function request({ host }: URL, first: number): string {
  const now = Date.now();
  const readings = Array.from(
    { length: perRequest },
    (_, i) => `{"deviceId":"${deviceId(first + i)}","timestamp":${now},"metrics":{"sentAt":${now}}}`,
  );
  const body = `[${readings.join(',')}]`;
  const head = `POST /api/v1/telemetry HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\n`;
  return `${head}Content-Length: ${body.length}\r\n\r\n${body}`;
}

serveCalls(calls);
