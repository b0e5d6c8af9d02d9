import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { MysqlSql } from '../../infrastructure/mysql/mysql-sql.ts';
import { describeWith } from '../deploy/tools.ts';
import { ownDatabase } from '../infrastructure/mysql/own-database.ts';
import { eventually } from '../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../support/fieldlog-process.ts';
import { type HttpClient, httpClient } from '../support/http-client.ts';
import { type Prometheus, prometheus } from '../support/prometheus.ts';
import { needs } from '../support/servers.ts';

const mariadb = path.resolve(import.meta.dirname, '../../deploy/local/mariadb.sh');
const run = promisify(execFile);
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const soon = { within: 55_000, every: 200 };

needs('MYSQL_URL', 'Prometheus', (mysqlUrl) =>
  describeWith(['prometheus'], 'with the rules that are deployed', function () {
    this.timeout(120_000);
    let folder: string;
    let database: Awaited<ReturnType<typeof ownDatabase>>;
    let server: FieldlogProcess;
    let call: HttpClient;
    let url: string;
    let scraping: Prometheus;

    before(async () => {
      folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-alerts-'));
      database = await ownDatabase(mysqlUrl);
      const env = { PORT: '0', DATA_DIR: folder, MYSQL_URL: database.url, PROJECTOR_STALL_MS: '3000' };
      server = fieldlog(['serve'], env);
      [, url = ''] = await server.says(/(http:\/\/\S+)/, 60_000);
      call = httpClient(url);
      const device = { deviceId: 'd-1', name: 'One', type: 'test' };
      assert.equal((await call('POST', '/api/v1/devices', { json: device })).status, 201);
      scraping = await prometheus('fieldlog-api', url);
    });
    after(async () => {
      await scraping?.close();
      await server.end('SIGTERM');
      await database.drop();
      await rm(folder, { recursive: true });
    });

    async function send(timestamp: number): Promise<void> {
      const json = { deviceId: 'd-1', timestamp, metrics: { a: 1 } };
      assert.equal((await call('POST', '/api/v1/telemetry', { json })).status, 202);
    }

    const isFiring = async (name: string, label: string, value: string): Promise<boolean> => {
      const firing = await scraping.firing();
      return firing.some((one) => one.name === name && one.labels[label] === value);
    };

    it('evaluates every rule over what a process really tells', async () => {
      await eventually(async () => {
        const rules = await scraping.rules();
        assert.ok(rules.size > 20, `${rules.size} rules`);
        for (const [name, health] of rules) assert.equal(health, 'ok', name);
      }, soon);
      await eventually(
        async () => assert.ok(!(await isFiring('FieldlogRoleDown', 'job', 'fieldlog-api'))),
        soon,
      );
    });

    it('alerts on a flood of bad requests', async () => {
      await eventually(async () => {
        await Promise.all(
          Array.from({ length: 20 }, async () =>
            assert.equal((await call('POST', '/api/v1/telemetry', { json: { no: 'reading' } })).status, 400),
          ),
        );
        assert.ok(await isFiring('FieldlogRefusalsHigh', 'severity', 'warning'));
      }, soon);
    });

    it('alerts on a projector that stands still, whose process says so too', async () => {
      const db = new MysqlSql({ url: database.url }, quiet);
      const [held, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      await send(1);
      await eventually(
        async () =>
          assert.equal((await db.all("SELECT 1 FROM checkpoints WHERE projection = 'telemetry'")).length, 1),
        soon,
      );
      const holding = db.transaction(async (tx) => {
        await tx.all("SELECT 1 FROM checkpoints WHERE projection = 'telemetry' FOR UPDATE");
        held.resolve();
        await released.promise;
      });
      await held.promise;
      try {
        await send(2);
        await eventually(async () => {
          assert.ok(await isFiring('FieldlogProjectorStalled', 'projection', 'telemetry'));
          const { status, json } = await call('GET', '/health/live');
          assert.deepEqual([status, /^telemetry: /.test(json.detail)], [503, true]);
        }, soon);
      } finally {
        released.resolve();
        await holding;
        await db.close();
      }
      await eventually(async () => {
        assert.equal((await call('GET', '/health/live')).status, 200);
        assert.ok(!(await isFiring('FieldlogProjectorStalled', 'projection', 'telemetry')));
      }, soon);
    });

    it('alerts on a database that is stopped, and no longer once it is back', async () => {
      await run(mariadb, ['stop']);
      try {
        await eventually(
          async () => assert.ok(await isFiring('FieldlogDependencyDown', 'dependency', 'readModels')),
          soon,
        );
      } finally {
        await run(mariadb, ['start']);
      }
      await eventually(
        async () => assert.ok(!(await isFiring('FieldlogDependencyDown', 'dependency', 'readModels'))),
        soon,
      );
    });
  }),
);
