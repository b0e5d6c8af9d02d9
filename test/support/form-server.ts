import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { configFrom } from '../../infrastructure/config/config.ts';
import { openApplication } from '../../interfaces/composition/application.ts';
import { serve } from '../../interfaces/composition/roles.ts';
import { checkedClient } from './checked-client.ts';
import { eventually } from './eventually.ts';
import type { HttpClient, Reply } from './http-client.ts';

export type FormServer = {
  readonly url: string;
  /** Where MQTT_PORT is set. */
  readonly mqttPort: string;
  readonly folder: string;
  /** Holds answers to the OpenAPI document; without a credential. */
  readonly call: HttpClient;
  /** Keys by what they may do. */
  readonly keys: { readonly admin: string; readonly writer: string; readonly reader: string };
  /** Everything that was logged, as text. */
  readonly logged: () => string;
  /** Registers a device and returns its token. */
  register(deviceId: string): Promise<string>;
  /** The points of a device as `[metric, value, time]`, once there are so many. */
  points(deviceId: string, count: number): Promise<readonly (readonly [string, unknown, string])[]>;
  close(): Promise<void>;
};

/** A whole server in this process with API keys, for clients of other systems. */
export async function formServer(env: Readonly<Record<string, string>> = {}): Promise<FormServer> {
  const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-forms-'));
  const lines: string[] = [];
  const write = (fields: object, message: string) =>
    void lines.push(
      JSON.stringify({ ...fields, message }, (_, value) =>
        value instanceof Error ? `${value.stack}` : value,
      ),
    );
  const log = { debug: write, info: write, warn: write, error: write };
  const config = configFrom({ PORT: '0', DATA_DIR: folder, ...env });
  const application = await openApplication(config, log);
  const operations = await application.keys();
  const key = async (name: string, scopes: Parameters<typeof operations.create>[0]['scopes']) =>
    (await operations.create({ name, scopes, expiresAt: null }))?.secret ?? '';
  const keys = {
    admin: await key('admin', [
      'devices:write',
      'devices:read',
      'telemetry:read',
      'telemetry:write',
      'operate',
    ]),
    writer: await key('writer', ['telemetry:write']),
    reader: await key('reader', ['telemetry:read']),
  };
  const served = await serve(config, log);
  const call = await checkedClient(served.url);
  const asAdmin = (method: string, at: string, json?: unknown): Promise<Reply> =>
    call(method, at, { ...(json !== undefined && { json }), headers: { 'X-API-Key': keys.admin } });
  return {
    url: served.url,
    mqttPort: new URL(served.mqttUrl ?? 'mqtt://none:0').port,
    folder,
    call,
    keys,
    logged: () => lines.join('\n'),

    async register(deviceId) {
      const { status, text } = await asAdmin('POST', '/api/v1/devices', {
        deviceId,
        name: deviceId,
        type: 'test',
      });
      assert.equal(status, 201, text);
      return (await asAdmin('POST', `/api/v1/devices/${deviceId}/token`)).json.token;
    },

    points: (deviceId, count) =>
      eventually(
        async () => {
          const { json } = await asAdmin('GET', `/api/v1/devices/${deviceId}/telemetry?limit=1000`);
          const points = json.points as { metric: string; value: unknown; timestamp: string }[];
          assert.equal(points.length, count, JSON.stringify(points));
          return points.map(({ metric, value, timestamp }) => [metric, value, timestamp] as const);
        },
        { within: 20_000, every: 30 },
      ),

    async close() {
      await served.close();
      await application.close();
      await rm(folder, { recursive: true });
    },
  };
}
