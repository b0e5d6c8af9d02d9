import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { PartitionsChanged } from '../../../application/ports/event-source.ts';
import { TelemetryLogUnavailable, type TelemetryRecord } from '../../../application/ports/telemetry-log.ts';
import { KafkaTopicReader } from '../../../infrastructure/kafka/topic-reader.ts';
import { ensureTopic } from '../../../infrastructure/kafka/topics.ts';
import { StartupError } from '../../../infrastructure/startup-error.ts';
import { logIdentityContract } from '../../contracts/log-identity.contract.ts';
import { newDevice, newPublication, reading } from '../../contracts/telemetry-log.contract.ts';
import { eventually } from '../../support/eventually.ts';
import { needs } from '../../support/servers.ts';
import { kafkaFixture } from './kafka-fixture.ts';

needs('KAFKA_BROKERS', 'Kafka', (brokers) => {
  /** The copy is of the messages: a topic that is made anew and filled from it has the same ones at the same offsets. */
  logIdentityContract<TelemetryRecord>(
    'A topic of Kafka',
    async () => {
      const fixture = await kafkaFixture(brokers, { topic: { partitions: 1 } });
      const published: Parameters<typeof fixture.log.publish>[0][] = [];
      let copied = 0;
      let { log, source } = fixture;
      return {
        source: async () => source,
        idOf: ({ id }) => id,
        append(count) {
          const device = newDevice();
          const publication = newPublication(Array.from({ length: count }, (_, n) => reading(device, n)));
          published.push(publication);
          return log.publish(publication);
        },
        async keepCopy() {
          copied = published.length;
        },
        async putBack() {
          await remakeTopic(fixture);
          ({ log, source } = await fixture.reopen());
          for (const publication of published.splice(0).slice(0, copied)) await log.publish(publication);
        },
        close: fixture.close,
      };
    },
    { asItRuns: true },
  );

  async function remakeTopic({ newClient, topic, logger }: Awaited<ReturnType<typeof kafkaFixture>>) {
    const admin = newClient().admin();
    await admin.connect();
    await admin.deleteTopics({ topics: [topic] });
    await eventually(async () => assert.ok(!(await admin.listTopics()).includes(topic)));
    await admin.disconnect();
    const settings = { topic, partitions: 1, replication: 1, minInSync: 1, retention: -1 };
    await eventually(() => ensureTopic(newClient(), settings, logger), { within: 30_000, every: 200 });
  }

  describe('The partition count of a topic', function () {
    this.timeout(60_000);
    const counts = () => {
      const kept = new Map<string, number>();
      return {
        kept,
        async pinned(log: string, partitions: number) {
          kept.set(log, kept.get(log) ?? partitions);
          return kept.get(log) as number;
        },
      };
    };
    let fixture: Awaited<ReturnType<typeof kafkaFixture>>;

    beforeEach(async () => {
      fixture = await kafkaFixture(brokers, { topic: { partitions: 2 }, client: {} });
    });
    afterEach(() => fixture.close());

    async function grow(): Promise<void> {
      const admin = fixture.newClient().admin();
      await admin.connect();
      await admin.createPartitions({ topicPartitions: [{ topic: fixture.topic, count: 4 }] });
      // Brokers learn of it one after the other.
      await eventually(async () => {
        const { topics } = await admin.fetchTopicMetadata({ topics: [fixture.topic] });
        assert.equal(topics[0]?.partitions.length, 4);
      });
      await admin.disconnect();
    }

    /** A reader that has not seen the topic's metadata before, as any has after a minute. */
    const newReader = () => new KafkaTopicReader(fixture.newClient(), fixture.topic);

    it('is kept by the id of the topic, and a changed one refused with what to do', async () => {
      const kept = counts();
      const first = newReader();
      await first.pin(kept);
      assert.equal(await first.partitions(), 2);
      assert.match([...kept.kept.keys()].join(), /^[0-9a-f]{32}$/);
      await first.close();
      await grow();
      const second = newReader();
      await assert.rejects(second.pin(kept), (error) => {
        assert.ok(error instanceof PartitionsChanged);
        assert.match(error.message, /has 4 partitions and had 2 .*`fieldlog topics migrate`$/);
        return true;
      });
      await assert.rejects(second.bounds(), PartitionsChanged);
      await assert.rejects(second.check(), PartitionsChanged);
      await second.close();
    });

    it('refuses publications and ends consumers at once when it changes while they run', async () => {
      await grow();
      const { log, source, reader } = await fixture.reopen();
      await reader.pin({ pinned: async () => 2 }).catch(() => {});
      await assert.rejects(log.publish(newPublication([reading(newDevice(), 1)])), (error) => {
        assert.ok(error instanceof TelemetryLogUnavailable);
        assert.match(error.message, /topics migrate/);
        assert.equal(error.retryAfter, 60);
        return true;
      });
      const consumer = { checkpoint: async () => null, consume: async () => {} };
      const signal = AbortSignal.timeout(30_000);
      await assert.rejects(source.run(consumer, { group: randomUUID(), signal }), PartitionsChanged);
    });

    it('does not matter for a topic that is there no longer: none is made in its place', async () => {
      const settings = {
        topic: `gone-${randomUUID()}`,
        partitions: 1,
        replication: 1,
        minInSync: 1,
        retention: -1,
      };
      await assert.rejects(
        ensureTopic(fixture.newClient(), { ...settings, isMissed: true }, fixture.logger),
        (error) => error instanceof StartupError && /is missing, although/.test(error.message),
      );
    });
  });
});
