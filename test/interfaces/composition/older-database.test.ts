import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { openLog } from '../../../interfaces/composition/process.ts';
import { serve } from '../../../interfaces/composition/roles.ts';
import { openMysql } from '../../infrastructure/mysql/open-mysql.ts';
import { ownDatabase } from '../../infrastructure/mysql/own-database.ts';
import { httpClient } from '../../support/http-client.ts';
import { allConsumed } from '../../support/running-server.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';

onMariadbAndMysql('A database put back to an earlier backup', function (url) {
  this.timeout(60_000);
  let folder: string;
  let database: Awaited<ReturnType<typeof ownDatabase>>;
  let backup: Awaited<ReturnType<typeof ownDatabase>>;
  let server: Awaited<ReturnType<typeof serve>> | undefined;
  let call: ReturnType<typeof httpClient>;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-older-'));
    database = await ownDatabase(url);
    backup = await ownDatabase(url);
  });
  afterEach(async () => {
    await server?.close();
    await backup.drop();
    await database.drop();
    await rm(folder, { recursive: true });
  });

  async function start(): Promise<void> {
    const config = configFrom({ PORT: '0', DATA_DIR: folder, MYSQL_URL: database.url });
    server = await serve(config, openLog('silent', 'serve'));
    call = httpClient(server.url);
  }

  async function stop(): Promise<void> {
    await server?.close();
    server = undefined;
  }

  /** Makes the tables of one database, with their rows, those of another, as loading a dump does. */
  async function copy(from: string, to: string): Promise<void> {
    const { db, close } = await openMysql(to, { connections: 1 });
    const source = new URL(from).pathname.slice(1);
    const tablesOf = (schema: string) =>
      db.rows<[string]>(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = ? AND table_type = 'BASE TABLE'",
        [schema],
      );
    for (const [table] of await tablesOf(new URL(to).pathname.slice(1))) await db.run(`DROP TABLE ${table}`);
    for (const [table] of await tablesOf(source)) {
      await db.run(`CREATE TABLE ${table} LIKE ${source}.${table}`);
      await db.run(`INSERT INTO ${table} SELECT * FROM ${source}.${table}`);
    }
    await close();
  }

  async function register(deviceId: string): Promise<void> {
    const json = { deviceId, name: deviceId, type: 'test' };
    assert.equal((await call('POST', '/api/v1/devices', { json })).status, 201);
  }

  async function measure(deviceId: string, from: number, count: number): Promise<void> {
    const json = Array.from({ length: count }, (_, n) => ({
      deviceId,
      timestamp: from + n,
      metrics: { n: from + n },
    }));
    assert.equal((await call('POST', '/api/v1/telemetry', { json })).status, 202);
  }

  async function found() {
    const { json } = await call('GET', '/api/v1/devices');
    const points = await Promise.all(
      ['a', 'b'].map(async (deviceId) => {
        const { json } = await call('GET', `/api/v1/devices/${deviceId}/telemetry?from=0&to=1000`);
        return json.points.map(({ timestamp }: { timestamp: string }) => Date.parse(timestamp));
      }),
    );
    return { devices: json.devices.map(({ deviceId }: { deviceId: string }) => deviceId), points };
  }

  it('is filled from its checkpoints on, each event once, whatever came since', async () => {
    await start();
    await register('a');
    await measure('a', 0, 50);
    await allConsumed(call, 20_000);
    await stop();
    await copy(database.url, backup.url);
    await start();
    await register('b');
    await measure('a', 50, 50);
    await measure('b', 0, 20);
    await allConsumed(call, 20_000);
    const before = await found();
    await stop();

    await copy(backup.url, database.url);
    await start();
    await measure('b', 20, 10);
    await allConsumed(call, 20_000);
    assert.deepEqual(
      before.points.map((one) => one.length),
      [100, 20],
    );
    const [a, b = []] = before.points;
    assert.deepEqual(await found(), {
      devices: before.devices,
      points: [a, [...b, ...Array.from({ length: 10 }, (_, n) => 20 + n)]],
    });
    assert.equal((await call('GET', '/health/ready')).status, 200);
  });
});
