import assert from 'node:assert/strict';
import { MysqlSql } from '../../infrastructure/mysql/database.ts';
import { type DistributedStores, distributedStores } from '../support/distributed-stores.ts';
import { eventually } from '../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../support/fieldlog-process.ts';
import { type LocalServer, localDatabase, localKafka } from '../support/local-servers.ts';
import { needs, onMariadbAndMysql } from '../support/servers.ts';

/** Readings sent at least; more while there are faults to come. */
const atLeast = 200_000;
const devices = 1000;
const batch = 100;
const senders = 4;
/** Readings a second at most, so that every fault comes while readings do. */
const pace = 2500;
const quiet = { debug() {}, info() {}, warn() {}, error() {} };

// The servers named are not touched: this test starts some of its own, which the same machine can run.
needs('KAFKA_BROKERS', 'The distributed profile', () =>
  onMariadbAndMysql('under faults', function (_url, name) {
    this.timeout(600_000);
    let broker: LocalServer;
    let database: LocalServer;
    let stores: DistributedStores;
    const processes = new Map<string, FieldlogProcess>();
    /** What else is to end, whether or not the test passes. */
    let endings: (() => unknown)[] = [];

    // Before each, for a second try must not find the readings of the first.
    beforeEach(async () => {
      endings = [];
      broker = await localKafka(1);
      database = await localDatabase(name);
      stores = await distributedStores(broker.address, database.address);
    });

    afterEach(async () => {
      for (const end of endings) await end();
      await Promise.all([...processes.values()].map((one) => one.end('SIGKILL')));
      await stores?.close();
      await database?.close();
      await broker?.close();
    });

    async function start(name: string, role: string, port = '0'): Promise<string> {
      const started = fieldlog([role], { ...stores.env, WORKER_PORT: '0', PORT: port });
      processes.set(name, started);
      const [, url = ''] = await started.says(/(http:\/\/\S+)/, 60_000);
      return url;
    }

    it(`stores each of ${atLeast} readings or more once, whatever is killed or stopped meanwhile`, async () => {
      const url = await start('api', 'api');
      const { port } = new URL(url);
      const workers = [
        ...['device-projector-1', 'device-projector-2'],
        ...['telemetry-projector-1', 'telemetry-projector-2', 'telemetry-projector-3'],
      ];
      const roleOf = (worker: string) => worker.slice(0, -2);
      await Promise.all(workers.map((worker) => start(worker, roleOf(worker))));
      const db = new MysqlSql({ url: stores.mysqlUrl }, quiet);
      endings.push(() => db.close());

      const post = (to: string, body: unknown, method = 'POST', within = 60_000) =>
        fetch(url + to, {
          method,
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify(body),
          signal: AbortSignal.timeout(within),
        });
      const id = (n: number) => `e2e-${n}`;
      const registered = await post(
        '/api/v1/devices/bulk',
        Array.from({ length: devices }, (_, n) => ({ deviceId: id(n), name: `Device ${n}`, type: 'test' })),
      );
      assert.equal(registered.status, 200);
      await registered.arrayBuffer();

      let next = 0;
      let faultsToCome = true;
      let accepted = 0;
      let failed: unknown;
      endings.push(() => {
        failed ??= 'the test is over';
      });
      const began = Date.now();
      const load = Array.from({ length: senders }, async () => {
        while ((next < atLeast || faultsToCome) && failed === undefined) {
          const from = next;
          next += batch;
          await new Promise((resolve) =>
            setTimeout(resolve, Math.max(0, began + (from / pace) * 1000 - Date.now())),
          );
          const readings = Array.from({ length: batch }, (_, i) => ({
            deviceId: id((from + i) % devices),
            timestamp: 1_700_000_000_000 + from + i,
            metrics: { n: from + i },
          }));
          await untilAccepted(readings);
          accepted += batch;
        }
      });
      const sending = Promise.all(load).catch((error) => {
        failed = error;
      });

      /** As firmware does: what was not answered, or was to wait, is sent again. */
      async function untilAccepted(readings: unknown): Promise<void> {
        while (failed === undefined) {
          const answer = await post('/api/v1/telemetry', readings, 'POST', 20_000).catch(() => undefined);
          const text = await answer?.text().catch(() => '');
          if (answer?.status === 202) return;
          if (answer) assert.equal(answer.status, 503, text);
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      }

      const consumed = async () => {
        const [row] = await db.all<{ n: string | null }>(
          'SELECT SUM(stored_count + duplicate + corrected + dead_lettered) AS n FROM telemetry_ledger',
        );
        return Number(row?.n ?? 0);
      };

      const errors = () =>
        [...processes].map(([name, one]) => `${name}: ${one.errors().slice(-2000)}`).join('\n');

      /** Does the fault and tells how long it took until readings sent after it are in the tables. */
      async function recoversFrom(fault: string, act: () => Promise<unknown>): Promise<void> {
        const at = Date.now();
        await act();
        const before = accepted;
        await eventually(
          async () => {
            const stored = await consumed();
            assert.ok(
              accepted > before && stored >= before + batch,
              `${accepted - before} readings were accepted since, ${before + batch - stored} are not in the tables: ${errors()}`,
            );
          },
          { within: 120_000, every: 100 },
        );
        console.log(`      ${fault}: ${((Date.now() - at) / 1000).toFixed(1)} s until readings flow again`);
      }

      for (const worker of workers)
        await recoversFrom(`${worker} killed and started again`, async () => {
          await processes.get(worker)?.end('SIGKILL');
          await start(worker, roleOf(worker));
        });
      await recoversFrom('the API killed and started again', async () => {
        await processes.get('api')?.end('SIGKILL');
        await start('api', 'api', port);
      });
      await recoversFrom('the broker stopped and started again', async () => {
        await broker.control('stop', 1);
        await broker.control('start', 1);
      });
      await recoversFrom('the database stopped and started again', async () => {
        await database.control('stop');
        await database.control('start');
      });
      const renamed = await post(`/api/v1/devices/${id(0)}`, { name: 'Renamed' }, 'PATCH');
      assert.equal(renamed.status, 200);

      faultsToCome = false;
      await sending;
      const total = next;
      assert.equal(failed, undefined);
      assert.equal(accepted, total);
      const one = async (text: string) =>
        Number(Object.values((await db.all<Record<string, string>>(text))[0] ?? {})[0]);
      await eventually(
        async () => assert.equal(await one('SELECT SUM(stored_count) FROM telemetry_ledger'), total),
        {
          within: 120_000,
          every: 200,
        },
      );
      assert.equal(await one('SELECT COUNT(*) FROM telemetry_g1'), total);
      assert.equal(await one('SELECT SUM(corrected + dead_lettered) FROM telemetry_ledger'), 0);
      assert.equal(await one('SELECT COUNT(*) FROM dead_letters'), 0);
      assert.equal(await one("SELECT SUM(JSON_EXTRACT(metrics, '$.n[0]')) FROM telemetry_1d_g1"), total);
      await eventually(async () =>
        assert.equal(await one('SELECT COUNT(*) FROM device_history'), devices + 1),
      );
      assert.equal(await one("SELECT COUNT(*) FROM devices WHERE name = 'Renamed'"), 1);
      console.log(
        `      sent again and counted as duplicates: ${await one('SELECT SUM(duplicate) FROM telemetry_ledger')}`,
      );
    });
  }),
);
