import assert from 'node:assert/strict';
import { MysqlSql } from '../../infrastructure/mysql/database.ts';
import { type Balancer, balancer } from '../support/balancer.ts';
import { type DistributedStores, distributedStores } from '../support/distributed-stores.ts';
import { eventually } from '../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../support/fieldlog-process.ts';
import { needs, onMariadbAndMysql } from '../support/servers.ts';

const apis = ['api-1', 'api-2'];
const workers = [
  'device-projector-1',
  'device-projector-2',
  'telemetry-projector-1',
  'telemetry-projector-2',
];
const devices = 50;
const batch = 20;
const senders = 4;
const pollEvery = 100;
const quiet = { debug() {}, info() {}, warn() {}, error() {} };

needs('KAFKA_BROKERS', 'A rolling restart of every role', (brokers) =>
  onMariadbAndMysql('under load', function (mysqlUrl) {
    this.timeout(300_000);
    let stores: DistributedStores;
    let balanced: Balancer;
    const running = new Map<string, { readonly process: FieldlogProcess; readonly url: string }>();

    before(async () => {
      stores = await distributedStores(brokers, mysqlUrl);
      balanced = balancer(pollEvery);
      await Promise.all([...apis, ...workers].map(start));
    });
    after(async () => {
      await balanced.close();
      await Promise.all([...running.values()].map(({ process }) => process.end('SIGKILL')));
      await stores.close();
    });

    async function start(name: string): Promise<void> {
      // Long enough for several looks of the balancer, however slow this machine is.
      const env = { ...stores.env, PORT: '0', WORKER_PORT: '0', SHUTDOWN_LEAD_MS: '3000' };
      const process = fieldlog([name.slice(0, -2)], env);
      const [, url = ''] = await process.says(/(http:\/\/\S+)/, 60_000);
      running.set(name, { process, url });
      if (!apis.includes(name)) return;
      balanced.add(url);
      await balanced.until(url, true);
    }

    /** The old one ends as an orchestrator ends it, once the new one is there. */
    async function replace(name: string): Promise<void> {
      const old = running.get(name);
      assert.ok(old);
      await start(name);
      assert.equal(await old.process.end('SIGTERM'), 0, `${name}: ${old.process.errors()}`);
      balanced.remove(old.url);
    }

    it('fails no request, loses no reading and stores none twice', async () => {
      const failures: string[] = [];
      let sent = 0;
      let registered = 0;
      let queried = 0;
      let over = false;

      /** Once: what fails is a failed request. */
      async function request(method: string, to: string, body?: unknown): Promise<void> {
        const url = await balanced.next();
        const answer = await fetch(url + to, {
          method,
          headers: { 'Content-Type': 'application/json' },
          ...(body !== undefined && { body: JSON.stringify(body) }),
          signal: AbortSignal.timeout(30_000),
        }).catch((error) => failures.push(`${method} ${to}: ${error.cause ?? error}`));
        if (typeof answer === 'number') return;
        const text = await answer.text().catch((error) => `the answer broke off: ${error}`);
        const isWhole = !text.startsWith('the answer broke off');
        if (!answer.ok || !isWhole) failures.push(`${method} ${to}: ${answer.status} ${text}`);
      }
      const id = (n: number) => `rolled-${n}`;
      const register = (n: number) =>
        request('POST', '/api/v1/devices', { deviceId: id(n), name: `Device ${n}`, type: 'test' });

      for (; registered < devices; registered += 1) await register(registered);
      const load = [
        ...Array.from({ length: senders }, async () => {
          while (!over) {
            const from = sent;
            sent += batch;
            const readings = Array.from({ length: batch }, (_, i) => ({
              deviceId: id((from + i) % devices),
              timestamp: 1_700_000_000_000 + from + i,
              metrics: { n: from + i },
            }));
            await request('POST', '/api/v1/telemetry', readings);
          }
        }),
        (async () => {
          for (; !over; registered += 1) await register(registered);
        })(),
        (async () => {
          for (; !over; queried += 1)
            await request('GET', `/api/v1/devices/${id(queried % devices)}/telemetry?limit=5`);
        })(),
      ];
      for (const name of [...apis, ...workers]) {
        const before = sent;
        await replace(name);
        await eventually(() => assert.ok(sent > before + senders * batch, 'the load continues'));
      }
      over = true;
      await Promise.all(load);
      assert.deepEqual(failures, []);

      const db = new MysqlSql({ url: stores.mysqlUrl }, quiet);
      const one = async (text: string) =>
        Number(Object.values((await db.all<Record<string, string>>(text))[0] ?? {})[0]);
      await eventually(
        async () => {
          assert.equal(await one('SELECT SUM(stored_count) FROM telemetry_ledger'), sent);
          assert.equal(await one('SELECT COUNT(*) FROM devices'), registered);
          assert.equal(await one('SELECT COUNT(*) FROM device_history'), registered);
        },
        { within: 60_000, every: 100 },
      );
      assert.equal(await one('SELECT COUNT(*) FROM telemetry_g1'), sent);
      assert.equal(await one('SELECT SUM(duplicate + corrected + dead_lettered) FROM telemetry_ledger'), 0);
      assert.equal(await one('SELECT COUNT(*) FROM dead_letters'), 0);
      await db.close();
      console.log(`      ${sent} readings, ${registered} registrations and ${queried} queries, none failed`);
    });
  }),
);
