import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { sqliteTelemetrySource } from '../../infrastructure/sqlite/telemetry-source.ts';
import { lookInto, type OpenTables, onEachEngine, type ReadModelStore } from '../support/each-engine.ts';
import { eventually } from '../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../support/fieldlog-process.ts';
import { runs } from '../support/runs.ts';
import { stopInTransaction } from '../support/stop-in-transaction.ts';

const devices = 10;
const senders = 4;
const batch = 25;
/** Late in a transaction, when most of it is written, and early. */
const moments = ['SELECT SUM(stored_count) FROM telemetry_ledger', 'SELECT COUNT(*) FROM telemetry'];

type Sent = {
  readonly deviceId: string;
  readonly timestamp: number;
  readonly metrics: { readonly n: number };
};

onEachEngine('A server killed under load', (open) => {
  let stores: ReadModelStore;
  let kills: number;
  let folder: string;
  let server: FieldlogProcess | undefined;
  let db: OpenTables | undefined;
  let url = '';

  // Before each, for a second try must not find the readings of the first.
  beforeEach(async () => {
    stores = await open();
    kills = runs(stores.env.MYSQL_URL === undefined ? 14 : 3);
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-kill-'));
  });

  afterEach(async () => {
    await server?.end('SIGKILL');
    await db?.close();
    await rm(folder, { recursive: true });
    await stores.drop();
  });

  async function start(): Promise<void> {
    server = fieldlog(['serve'], { ...stores.env, DATA_DIR: folder, PORT: '0' });
    [, url = ''] = await server.says(/(http:\/\/\S+)/, 60_000);
  }

  const post = (to: string, body: unknown): Promise<Response> =>
    fetch(url + to, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });

  it('again and again still has every reading it acknowledged, once', async function () {
    this.timeout(240_000);
    const sent: Sent[] = [];
    let unanswered: (readonly Sent[])[] = [];
    let registered = 0;
    await start();

    for (let kill = 0; kill < kills; kill += 1) {
      let killed = false;
      const load = Array.from({ length: senders }, async () => {
        const again = unanswered;
        unanswered = [];
        for (const readings of again) await send(readings);
        while (!killed) await send(nextBatch());
      });
      const fresh = `device-${kill}`;
      const registration = register(fresh);
      // By turns where it stores readings, and where it starts.
      const written = moments[kill % (moments.length + 1)];
      if (written && server) await stopInTransaction(server, { stores, folder, written });
      else await new Promise((resolve) => setTimeout(resolve, 50 + Math.random() * 300));
      await server?.end('SIGKILL').finally(() => {
        killed = true;
      });
      await Promise.all([...load, registration]);
      await start();
      await eventually(async () => assert.ok((await register(fresh)) !== undefined));
      registered += 1;
    }
    for (const readings of unanswered) assert.ok(await send(readings));

    function nextBatch(): readonly Sent[] {
      const readings = Array.from({ length: batch }, (_, i): Sent => {
        const n = sent.length + i;
        return {
          deviceId: `device-${n % Math.max(1, Math.min(devices, registered))}`,
          timestamp: n,
          metrics: { n },
        };
      });
      sent.push(...readings);
      return readings;
    }

    /** As firmware does: what was not answered is sent again later. */
    async function send(readings: readonly Sent[]): Promise<boolean> {
      const answer = await post('/api/v1/telemetry', readings).catch(() => undefined);
      if (answer?.status === 202) return true;
      if (answer) assert.equal(answer.status, 404, await answer.text());
      unanswered.push(readings);
      if (answer) await new Promise((resolve) => setTimeout(resolve, 10));
      return false;
    }

    function register(deviceId: string): Promise<number | undefined> {
      return fetch(`${url}/api/v1/devices`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'Idempotency-Key': deviceId },
        body: JSON.stringify({ deviceId, name: deviceId, type: 'test' }),
      }).then(
        ({ status }) => {
          assert.equal(status, 201);
          return status;
        },
        () => undefined,
      );
    }

    const source = sqliteTelemetrySource(path.join(folder, 'telemetry.db'));
    const { events: inLog } = await source.countAfter(0, null);
    await source.close();
    const tables = await lookInto(stores, folder);
    db = tables;
    const one = async (text: string) =>
      Number(Object.values((await tables.all<Record<string, unknown>>(text))[0] ?? {})[0]);
    await eventually(
      async () =>
        assert.equal(
          await one('SELECT SUM(stored_count + duplicate + corrected + dead_lettered) FROM telemetry_ledger'),
          inLog,
        ),
      { within: 60_000 },
    );

    assert.ok(sent.length > kills * batch, `only ${sent.length} readings were sent`);
    assert.equal(await one('SELECT COUNT(*) FROM telemetry'), sent.length);
    assert.equal(await one('SELECT COUNT(*) FROM telemetry WHERE value_number = ts'), sent.length);
    assert.equal(await one('SELECT SUM(stored_count) FROM telemetry_ledger'), sent.length);
    assert.equal(await one('SELECT SUM(corrected + dead_lettered) FROM telemetry_ledger'), 0);
    assert.equal(await one('SELECT COUNT(*) FROM devices'), kills);
    assert.equal(await one('SELECT COUNT(*) FROM device_history'), kills);
    assert.equal(await one('SELECT SUM(count) FROM telemetry_1d'), sent.length);
  });
});
