import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { eventually } from '../../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../../support/fieldlog-process.ts';
import { httpClient } from '../../support/http-client.ts';

const foreignEvents = 500_000;
/** So that rules are looked for, among events of other programs, for longer than any test waits. */
const searchesPerSecond = 5_000;
/** A stop that waits for a call to be given up takes five seconds, and ten where two threads do. */
const wellBelowADeadline = 4_000;

describe('A server that stops while it looks for rules among events of other programs', function () {
  this.timeout(60_000);
  let server: EventStoreDbDouble;
  let folder: string;
  let serving: FieldlogProcess | undefined;

  beforeEach(async () => {
    server = await EventStoreDbDouble.start();
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-stopping-'));
  });
  afterEach(async () => {
    await serving?.end('SIGKILL');
    await server.stop();
    await rm(folder, { recursive: true });
  });

  async function serve(): Promise<string> {
    serving = fieldlog(['serve'], { EVENTSTORE_URL: server.url, DATA_DIR: folder, PORT: '0' });
    const [, url = ''] = await serving.says(/Fieldlog: (http:\S+)/);
    return url;
  }

  it('ends at once, and well', async () => {
    const call = httpClient(await serve());
    const rule = { ruleId: 'hot', name: 'Hot', kind: 'range', metric: 'temperature', above: 90 };
    const created = await call('POST', '/api/v1/rules', { json: rule });
    assert.equal(created.status, 201, created.text);
    server.store.appendRun('orders-1', foreignEvents, {
      type: 'OrderPlaced',
      contentType: 'application/json',
      data: Buffer.from('{}'),
      metadata: new Uint8Array(),
    });
    await serving?.end('SIGKILL');
    server.faults.searchesPerSecond = searchesPerSecond;
    await serve();
    const subscriptions = server.traffic.subscriptions;
    await eventually(() => assert.ok(subscriptions.size >= 3, `${subscriptions.size} subscriptions`));
    const began = performance.now();
    assert.equal(await serving?.end('SIGTERM'), 0, serving?.errors());
    const took = performance.now() - began;
    assert.ok(took < wellBelowADeadline, `it took ${Math.round(took)} ms`);
    assert.equal(serving?.errors(), '');
  });
});
