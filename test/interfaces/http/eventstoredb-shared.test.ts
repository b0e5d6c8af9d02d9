import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { eventually } from '../../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../../support/fieldlog-process.ts';
import { type HttpClient, httpClient } from '../../support/http-client.ts';

const devices = 50;
const foreignEvents = 1_000_000;
/** What a real server reads of all events in a second; those that it filters cost it no such time. */
const readsPerSecond = 54_000;

describe('An EventStoreDB that Fieldlog shares with other programs', function () {
  this.timeout(180_000);
  let server: EventStoreDbDouble;
  let folder: string;
  let env: Record<string, string>;
  let serving: FieldlogProcess | undefined;

  before(async () => {
    server = await EventStoreDbDouble.start();
    server.faults.readsPerSecond = readsPerSecond;
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-shared-'));
    env = { EVENTSTORE_URL: server.url, DATA_DIR: folder, PORT: '0', LOG_LEVEL: 'error' };
    const call = await serve();
    for (let n = 0; n < devices; n += 1) {
      const device = { deviceId: `d-${n}`, name: 'n', type: 'test' };
      assert.equal((await call('POST', '/api/v1/devices', { json: device })).status, 201);
    }
    await caughtUp(call);
    await stop();
    server.store.appendRun('orders-1', foreignEvents, {
      type: 'OrderPlaced',
      contentType: 'application/json',
      data: Buffer.from('{}'),
      metadata: new Uint8Array(),
    });
  });
  after(async () => {
    await stop();
    await server.stop();
    await rm(folder, { recursive: true });
  });

  async function serve(): Promise<HttpClient> {
    serving = fieldlog(['serve'], env);
    const [, url = ''] = await serving.says(/Fieldlog: (http:\S+)/);
    return httpClient(url);
  }

  async function stop(): Promise<void> {
    await serving?.end('SIGTERM');
    serving = undefined;
  }

  async function lagOf(call: HttpClient, projection: string): Promise<string> {
    const { json } = await call('GET', '/api/v1/status');
    const { lag, lagIsAtLeast } = json.projections.find(
      (one: { projection: string }) => one.projection === projection,
    );
    return lagIsAtLeast ? `at least ${lag}` : String(lag);
  }

  async function caughtUp(call: HttpClient): Promise<void> {
    for (const projection of ['devices', 'device_history'])
      await eventually(async () => assert.equal(await lagOf(call, projection), '0'), {
        within: 60_000,
        every: 500,
      });
  }

  it('says at once how far behind it is at least, and catches up with a million events of theirs', async () => {
    const call = await serve();
    for (const _ of [1, 2, 3]) {
      const began = performance.now();
      assert.match(await lagOf(call, 'devices'), /^(at least )?0$|^null$/);
      const took = performance.now() - began;
      // Reading all events would take 18 s.
      assert.ok(took < 2_000, `the status took ${took} ms`);
    }
    await caughtUp(call);
    assert.ok(server.traffic.eventsSent < 20_000, 'other events were read without a filter');
    await stop();
  });

  it('is followed from there when a process starts again', async () => {
    const considered = server.traffic.eventsConsidered;
    await caughtUp(await serve());
    // What remembers devices begins at the end, and the counts of a status are cut short.
    const looks = (server.traffic.eventsConsidered - considered) / foreignEvents;
    assert.ok(looks < 0.5, `the log was searched ${looks} times`);
  });

  it('costs a rebuild no reading of other events', async () => {
    const sent = server.traffic.eventsSent;
    const rebuild = fieldlog(['projections', 'rebuild', 'devices'], env);
    const ended = once(rebuild.child, 'exit');
    await rebuild.says(/Switched from generation 1 to 2/, 60_000);
    assert.deepEqual(await ended, [0, null]);
    assert.ok(server.traffic.eventsSent - sent < 20_000, 'other events were read without a filter');
  });
});
