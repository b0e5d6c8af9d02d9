import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { kafkaClient } from '../../infrastructure/kafka/client.ts';
import { MysqlSql } from '../../infrastructure/mysql/database.ts';
import { type DistributedStores, distributedStores } from '../support/distributed-stores.ts';
import { eventually } from '../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../support/fieldlog-process.ts';
import { needs, onMariadbAndMysql } from '../support/servers.ts';

const roles = ['api', 'device-projector', 'telemetry-projector'] as const;
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
/** In what is sent, and to be in no log. */
const payload = 987_654.25;

needs('KAFKA_BROKERS', 'One correlation id', (brokers) =>
  onMariadbAndMysql('tells the whole story', function (mysqlUrl) {
    this.timeout(120_000);
    const correlationId = `story-${randomUUID()}`;
    let stores: DistributedStores;
    let processes: readonly FieldlogProcess[] = [];

    before(async () => {
      stores = await distributedStores(brokers, mysqlUrl);
      const env = { ...stores.env, PORT: '0', WORKER_PORT: '0', LOG_LEVEL: 'debug' };
      processes = roles.map((role) => fieldlog([role], env));
      const urls = await Promise.all(processes.map((one) => one.says(/(http:\/\/\S+)/, 60_000)));
      const [[, url = ''] = []] = urls;
      await send(url, '/api/v1/devices', { deviceId: 'd-1', name: 'One', type: 'test' }, 201);
      await send(url, '/api/v1/telemetry', { deviceId: 'd-1', timestamp: 1, metrics: { payload } }, 202);
    });
    after(async () => {
      await Promise.all(processes.map((one) => one.end('SIGTERM')));
      await stores.close();
    });

    async function send(url: string, to: string, body: object, expected: number): Promise<void> {
      const headers = { 'Content-Type': 'application/json', 'X-Correlation-Id': correlationId };
      const answer = await fetch(url + to, { method: 'POST', headers, body: JSON.stringify(body) });
      assert.equal(answer.status, expected, await answer.text());
      assert.equal(answer.headers.get('X-Correlation-Id'), correlationId);
    }

    it('in the header of the message in Kafka', async () => {
      const client = kafkaClient({ brokers: brokers.split(',') }, quiet);
      const consumer = client.consumer({ groupId: `story-${randomUUID()}` });
      await consumer.connect();
      try {
        await consumer.subscribe({ topic: stores.env.KAFKA_TOPIC ?? '', fromBeginning: true });
        const header = await new Promise((resolve, reject) => {
          const eachMessage = async ({ message: { headers } }: { message: { headers?: object } }) =>
            resolve(Object.entries(headers ?? {}).find(([name]) => name === 'ce_correlationid')?.[1]);
          consumer.run({ eachMessage }).catch(reject);
        });
        assert.equal(String(header), correlationId);
      } finally {
        await consumer.disconnect();
      }
    });

    it('in the rows that analysts see', async () => {
      const db = new MysqlSql({ url: stores.mysqlUrl }, quiet);
      try {
        for (const table of ['telemetry_g1', 'device_history'])
          await eventually(
            async () =>
              assert.deepEqual(
                await db.all(`SELECT device_id AS device, correlation_id AS id FROM ${table}`),
                [{ device: 'd-1', id: correlationId }],
              ),
            { within: 60_000 },
          );
      } finally {
        await db.close();
      }
    });

    it('in the logs of all three processes, each line with its role and none with what was measured', async () => {
      const logged = () => processes.flatMap((one) => linesWith(one, correlationId));
      const story = [
        'api Request answered POST /api/v1/devices',
        'api Request answered POST /api/v1/telemetry',
        'device-projector Events consumed device_history device-d-1',
        'device-projector Events consumed devices device-d-1',
        'telemetry-projector Events consumed telemetry device-d-1',
      ];
      await eventually(() => assert.deepEqual(logged().toSorted(), story), { within: 60_000 });
      for (const one of processes) assert.ok(!one.errors().includes(String(payload)));
    });
  }),
);

/** What grep would find, in short. */
function linesWith(one: FieldlogProcess, correlationId: string): readonly string[] {
  const lines = one.errors().split('\n');
  return lines
    .filter((line) => line.includes(correlationId))
    .map((line) => {
      const { role, msg, method, route, projection, stream } = JSON.parse(line);
      return [role, msg, method, route, projection, stream].filter((part) => part !== undefined).join(' ');
    });
}
