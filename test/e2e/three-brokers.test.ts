import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import kafkajs, { type Admin } from 'kafkajs';
import { kafkaClient } from '../../infrastructure/kafka/client.ts';
import { eventually } from '../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../support/fieldlog-process.ts';
import { type HttpClient, httpClient } from '../support/http-client.ts';
import { type LocalServer, localKafka } from '../support/local-servers.ts';
import { allConsumed } from '../support/running-server.ts';
import { needs } from '../support/servers.ts';

const quiet = { debug() {}, info() {}, warn() {}, error() {} };
/** A broker that has died is noticed in seconds, and what is written for it until then is refused at the deadline. */
const takenOver = { within: 60_000, every: 200 };

// The brokers named are not touched: these tests start three of their own.
needs('KAFKA_BROKERS', 'A server on three brokers of Kafka, two of which must have a reading', function () {
  this.timeout(180_000);
  let cluster: LocalServer;
  let admin: Admin;
  let folder: string;
  let server: FieldlogProcess;
  let call: HttpClient;
  let sent = 0;
  /** Timestamps of readings that were answered with 202. */
  const accepted: number[] = [];

  before(async () => {
    cluster = await localKafka(3);
    admin = kafkaClient({ brokers: cluster.address.split(',') }, quiet).admin();
    await admin.connect();
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-brokers-'));
    server = await started('readings');
    const [, url = ''] = await server.says(/Fieldlog: (http:\S+)/);
    call = httpClient(url);
    const json = { deviceId: 'a', name: 'a', type: 'test' };
    assert.equal((await call('POST', '/api/v1/devices', { json })).status, 201);
  });
  after(async () => {
    await server?.end('SIGTERM');
    await admin?.disconnect();
    await cluster?.close();
    await rm(folder, { recursive: true, force: true });
  });

  const started = async (topic: string) =>
    fieldlog(['serve'], {
      KAFKA_BROKERS: cluster.address,
      KAFKA_TOPIC: topic,
      KAFKA_PARTITIONS: '3',
      KAFKA_REPLICATION: '3',
      KAFKA_MIN_INSYNC: '2',
      DATA_DIR: path.join(folder, topic),
      PORT: '0',
    });

  async function send(): Promise<{ readonly status: number; readonly retryAfter: string | null }> {
    sent += 1;
    const timestamp = sent * 1000;
    const json = { deviceId: 'a', timestamp, metrics: { n: sent } };
    const { status, headers } = await call('POST', '/api/v1/telemetry', { json });
    if (status === 202) accepted.push(timestamp);
    return { status, retryAfter: headers.get('Retry-After') };
  }

  const isTaken = async () => assert.equal((await send()).status, 202);

  async function allThere(): Promise<void> {
    await allConsumed(call, 60_000);
    const { json } = await call('GET', '/api/v1/devices/a/telemetry?from=0&to=100000000&limit=10000');
    const found = json.points.map(({ timestamp }: { timestamp: string }) => Date.parse(timestamp));
    const missing = accepted.filter((timestamp) => !found.includes(timestamp));
    assert.deepEqual(missing, [], `of ${accepted.length} accepted`);
    assert.equal(new Set(found).size, found.length);
  }

  it('makes its topic as it is configured', async () => {
    const { topics } = await admin.fetchTopicMetadata({ topics: ['readings'] });
    const partitions = topics[0]?.partitions ?? [];
    assert.deepEqual(
      partitions.map(({ replicas }) => replicas.length),
      [3, 3, 3],
    );
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: 'readings' }],
    });
    const found = resources[0]?.configEntries.find(({ configName }) => configName === 'min.insync.replicas');
    assert.equal(found?.configValue, '2');
    assert.doesNotMatch(server.errors(), /replica/);
  });

  it('says at its start that a topic which is there keeps readings on fewer brokers, or acknowledges with fewer', async () => {
    const topics = [
      ['two-replicas', 2, '2', /fewer replicas than KAFKA_REPLICATION/],
      ['one-in-sync', 3, '1', /one replica in sync.*KAFKA_MIN_INSYNC/],
    ] as const;
    for (const [topic, replicationFactor, value, warning] of topics) {
      const configEntries = [{ name: 'min.insync.replicas', value }];
      await admin.createTopics({ topics: [{ topic, numPartitions: 3, replicationFactor, configEntries }] });
      const other = await started(topic);
      await other.says(/Fieldlog: (http:\S+)/);
      assert.equal(await other.end('SIGTERM'), 0);
      assert.match(other.errors(), warning);
    }
  });

  it('takes readings with one broker gone, refuses them with two, and has all that it has taken', async () => {
    for (let n = 0; n < 20; n += 1) await isTaken();
    await cluster.control('kill', 1);
    await eventually(isTaken, takenOver);
    for (let n = 0; n < 20; n += 1) await isTaken();
    await allThere();

    await cluster.control('kill', 2);
    const answers = await Promise.all(Array.from({ length: 20 }, send));
    for (const { status, retryAfter } of answers) {
      assert.equal(status, 503);
      assert.ok(Number(retryAfter) >= 1);
    }
    await Promise.all([1, 2].map((broker) => cluster.control('start', broker)));
    await eventually(isTaken, takenOver);
    await allThere();
  });
});
