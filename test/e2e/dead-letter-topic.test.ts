import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { configFrom } from '../../infrastructure/config/config.ts';
import { kafkaClient } from '../../infrastructure/kafka/client.ts';
import { deadLetterTopicOf } from '../../infrastructure/kafka/dead-letter-topic.ts';
import { pinoLog } from '../../infrastructure/pino-log.ts';
import { type Served, serve } from '../../interfaces/composition/roles.ts';
import { type DistributedStores, distributedStores } from '../support/distributed-stores.ts';
import { eventually } from '../support/eventually.ts';
import { needs, onMariadbAndMysql } from '../support/servers.ts';

needs('KAFKA_BROKERS', 'A message that is no reading', (brokers) =>
  onMariadbAndMysql('in the telemetry topic', function (mysqlUrl) {
    this.timeout(60_000);
    const log = pinoLog('silent', 'test');
    const kafka = kafkaClient({ brokers: brokers.split(',') }, log);
    let stores: DistributedStores;
    let served: Served;

    before(async () => {
      stores = await distributedStores(brokers, mysqlUrl);
      served = await serve(configFrom({ ...stores.env, PORT: '0' }), log);
    });
    after(async () => {
      await served.close();
      await stores.close();
    });

    it('is a dead letter in the read models and in the dead-letter topic', async () => {
      const topic = stores.env.KAFKA_TOPIC as string;
      const text = `not a reading ${randomUUID()}`;
      const producer = kafka.producer();
      await producer.connect();
      await producer.send({ topic, messages: [{ key: 'somebody', value: text }] });
      await producer.disconnect();

      await eventually(
        async () => {
          const status = await fetch(`${served.url}/api/v1/status`);
          const { projections } = (await status.json()) as {
            projections: { projection: string; deadLetters: Record<string, number> }[];
          };
          const telemetry = projections.find(({ projection }) => projection === 'telemetry');
          assert.equal(
            Object.values(telemetry?.deadLetters ?? {}).reduce((sum, n) => sum + n, 0),
            1,
          );
        },
        { within: 30_000 },
      );

      const shown: string[] = [];
      const consumer = kafka.consumer({ groupId: `test-${randomUUID()}` });
      await consumer.connect();
      await consumer.subscribe({ topic: deadLetterTopicOf(topic), fromBeginning: true });
      await consumer.run({ eachMessage: async ({ message }) => void shown.push(String(message.value)) });
      await eventually(() => assert.equal(shown.length, 1), { within: 30_000 });
      await consumer.disconnect();
      assert.ok(shown[0]?.includes(text));
    });
  }),
);
