import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { EventStoreDbDouble } from '../eventstoredb/eventstoredb-double.ts';
import { fieldlog } from '../fieldlog-process.ts';
import { httpClient } from '../http-client.ts';
import type { OpenApi } from './http-names.ts';
import { formOf } from './json-fields.ts';
import { storedEventNames } from './stored-names.ts';

export type PlainServer = {
  readonly openApi: OpenApi;
  /** What is stored in EventStoreDB, and how its positions are written. */
  eventStoreDbNames(): Promise<ReadonlySet<string>>;
  close(): Promise<void>;
};

/** `fieldlog serve` as it is without configuration, but for its event store. */
export async function plainServer(): Promise<PlainServer> {
  const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-frozen-'));
  const eventStore = await EventStoreDbDouble.start();
  const server = fieldlog(['serve'], { DATA_DIR: folder, PORT: '0', EVENTSTORE_URL: eventStore.url });
  const [, url = ''] = await server.says(/(http:\/\/\S+)/, 60_000);
  const call = httpClient(url);
  return {
    openApi: (await call('GET', '/openapi.json')).json,

    async eventStoreDbNames() {
      const json = { deviceId: 'd-one', name: 'One', type: 'boiler' };
      const registered = await call('POST', '/api/v1/devices', { json });
      assert.equal(registered.status, 201, registered.text);
      const erased = await call('POST', '/api/v1/devices/d-one/erase', { json: { reason: 'asked for' } });
      assert.equal(erased.status, 200, erased.text);
      const events = [...eventStore.store.log.forwards(0)].flatMap(({ stream, type, data, metadata }) =>
        stream.startsWith('$$')
          ? [`stream ${formOf(stream)}`, type]
          : storedEventNames(stream, type, parsed(data), parsed(metadata)),
      );
      return new Set([...events, `position: ${formOf(erased.json.position)}`]);
    },

    async close() {
      await server.end('SIGTERM');
      await eventStore.stop();
      await rm(folder, { recursive: true });
    },
  };
}

const parsed = (bytes: Uint8Array) => JSON.parse(Buffer.from(bytes).toString());
