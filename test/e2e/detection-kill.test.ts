import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { onEachEngine, type ReadModelStore } from '../support/each-engine.ts';
import { eventually } from '../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../support/fieldlog-process.ts';
import { httpClient } from '../support/http-client.ts';
import { runs } from '../support/runs.ts';
import { seeded } from '../support/seeded.ts';
import { stopInTransaction } from '../support/stop-in-transaction.ts';

const devices = 5;
const perRequest = 100;
const requests = 12;
const written = 'SELECT state FROM detection_states_g1 ORDER BY device_id, rule_id, metric';

onEachEngine('Detection in a server killed under load', (open) => {
  let stores: ReadModelStore;
  let kills: number;
  let folder: string;
  let server: FieldlogProcess | undefined;
  let call: ReturnType<typeof httpClient>;

  // Before each, for a second try must not find the alarms of the first.
  beforeEach(async () => {
    stores = await open();
    kills = runs(stores.env.MYSQL_URL === undefined ? 14 : 3);
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-alarms-'));
  });
  afterEach(async () => {
    await server?.end('SIGKILL');
    await rm(folder, { recursive: true });
    await stores.drop();
  });

  const env = () => ({ ...stores.env, DATA_DIR: folder, PORT: '0', DETECTION: 'all', BATCH_SIZE: '500' });

  async function start(): Promise<void> {
    server = fieldlog(['serve'], env());
    const [, url = ''] = await server.says(/(http:\/\/\S+)/, 60_000);
    call = httpClient(url);
  }

  /** Every alarm, page by page. */
  async function alarms(): Promise<readonly { alarmId: string; state: string; escalations: number }[]> {
    const found = [];
    for (let cursor = ''; ; ) {
      const { json } = await call('GET', `/api/v1/alarms?limit=1000${cursor}`);
      found.push(...json.alarms);
      if (json.next === null) return found;
      cursor = `&cursor=${json.next}`;
    }
  }

  const consumed = (position: string) =>
    eventually(
      async () => {
        const { status, text } = await call('GET', `/api/v1/alarms?limit=1&timeout=5s&waitFor=${position}`);
        assert.equal(status, 200, text);
      },
      { within: 60_000 },
    );

  /** The changes of alarms in the event store, each with how often it is there. */
  function announced(): ReadonlyMap<string, number> {
    const db = new DatabaseSync(path.join(folder, 'events.db'), { readOnly: true });
    const rows = db.prepare("SELECT stream, type, data FROM events WHERE stream LIKE 'alarm-%'").all();
    db.close();
    const counts = new Map<string, number>();
    for (const { stream, type, data } of rows) {
      const { at, magnitude } = JSON.parse(String(data));
      const change = `${stream} ${type} ${at} ${magnitude}`;
      counts.set(change, (counts.get(change) ?? 0) + 1);
    }
    return counts;
  }

  it('again and again finds each alarm once, announces each change once, and a rebuild finds the same', async function () {
    this.timeout(300_000);
    const random = seeded(11);
    let sent = 0;
    let last = '';
    await start();
    const json = Array.from({ length: devices }, (_, i) => ({ deviceId: `d-${i}`, name: 'D', type: 'test' }));
    assert.equal((await call('POST', '/api/v1/devices/bulk', { json })).status, 200);

    for (let kill = 0; kill <= kills; kill += 1) {
      for (let n = 0; n < requests; n += 1) await send();
      if (kill === kills) break;
      // By turns in the middle of a detection, and where between nothing and everything is consumed, and announced.
      if (kill % 2 === 0 && server) await stopInTransaction(server, { stores, folder, written }, send);
      else await new Promise((resolve) => setTimeout(resolve, 1500 * random.next()));
      await server?.end('SIGKILL');
      await start();
    }

    async function send(): Promise<void> {
      const json = Array.from({ length: perRequest }, () => {
        sent += 1;
        const spike = random.next() < 0.01 ? 100 * random.next() : 0;
        return {
          deviceId: `d-${sent % devices}`,
          timestamp: new Date(1000 * sent).toISOString(),
          metrics: { t: random.normal() + spike, on: random.next() < 0.5 },
        };
      });
      const answer = await call('POST', '/api/v1/telemetry', { json });
      assert.equal(answer.status, 202, answer.text);
      last = answer.json.positions[0];
    }

    await consumed(last);
    const found = await alarms();
    assert.ok(found.length > 20, `${found.length} alarms`);
    const changes = found.reduce(
      (sum, { state, escalations }) => sum + 1 + escalations + (state === 'cleared' ? 1 : 0),
      0,
    );
    await eventually(() => assert.equal(announced().size, changes), { within: 60_000 });
    assert.deepEqual([...new Set(announced().values())], [1]);

    const rebuild = fieldlog(['projections', 'rebuild', 'detection', '--json'], env());
    const [, text = ''] = await rebuild.says(/^(\{.*\})$/m, 60_000);
    const { switched, comparison } = JSON.parse(text);
    assert.ok(switched && comparison.equal && comparison.samePosition, text);
    assert.deepEqual(await alarms(), found);
    assert.equal(announced().size, changes);
  });
});
