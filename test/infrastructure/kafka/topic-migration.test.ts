import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { TelemetryRecord } from '../../../application/ports/telemetry-log.ts';
import { readLog } from '../../../application/rebuild/build-consumer.ts';
import { partitionOf } from '../../../infrastructure/kafka/telemetry-codec.ts';
import { KafkaTelemetrySource } from '../../../infrastructure/kafka/telemetry-source.ts';
import { migrateTopic } from '../../../infrastructure/kafka/topic-migration.ts';
import { KafkaTopicReader } from '../../../infrastructure/kafka/topic-reader.ts';
import { StartupError } from '../../../infrastructure/startup-error.ts';
import { newPublication, reading } from '../../contracts/telemetry-log.contract.ts';
import { eventually } from '../../support/eventually.ts';
import { needs } from '../../support/servers.ts';
import { kafkaFixture } from './kafka-fixture.ts';

const partitions = 5;
const devices = Array.from({ length: 30 }, (_, n) => `device-${n}`);
type Placed = { readonly partition: number; readonly event: TelemetryRecord };

needs('KAFKA_BROKERS', 'Kafka', (brokers) => {
  describe('Copying a topic', function () {
    this.timeout(180_000);
    let fixture: Awaited<ReturnType<typeof kafkaFixture>>;
    let to: string;

    beforeEach(async () => {
      fixture = await kafkaFixture(brokers, { topic: { partitions: 2 } });
      to = `${fixture.topic}-copy`;
    });
    afterEach(async () => {
      const admin = fixture.newClient().admin();
      await admin.connect();
      if ((await admin.listTopics()).includes(to)) await admin.deleteTopics({ topics: [to] });
      await admin.disconnect();
      await fixture.close();
    });

    const copy = (signal = new AbortController().signal, count = partitions) =>
      migrateTopic(
        fixture.newClient,
        {
          from: fixture.topic,
          to: { topic: to, partitions: count, replication: 1, minInSync: 1, retention: -1 },
          group: `test-${fixture.topic}`,
          compression: 'zstd',
          signal,
          onProgress() {},
        },
        fixture.logger,
      );

    async function eventsOf(topic: string): Promise<readonly Placed[]> {
      const reader = new KafkaTopicReader(fixture.newClient(), topic);
      const options = { concurrency: 3, batchSize: 1000, sessionTimeout: 10_000, stallAfter: 30_000 };
      const source = new KafkaTelemetrySource(fixture.newClient, reader, options, fixture.logger);
      const ends = new Map(
        [...(await source.ends())].flatMap(([p, end]) => (end === null ? [] : [[p, end]])),
      );
      const found: Placed[] = [];
      const signal = AbortSignal.timeout(60_000);
      await readLog(source, ends, { group: randomUUID(), signal }, (events, partition) =>
        found.push(...events.map((event) => ({ partition, event }))),
      );
      await reader.close();
      return found;
    }

    const deviceOf = ({ data }: TelemetryRecord) =>
      typeof data === 'object' && data !== null && 'deviceId' in data ? String(data.deviceId) : undefined;

    const idsByDevice = (placed: readonly Placed[]) =>
      Object.fromEntries(
        [...Map.groupBy(placed, ({ event }) => deviceOf(event) ?? 'of none')]
          .map(([device, some]) => [device, some.map(({ event }) => event.id)] as const)
          .sort(([a], [b]) => (a < b ? -1 : 1)),
      );

    const said = ({ event }: Placed) => {
      const { position: _, ...rest } = event;
      return { ...rest, data: event.data };
    };

    it('carries over each event once, in order, while readings keep coming and runs are stopped', async () => {
      let n = 0;
      const publishSome = async () => {
        n += 1;
        await fixture.log.publish(newPublication(devices.map((device) => reading(device, n))));
      };
      for (let i = 0; i < 200; i += 1) await publishSome();
      const producer = fixture.newClient().producer();
      await producer.connect();
      const foreign = { deviceId: 'device-3', timestamp: 5, metrics: { odd: 1 } };
      await producer.send({
        topic: fixture.topic,
        messages: [
          { key: 'device-3', value: JSON.stringify(foreign), partition: partitionOf('device-3', 2) },
          { key: null, value: 'no reading at all', partition: 1, headers: { ce_actor: 'someone' } },
        ],
      });
      await producer.disconnect();

      let isOver = false;
      const publishing = (async () => {
        while (!isOver) await publishSome();
      })();
      try {
        for (let stopped = 0; stopped < 3; stopped += 1) {
          const stop = new AbortController();
          const run = copy(stop.signal);
          run.catch(() => {});
          const before = n;
          await eventually(() => assert.ok(n > before + 30), { within: 30_000 });
          stop.abort(new Error('stopped'));
          await run.catch(() => {});
        }
        const { done, total } = await copy();
        assert.ok(done > 0 && done <= total);
      } finally {
        isOver = true;
        await publishing;
      }
      const { done, total } = await copy();
      assert.equal(done, total);

      const [before, after] = [await eventsOf(fixture.topic), await eventsOf(to)];
      assert.equal(before.length, n * devices.length + 2);
      assert.deepEqual(idsByDevice(after), idsByDevice(before));
      const byId = (placed: readonly Placed[]) => new Map(placed.map((one) => [one.event.id, said(one)]));
      assert.deepEqual(byId(after), byId(before));
      for (const { partition, event } of after) {
        const device = deviceOf(event);
        if (device !== undefined) assert.equal(partition, partitionOf(device, partitions), event.id);
      }
    });

    it('refuses a topic with other messages, or with another number of partitions', async () => {
      await fixture.log.publish(newPublication([reading('device-1', 1)]));
      await copy();
      await assert.rejects(copy(undefined, 7), (error) => {
        assert.ok(error instanceof StartupError);
        assert.match(error.message, /has 5 partitions, not 7/);
        return true;
      });
      to = fixture.topic;
      await assert.rejects(copy(undefined, 2), /has messages that were not copied to it/);
      to = `${fixture.topic}-copy`;
    });
  });
});
