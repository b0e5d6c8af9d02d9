import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { eventually } from './eventually.ts';
import { type FieldlogProcess, fieldlog } from './fieldlog-process.ts';
import { type HttpClient, httpClient } from './http-client.ts';

export type RunningServer = {
  readonly url: string;
  readonly call: HttpClient;
  /** The variables that name its stores. */
  readonly stores: Readonly<Record<string, string>>;
  /** Runs a command on the same stores to its end. */
  command(
    ...args: string[]
  ): Promise<{ readonly code: number | null; readonly out: string; readonly err: string }>;
  /** Starts a command on the same stores. */
  start(...args: string[]): FieldlogProcess;
  register(...deviceIds: string[]): Promise<void>;
  /** Sends readings `{ n }` at these times, and resolves once they are accepted. */
  measure(deviceId: string, timestamps: readonly number[]): Promise<void>;
  /** Resolves once nothing waits to be consumed. */
  settled(): Promise<void>;
  close(): Promise<void>;
};

/**
 * `fieldlog serve` in a process of its own, on stores of its own; or other roles, each in one, the first of which
 * is the one that is called.
 */
export async function runningServer(
  env: Readonly<Record<string, string>> = {},
  roles: readonly [string, ...string[]] = ['serve'],
): Promise<RunningServer> {
  const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-served-'));
  const stores = { ...env, DATA_DIR: folder };
  const processes = roles.map((role) => fieldlog([role], { ...stores, PORT: '0', WORKER_PORT: '0' }));
  const said = await Promise.all(processes.map((one) => one.says(/(http:\/\/\S+)/, 60_000)));
  const url = said[0]?.[1] ?? '';
  const call = httpClient(url);
  const start = (...args: string[]) => fieldlog(args, stores);

  return {
    url,
    call,
    stores,
    start,

    async command(...args) {
      const process = start(...args);
      let out = '';
      process.child.stdout?.on('data', (text: string) => {
        out += text;
      });
      const code = await new Promise<number | null>((resolve) => process.child.once('close', resolve));
      return { code, out, err: process.errors() };
    },

    async register(...deviceIds) {
      for (const deviceId of deviceIds) {
        const { status, text } = await call('POST', '/api/v1/devices', {
          json: { deviceId, name: deviceId, type: 'test' },
        });
        assert.equal(status, 201, text);
      }
    },

    async measure(deviceId, timestamps) {
      const readings = timestamps.map((timestamp) => ({ deviceId, timestamp, metrics: { n: timestamp } }));
      const { status, text } = await call('POST', '/api/v1/telemetry', { json: readings });
      assert.equal(status, 202, text);
    },

    settled: () => allConsumed(call, 60_000),

    async close() {
      await Promise.all(processes.map((one) => one.end('SIGTERM')));
      await rm(folder, { recursive: true });
    },
  };
}

/** Resolves once every projection has consumed its log. */
export const allConsumed = (call: HttpClient, within: number): Promise<void> =>
  eventually(
    async () => {
      const { json } = await call('GET', '/api/v1/projections');
      assert.deepEqual(
        json.projections.map(({ lag }: { lag: number }) => lag),
        [0, 0, 0, 0],
      );
    },
    { within },
  );
