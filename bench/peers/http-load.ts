import { setTimeout as pause } from 'node:timers/promises';
import { LoadConnection } from '../harness/load-connection.ts';
import { serveCalls } from '../harness/peer.ts';
import { percentile } from '../harness/statistics.ts';
import { bodies, type Workload } from '../harness/workload.ts';

export type LoadRun = {
  /** With path and query: where readings are posted to. */
  readonly url: string;
  readonly workload: Workload;
  readonly connections: number;
  /** How long, or how many readings, whichever comes first. */
  readonly seconds: number;
  readonly readings?: number;
  /** Readings a second; as fast as they are answered when absent. */
  readonly rate?: number;
};

export type LoadResult = {
  readonly requests: number;
  readonly readings: number;
  readonly seconds: number;
  /** Requests answered otherwise than with 2xx. */
  readonly errors: number;
  /** Milliseconds; with a rate, from when a request was due, so that a slow answer is not hidden by a late request. */
  readonly latency: { readonly p50: number; readonly p95: number; readonly p99: number };
};

/** A workload continues where the last run left it, so that no reading is ever sent twice to one server. */
const streams = new Map<string, () => string>();

export type HttpLoad = typeof calls;
const calls = { run };
serveCalls(calls);

async function run({ url, workload, connections, seconds, readings, rate }: LoadRun): Promise<LoadResult> {
  const target = new URL(url);
  const request = requests(target, workload);
  const most = Math.ceil((readings ?? Number.POSITIVE_INFINITY) / workload.perRequest);
  const began = performance.now();
  const deadline = began + seconds * 1000;
  const latencies: number[] = [];
  let sent = 0;
  let errors = 0;

  await Promise.all(
    Array.from({ length: connections }, async () => {
      const connection = new LoadConnection(target);
      while (sent < most && performance.now() < deadline) {
        const due =
          rate === undefined ? performance.now() : began + (sent * workload.perRequest * 1000) / rate;
        sent += 1;
        if (due > performance.now()) await pause(due - performance.now());
        const status = await connection.send(request());
        if (status < 200 || status > 299) errors += 1;
        latencies.push(performance.now() - due);
      }
      connection.close();
    }),
  );
  return {
    requests: sent,
    readings: (sent - errors) * workload.perRequest,
    seconds: (performance.now() - began) / 1000,
    errors,
    latency: {
      p50: percentile(latencies, 0.5),
      p95: percentile(latencies, 0.95),
      p99: percentile(latencies, 0.99),
    },
  };
}

function requests(url: URL, workload: Workload): () => string {
  const key = `${url.href} ${workload.perRequest}`;
  const next = streams.get(key) ?? bodies(workload);
  streams.set(key, next);
  // A page could send plain text unasked: without API keys the server wants a header that no page can send.
  const type = workload.format === 'fieldlog' ? 'application/json' : 'text/plain\r\nX-Requested-With: bench';
  const head = `POST ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Type: ${type}\r\n`;
  return () => {
    const body = next();
    return `${head}Content-Length: ${body.length}\r\n\r\n${body}`;
  };
}
