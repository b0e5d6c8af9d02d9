import assert from 'node:assert/strict';
import kafkajs from 'kafkajs';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { kafkaClient } from '../../infrastructure/kafka/client.ts';
import { pinoLog } from '../../infrastructure/pino-log.ts';
import { needs, onMariadbAndMysql } from '../support/servers.ts';
import { composeFile, serviceOf } from './compose-file.ts';

/** Read by the image's scripts, not by the broker. */
const ofTheImage = ['KAFKA_HEAP_OPTS'];

needs('KAFKA_BROKERS', 'docker-compose.yml and Kafka', (brokers) => {
  it('sets nothing that a broker does not know', async () => {
    const admin = kafkaClient({ brokers: brokers.split(',') }, pinoLog('silent', 'test')).admin();
    await admin.connect();
    try {
      const { brokers: nodes } = await admin.describeCluster();
      const { resources } = await admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: kafkajs.ConfigResourceTypes.BROKER, name: String(nodes[0]?.nodeId) }],
      });
      const known = new Set(resources[0]?.configEntries.map(({ configName }) => configName));
      const set = Object.keys(serviceOf(composeFile(), 'kafka').environment ?? {})
        .filter((name) => name.startsWith('KAFKA_') && !ofTheImage.includes(name))
        .map((name) =>
          name
            .replace(/^KAFKA_/, '')
            .toLowerCase()
            .replaceAll('_', '.'),
        );
      assert.ok(set.length > 10);
      assert.deepEqual(
        set.filter((name) => !known.has(name)),
        [],
      );
    } finally {
      await admin.disconnect();
    }
  });
});

onMariadbAndMysql('docker-compose.yml and its database server', (url) => {
  it('sets nothing that a server does not know, and what lets the fast writes work', async () => {
    const connection = await createConnection(url);
    try {
      const [rows] = await connection.query<RowDataPacket[]>('SHOW GLOBAL VARIABLES');
      const known = new Set(rows.map(({ Variable_name }) => Variable_name as string));
      const flags = (serviceOf(composeFile(), 'mysql').command ?? []).map((flag) =>
        flag.replace(/^--/, '').split('='),
      );
      const set = flags.map(([name = '', value]) => [name.replaceAll('-', '_'), value] as const);
      assert.deepEqual(
        set.filter(([name]) => !known.has(name)),
        [],
      );
      assert.equal(new Map(set).get('local_infile'), 'ON');
    } finally {
      await connection.end();
    }
  });
});
