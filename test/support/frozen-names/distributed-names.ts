import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Kafka } from 'kafkajs';
import { createConnection } from 'mysql2/promise';
import { kafkaClient } from '../../../infrastructure/kafka/client.ts';
import { distributedStores } from '../distributed-stores.ts';
import { eventually } from '../eventually.ts';
import { fieldlog } from '../fieldlog-process.ts';
import { httpClient } from '../http-client.ts';
import { kafkaNames } from './kafka-names.ts';
import { context } from './scenario.ts';
import { thingName } from './stored-names.ts';

export type DistributedNames = {
  /** Tables, views and columns, as those of the embedded file. */
  readonly tables: ReadonlySet<string>;
  readonly kafka: ReadonlySet<string>;
  /** Of all processes, in the text format of Prometheus. */
  readonly metrics: string;
  /** Of brokers, by what names them in the configuration. */
  readonly topics: readonly string[];
  readonly groups: readonly string[];
};

const roles = ['api', 'device-projector', 'telemetry-projector'];
/** Under the key of a device, and no reading. */
const malformed = '{"deviceId":"d-one","timestamp":"never"}';
const quiet = { debug() {}, info() {}, warn() {}, error() {} };

/** What three processes bring into a database and a broker, and what they say of themselves. */
export async function distributedNames(brokers: string, mysqlUrl: string): Promise<DistributedNames> {
  const stores = await distributedStores(brokers, mysqlUrl);
  const { KAFKA_TOPIC: topic = '', KAFKA_GROUP: group = '' } = stores.env;
  const kafka = kafkaClient({ brokers: brokers.split(',') }, quiet);
  const processes = roles.map((role) => fieldlog([role], { ...stores.env, PORT: '0', WORKER_PORT: '0' }));
  try {
    const said = await Promise.all(processes.map((one) => one.says(/(http:\/\/\S+)/, 60_000)));
    const calls = said.map(([, url = '']) => httpClient(url));
    const [api = httpClient('')] = calls;
    await sendAll(api, kafka, topic);
    const metrics = await Promise.all(calls.map(async (call) => (await call('GET', '/metrics')).text));
    const messages = await messagesOf(kafka, [topic, `${topic}-dead-letters`], 4);
    const names = await namesAtBrokers(kafka, (name) => name.startsWith(topic) || name.startsWith(group));
    return {
      tables: await tablesOf(stores.mysqlUrl),
      kafka: kafkaNames(messages, topic),
      metrics: metrics.join('\n'),
      topics: names.topics.map((name) => name.replace(topic, '{topic}')),
      groups: names.groups.map((name) => name.replace(group, '{group}')),
    };
  } finally {
    await Promise.all(processes.map((one) => one.end('SIGTERM')));
    await stores.close();
  }
}

/** Sends a reading, a retraction and a malformed message; resolves once that is a dead letter. */
async function sendAll(api: ReturnType<typeof httpClient>, kafka: Kafka, topic: string): Promise<void> {
  const send = async (to: string, json: object) => {
    const { status, text } = await api('POST', to, { json, headers: context });
    assert.ok(status < 300, text);
  };
  await send('/api/v1/devices', { deviceId: 'd-one', name: 'One', type: 'boiler' });
  await send('/api/v1/telemetry', { deviceId: 'd-one', timestamp: 1, metrics: { metricOne: 1 } });
  const retraction = { metric: 'metricOne', from: 0, to: 2, reason: 'wrong' };
  await send('/api/v1/devices/d-one/telemetry/retractions', retraction);
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic, messages: [{ key: 'd-one', value: malformed }] });
  await producer.disconnect();
  await eventually(
    async () => assert.equal((await api('GET', '/api/v1/dead-letters')).json.deadLetters?.length, 1),
    { within: 60_000 },
  );
}

/** Waits until the topics hold `count` messages, and gives those that Fieldlog sent. */
async function messagesOf(
  kafka: Kafka,
  topics: string[],
  count: number,
): Promise<Parameters<typeof kafkaNames>[0]> {
  const messages: Parameters<typeof kafkaNames>[0][number][] = [];
  const consumer = kafka.consumer({ groupId: `frozen-${randomUUID()}` });
  await consumer.connect();
  try {
    await consumer.subscribe({ topics, fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ topic, message }) => {
        const headers = Object.entries(message.headers ?? {}).map(
          ([name, value]) => [name, String(value)] as const,
        );
        messages.push({ topic, message: { ...message, headers: Object.fromEntries(headers) } });
      },
    });
    await eventually(() => assert.equal(messages.length, count), { within: 30_000 });
  } finally {
    await consumer.disconnect();
  }
  return messages.filter(({ message }) => String(message.value) !== malformed);
}

async function namesAtBrokers(kafka: Kafka, isOurs: (name: string) => boolean) {
  const admin = kafka.admin();
  await admin.connect();
  try {
    const topics = (await admin.listTopics()).filter(isOurs).sort();
    const { groups } = await admin.listGroups();
    return {
      topics,
      groups: groups
        .map(({ groupId }) => groupId)
        .filter(isOurs)
        .sort(),
    };
  } finally {
    await admin.disconnect();
  }
}

async function tablesOf(mysqlUrl: string): Promise<ReadonlySet<string>> {
  const connection = await createConnection(mysqlUrl);
  try {
    const [rows] = await connection.query(
      `SELECT t.table_type, c.table_name, c.column_name FROM information_schema.columns c
       JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name
       WHERE c.table_schema = DATABASE()`,
    );
    return new Set(
      (rows as readonly Record<string, string>[]).flatMap((row) => {
        const [type, table = '', column] = Object.values(row);
        const thing = thingName('read-models.db', type === 'VIEW' ? 'view' : 'table', table);
        return [thing, `${thing} column ${column}`];
      }),
    );
  } finally {
    await connection.end();
  }
}
