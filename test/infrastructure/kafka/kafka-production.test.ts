import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import kafkajs, { type Consumer, type ISocketFactoryArgs, type KafkaMessage } from 'kafkajs';
import type { DeadLetter } from '../../../application/ports/read-models.ts';
import { TelemetryLogUnavailable } from '../../../application/ports/telemetry-log.ts';
import { readLog } from '../../../application/rebuild/build-consumer.ts';
import { deadLetterTopicOf, KafkaDeadLetterTopic } from '../../../infrastructure/kafka/dead-letter-topic.ts';
import type { Compression } from '../../../infrastructure/kafka/kafkajs-patches.ts';
import { KafkaTopicReader } from '../../../infrastructure/kafka/topic-reader.ts';
import { ensureTopic, warnOfTopic } from '../../../infrastructure/kafka/topics.ts';
import { newDevice, newPublication, reading } from '../../contracts/telemetry-log.contract.ts';
import { eventually } from '../../support/eventually.ts';
import { runUntil } from '../../support/recording-consumer.ts';
import { needs } from '../../support/servers.ts';
import { FencedConsumer } from './fenced-consumer.ts';
import { type Fixture, kafkaFixture } from './kafka-fixture.ts';

const produceRequest = 0;

/** Sockets that bring a produce request to the broker and lose the answer, as long as `cuts` lasts. */
function answerCutter() {
  const cutter = {
    cuts: 0,
    socketFactory({ host, port, onConnect }: ISocketFactoryArgs): Socket {
      const socket = connect({ host, port }, onConnect);
      const write = socket.write.bind(socket) as (data: Buffer, encoding: 'binary') => boolean;
      socket.write = ((data: Buffer, encoding: 'binary') => {
        if (cutter.cuts > 0 && data.readInt16BE(4) === produceRequest) {
          cutter.cuts -= 1;
          socket.removeAllListeners('data');
          socket.once('data', () => socket.destroy(new Error('cut')));
        }
        return write(data, encoding);
      }) as Socket['write'];
      return socket;
    },
  };
  return cutter;
}

needs('KAFKA_BROKERS', 'Producing to Kafka', function (brokers) {
  this.timeout(60_000);
  let kafka: Fixture;
  const open = async (options: Parameters<typeof kafkaFixture>[1] = {}) => {
    kafka = await kafkaFixture(brokers, options);
  };
  afterEach(() => kafka.close());

  const logged = async (count: number) => {
    const consumer = new FencedConsumer();
    await runUntil(kafka.source, consumer, randomUUID(), () =>
      eventually(() => assert.ok(consumer.delivered.length >= count), { within: 20_000 }),
    );
    return consumer.delivered;
  };

  for (const compression of ['none', 'gzip', 'zstd'] satisfies Compression[])
    it(`reads what it wrote with compression ${compression}`, async () => {
      await open({ compression });
      const publication = newPublication(Array.from({ length: 500 }, (_, n) => reading(newDevice(), n)));
      await kafka.log.publish(publication);
      const events = await logged(500);
      assert.deepEqual(new Set(events.map(({ data }) => data)), new Set(publication.events));
    });

  it('stores once what was acknowledged once, though the first answer was lost', async () => {
    const cutter = answerCutter();
    await open({ client: { socketFactory: cutter.socketFactory } });
    cutter.cuts = 1;
    const [position] = await kafka.log.publish(newPublication([reading(newDevice(), 1)]));
    assert.equal(cutter.cuts, 0);
    assert.equal(position?.position, '1');
    assert.equal((await kafka.source.ends()).get(position.partition), '1');
  });

  it('never takes the fate of one publication for that of another', async () => {
    const cutter = answerCutter();
    await open({ client: { socketFactory: cutter.socketFactory }, log: { deadline: 1000 } });
    const device = newDevice();
    await kafka.log.publish(newPublication([reading(device, 0)]));
    cutter.cuts = Number.POSITIVE_INFINITY;
    await assert.rejects(kafka.log.publish(newPublication([reading(device, 1)])), TelemetryLogUnavailable);
    cutter.cuts = 0;
    const publication = newPublication([reading(device, 2)]);
    const [position] = await eventually(() => kafka.log.publish(publication), { within: 20_000 });
    const end = Number((await kafka.source.ends()).get(position?.partition as number));
    const events = await logged(end);
    assert.equal(events.find((event) => event.position === position?.position)?.id, `${publication.id}/0`);
  });

  it('makes the topic as configured, once, and warns when it is otherwise', async () => {
    await open();
    const settings = {
      topic: `test-${randomUUID()}`,
      partitions: 4,
      replication: 1,
      minInSync: 1,
      retention: 86_400_000,
    };
    await Promise.all([1, 2, 3].map(() => ensureTopic(kafka.newClient(), settings, kafka.logger)));
    const admin = kafka.newClient().admin();
    await admin.connect();
    try {
      const { resources } = await admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: settings.topic }],
      });
      const found = new Map(
        resources[0]?.configEntries.map(({ configName, configValue }) => [configName, configValue]),
      );
      assert.equal(found.get('retention.ms'), '86400000');
      assert.equal(found.get('min.insync.replicas'), '1');
      const reader = new KafkaTopicReader(kafka.newClient(), settings.topic);
      assert.equal(await reader.partitions(), 4);
      await reader.close();
      const warnings = () => kafka.lines.filter(({ level }) => level === 'warn');
      assert.deepEqual(warnings(), []);
      await ensureTopic(kafka.newClient(), { ...settings, partitions: 5 }, kafka.logger);
      assert.deepEqual(
        warnings().map(({ fields }) => [fields.partitions, fields.configured]),
        [[4, 5]],
      );
    } finally {
      await admin.deleteTopics({ topics: [settings.topic] });
      await admin.disconnect();
    }
  });

  it('takes for the arrival of a message when the broker took it, whatever its producer says', async () => {
    await open({ topic: { partitions: 1 } });
    const device = newDevice();
    const producer = kafka.newClient().producer();
    await producer.connect();
    const before = Date.now();
    for (const timestamp of ['1', '4102444800000'])
      await producer.send({
        topic: kafka.topic,
        messages: [{ key: device, value: JSON.stringify(reading(device, 1)), timestamp }],
      });
    await producer.disconnect();
    const arrivals: number[] = [];
    await readLog(
      kafka.source,
      new Map([[0, '2']]),
      { group: randomUUID(), signal: AbortSignal.timeout(20_000) },
      (events) => arrivals.push(...events.map(({ receivedAt }) => receivedAt)),
    );
    assert.equal(arrivals.length, 2);
    for (const arrival of arrivals) assert.ok(arrival >= before - 1000 && arrival <= Date.now() + 1000);
  });

  const asConfigured = () => ({ topic: kafka.topic, replication: 1, minInSync: 1 });

  it('warns of a topic that one broker alone keeps, and of one with the times of its producers', async () => {
    await open();
    await warnOfTopic(kafka.newClient(), asConfigured(), kafka.logger);
    const warnings = () => kafka.lines.filter(({ level }) => level === 'warn').map(({ message }) => message);
    assert.equal(warnings().length, 1);
    assert.match(String(warnings()), /one replica.*KAFKA_REPLICATION/);
    const admin = kafka.newClient().admin();
    await admin.connect();
    await admin.alterConfigs({
      validateOnly: false,
      resources: [
        {
          type: kafkajs.ConfigResourceTypes.TOPIC,
          name: kafka.topic,
          configEntries: [{ name: 'message.timestamp.type', value: 'CreateTime' }],
        },
      ],
    });
    await admin.disconnect();
    await eventually(async () => {
      kafka.lines.splice(0);
      await warnOfTopic(kafka.newClient(), asConfigured(), kafka.logger);
      assert.match(String(warnings()), /message\.timestamp\.type=LogAppendTime/);
    });
  });

  it('is ready when the brokers answer for the topic, and not for one that is not there', async () => {
    await open();
    await kafka.reader.check();
    const missing = new KafkaTopicReader(kafka.newClient(), `test-${randomUUID()}`);
    await assert.rejects(missing.check(), TelemetryLogUnavailable);
    await missing.close();
  });

  it('opens only the sockets that it uses when many ask at once', async () => {
    let sockets = 0;
    await open({
      client: {
        socketFactory: ({ host, port, onConnect }) => {
          sockets += 1;
          return connect({ host, port }, onConnect);
        },
      },
    });
    await kafka.log.publish(newPublication(Array.from({ length: 20 }, (_, n) => reading(newDevice(), n))));
    await kafka.reader.close();
    sockets = 0;
    const counts = await Promise.all([0, 1, 2].map((partition) => kafka.source.countAfter(partition, null)));
    assert.equal(
      counts.reduce((sum, { events }) => sum + events, 0),
      20,
    );
    assert.equal(sockets, 2, 'one for fetching and one for the rest');
  });

  it('shows dead letters in a topic of their own', async () => {
    await open();
    const topic = deadLetterTopicOf(kafka.topic);
    await ensureTopic(
      kafka.newClient(),
      { topic, partitions: 1, replication: 1, minInSync: 1, retention: -1 },
      kafka.logger,
    );
    const feed = new KafkaDeadLetterTopic(kafka.newClient(), kafka.topic);
    const deadLetter: DeadLetter = {
      partition: 2,
      position: '1187-3',
      stream: 'device-7',
      eventId: 'p/3',
      eventType: 'TelemetryRecorded',
      cause: 'malformed',
      error: 'not a reading',
      stack: null,
      correlationId: 'c-1',
      event: 'text',
      parkedAt: 1_700_000_000_123,
      discarded: null,
    };
    const consumer = kafka.newClient().consumer({ groupId: randomUUID() });
    try {
      await feed.publish(deadLetter);
      const message = await firstMessage(consumer, topic);
      assert.deepEqual(JSON.parse(String(message.value)), deadLetter);
      assert.equal(String(message.key), 'device-7');
      assert.equal(String(message.headers?.ce_correlationid), 'c-1');
      assert.equal(String(message.headers?.ce_id), '2/1187-3');
    } finally {
      await consumer.disconnect();
      await feed.close();
      const admin = kafka.newClient().admin();
      await admin.connect();
      await admin.deleteTopics({ topics: [topic] });
      await admin.disconnect();
    }
    await assert.rejects(feed.publish(deadLetter), TelemetryLogUnavailable);
    await feed.close();
  });
});

async function firstMessage(consumer: Consumer, topic: string): Promise<KafkaMessage> {
  const { promise, resolve } = Promise.withResolvers<KafkaMessage>();
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({ eachMessage: async ({ message }) => resolve(message) });
  return promise;
}
