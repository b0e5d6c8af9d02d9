import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { setTimeout as pause } from 'node:timers/promises';
import kafkajs from 'kafkajs';
import {
  type Batch,
  type BatchConsumer,
  CheckpointOfAnotherLog,
} from '../../../application/ports/event-source.ts';
import type { TelemetryRecord } from '../../../application/ports/telemetry-log.ts';
import { readLog } from '../../../application/rebuild/build-consumer.ts';
import { partitionOf } from '../../../infrastructure/kafka/telemetry-codec.ts';
import { newDevice, newPublication, reading } from '../../contracts/telemetry-log.contract.ts';
import { eventually } from '../../support/eventually.ts';
import { runUntil } from '../../support/recording-consumer.ts';
import { needs } from '../../support/servers.ts';
import { FencedConsumer } from './fenced-consumer.ts';
import { type Fixture, kafkaFixture } from './kafka-fixture.ts';

type KafkaConsumerGroup = { prototype: { fetch(nodeId: string): Promise<{ messages: unknown[] }[]> } };
const ConsumerGroup: KafkaConsumerGroup = createRequire(import.meta.url)(
  'kafkajs/src/consumer/consumerGroup',
);

needs('KAFKA_BROKERS', 'Consuming from Kafka', function (brokers) {
  this.timeout(60_000);
  let kafka: Fixture;
  let group: string;
  let consumer: FencedConsumer;
  const deviceOf = new Map<string, string>();

  const open = async (options: Parameters<typeof kafkaFixture>[1] = {}) => {
    kafka = await kafkaFixture(brokers, options);
    group = randomUUID();
    consumer = new FencedConsumer();
  };
  afterEach(() => kafka.close());

  const publish = async (count: number, device = newDevice()) => {
    const publication = newPublication(Array.from({ length: count }, (_, n) => reading(device, n)));
    const [position] = await kafka.log.publish(publication);
    assert.ok(position);
    publication.events.forEach((_, i) => {
      deviceOf.set(`${publication.id}/${i}`, device);
    });
    return { ids: publication.events.map((_, i) => `${publication.id}/${i}`), ...position };
  };
  const consumedOnce = (ids: readonly string[]) =>
    assert.deepEqual(
      new Map(ids.map((id) => [id, consumer.effects.get(id)])),
      new Map(ids.map((id) => [id, 1])),
    );
  const run = (
    until: () => Promise<unknown>,
    source = kafka.source,
    by: BatchConsumer<TelemetryRecord> = consumer,
  ) => runUntil(source, by, group, until);
  const runUntilConsumed = (ids: readonly string[]) =>
    run(() => eventually(() => consumedOnce(ids), { within: 40_000 }));
  const said = (message: RegExp) => kafka.lines.filter((line) => message.test(line.message));

  describe('a batch that fails', () => {
    it('with an error that kafkajs gives up for is tried again by the same source', async () => {
      await open();
      const { ids } = await publish(3);
      const errors = [new TypeError('a'), new RangeError('b'), new ReferenceError('c'), new SyntaxError('d')];
      const faltering: BatchConsumer<TelemetryRecord> = {
        checkpoint: (partition) => consumer.checkpoint(partition),
        async consume(batch) {
          const error = errors.shift();
          if (error) throw error;
          await consumer.consume(batch);
        },
      };
      await run(() => eventually(() => consumedOnce(ids)), kafka.source, faltering);
      assert.deepEqual(errors, []);
    });

    it('holds up its own partition only', async () => {
      await open();
      const [one, other] = [await publish(1), await publish(1)];
      let third = await publish(1);
      while (third.partition === one.partition) third = await publish(1);
      const failing: BatchConsumer<TelemetryRecord> = {
        checkpoint: (partition) => consumer.checkpoint(partition),
        consume: (batch) =>
          batch.partition === one.partition ? Promise.reject(new Error('poison')) : consumer.consume(batch),
      };
      const source = kafka.source.run(failing, { group, signal: new AbortController().signal });
      source.catch(() => undefined);
      await eventually(() => consumedOnce(third.ids));
      await assert.rejects(source, /poison/);
      assert.ok(other.ids.length > 0);
    });

    it('is tried for ever where the others must continue, and is taken once it no longer fails', async () => {
      await open();
      const one = await publish(1);
      let other = await publish(1);
      while (other.partition === one.partition) other = await publish(1);
      let tries = 0;
      let isHealed = false;
      const failing: BatchConsumer<TelemetryRecord> = {
        checkpoint: (partition) => consumer.checkpoint(partition),
        async consume(batch) {
          if (batch.partition !== one.partition || isHealed) return consumer.consume(batch);
          tries += 1;
          throw new Error('poison');
        },
      };
      const stop = new AbortController();
      const running = kafka.source.run(failing, { group, signal: stop.signal, keepsOthers: true });
      await eventually(() => assert.ok(tries >= 6), { within: 20_000 });
      const later = await publish(1, deviceOf.get(other.ids[0] as string));
      await eventually(() => consumedOnce([...other.ids, ...later.ids]), { within: 20_000 });
      assert.deepEqual(
        kafka.lines.filter(({ level }) => level === 'error').map(({ fields }) => fields.partition),
        [one.partition],
      );
      isHealed = true;
      await eventually(() => consumedOnce(one.ids), { within: 20_000 });
      stop.abort();
      await running;
    });
  });

  it('consumes at most as many partitions at once as it may', async () => {
    await open({ topic: { partitions: 6 }, session: { concurrency: 2 } });
    const published = await Promise.all(Array.from({ length: 30 }, () => publish(1)));
    const partitions = new Set(published.map(({ partition }) => partition));
    assert.ok(partitions.size > 2, 'the devices are of too few partitions');
    const two = Promise.withResolvers<void>();
    let underWay = 0;
    let most = 0;
    const counting: BatchConsumer<TelemetryRecord> = {
      checkpoint: (partition) => consumer.checkpoint(partition),
      async consume(batch) {
        underWay += 1;
        most = Math.max(most, underWay);
        if (underWay === 2) two.resolve();
        await two.promise;
        // Time enough for a third to come, which is here already.
        await kafka.reader.check();
        await consumer.consume(batch);
        underWay -= 1;
      },
    };
    const ids = published.flatMap((one) => one.ids);
    await run(() => eventually(() => consumedOnce(ids)), kafka.source, counting);
    assert.equal(most, 2);
  });

  it('continues with other partitions while a batch waits, and with its own when it no longer does', async () => {
    await open({ session: { concurrency: 1 } });
    const held = newDevice();
    const first = await publish(1, held);
    const others = Array.from({ length: 20 }, newDevice).filter(
      (device) => partitionOf(device, 3) !== first.partition,
    );
    const begun = Promise.withResolvers<void>();
    const over = Promise.withResolvers<void>();
    const rest: string[] = [];
    const gated: BatchConsumer<TelemetryRecord> = {
      checkpoint: (partition) => consumer.checkpoint(partition),
      async consume(batch, waiting) {
        if (batch.partition === first.partition) {
          waiting?.();
          begun.resolve();
          await over.promise;
        }
        await consumer.consume(batch);
      },
    };
    await run(
      async () => {
        // Only now, so that they cannot have been fetched together.
        await begun.promise;
        for (const device of others) rest.push(...(await publish(1, device)).ids);
        await eventually(() => consumedOnce(rest), { within: 20_000 });
        assert.equal(consumer.effects.size, rest.length);
        const { ids } = await publish(1, held);
        over.resolve();
        await eventually(() => consumedOnce([...first.ids, ...ids, ...rest]), { within: 20_000 });
      },
      kafka.source,
      gated,
    );
  });

  it('keeps its partitions through a batch that takes longer than the session', async () => {
    await open({ topic: { partitions: 1 }, session: { sessionTimeout: 3000 } });
    const { ids } = await publish(2);
    const gate = Promise.withResolvers<void>();
    const batches: Batch<TelemetryRecord>[] = [];
    const slow: BatchConsumer<TelemetryRecord> = {
      checkpoint: (partition) => consumer.checkpoint(partition),
      async consume(batch) {
        batches.push(batch);
        if (batches.length === 1) await gate.promise;
        await consumer.consume(batch);
      },
    };
    await run(
      async () => {
        await eventually(() => assert.equal(batches.length, 1));
        const waiting = await kafka.reopen();
        await runUntil(waiting.source, slow, group, async () => {
          // More than two sessions, in which the member that works must not be taken for dead.
          await pause(7000);
          assert.equal(batches.length, 1);
          gate.resolve();
          await eventually(() => consumedOnce(ids));
          const more = await publish(1);
          await eventually(() => consumedOnce(more.ids), { within: 20_000 });
        });
      },
      kafka.source,
      slow,
    );
    assert.equal(consumer.delivered.length, 3);
  });

  it('starts at the checkpoint, whatever offsets the group has committed to Kafka', async () => {
    await open();
    const { ids, partition } = await publish(4);
    const admin = kafka.newClient().admin();
    await admin.connect();
    await admin.setOffsets({ groupId: group, topic: kafka.topic, partitions: [{ partition, offset: '1' }] });
    await admin.disconnect();
    await runUntilConsumed(ids);
  });

  it('commits its offsets to Kafka too, for those who look at the lag there', async () => {
    await open({ session: { stallAfter: 600 } });
    const { ids, partition } = await publish(4);
    const admin = kafka.newClient().admin();
    await admin.connect();
    await run(async () => {
      await eventually(() => consumedOnce(ids));
      await eventually(async () => {
        const [committed] = await admin.fetchOffsets({ groupId: group, topics: [kafka.topic] });
        assert.equal(committed?.partitions.find((one) => one.partition === partition)?.offset, '1');
      });
    });
    await admin.disconnect();
  });

  it('neither loses, doubles nor stalls while a member comes and goes every second', async function () {
    const seconds = Number(process.env.STORM_SECONDS ?? 8);
    this.timeout((seconds + 90) * 1000);
    await open({ topic: { partitions: 6 }, session: { batchSize: 50 } });
    const devices = Array.from({ length: 30 }, newDevice);
    const stop = new AbortController();
    const ids: string[] = [];
    const publishing = (async () => {
      for (; !stop.signal.aborted; await pause(20))
        ids.push(
          ...(await Promise.all(devices.map((device) => publish(2, device)))).flatMap((one) => one.ids),
        );
    })();
    const members: Promise<void>[] = [];
    const join = async (signal: AbortSignal) => {
      const { source } = await kafka.reopen();
      members.push(source.run(consumer, { group, signal }));
    };

    await join(stop.signal);
    await eventually(() => assert.ok(consumer.effects.size > 0));
    let idleSeconds = 0;
    for (let second = 0; second < seconds; second += 1) {
      const before = consumer.effects.size;
      const leaves = new AbortController();
      await join(leaves.signal);
      await pause(1000);
      leaves.abort();
      if (consumer.effects.size === before) idleSeconds += 1;
    }
    stop.abort();
    await Promise.all([publishing, ...members]);
    const during = consumer.effects.size;
    const missing = () => ids.filter((id) => consumer.effects.get(id) !== 1).length;
    await run(() => eventually(() => assert.equal(missing(), 0), { within: 40_000, every: 100 }));

    assert.equal(consumer.effects.size, ids.length);
    const order = new Map(ids.map((id, i) => [id, i]));
    const last = new Map<string, number>();
    for (const id of consumer.effects.keys()) {
      const device = deviceOf.get(id) as string;
      assert.ok(
        (order.get(id) as number) > (last.get(device) ?? -1),
        'the events of a device keep their order',
      );
      last.set(device, order.get(id) as number);
    }
    assert.ok(
      during > ids.length / 2,
      `${during} of ${ids.length} were consumed while members came and went`,
    );
    console.info(
      `      ${ids.length} events, ${during} consumed in the storm, ${idleSeconds} of ${seconds} seconds without`,
    );
  });

  describe('with transactions of other producers', () => {
    /** Sends a reading of each device in one transaction to partition 0. */
    const transact = async (devices: readonly string[], how: 'commit' | 'abort') => {
      const producer = kafka.newClient().producer({ transactionalId: randomUUID(), maxInFlightRequests: 1 });
      await producer.connect();
      const transaction = await producer.transaction();
      const messages = devices.map((key) => ({ key, value: JSON.stringify(reading(key, 1)), partition: 0 }));
      await transaction.send({ topic: kafka.topic, messages });
      const high = async () => Number((await kafka.reader.bounds()).get(0)?.high);
      const before = await high();
      await transaction[how]();
      await producer.disconnect();
      // The marker is written some time after the answer.
      await eventually(async () => assert.equal(await high(), before + devices.length + 1));
    };
    const devices = ['one', 'two'];

    for (const [last, end] of [
      ['commit', '2'],
      ['abort', '2'],
      ['many aborts', '2'],
    ] as const)
      it(`ends with the last message although markers follow: ${last} last`, async () => {
        await open({ topic: { partitions: 1 }, session: { stallAfter: 1500 } });
        await transact(devices, 'commit');
        if (last === 'abort') await transact(devices, 'abort');
        if (last === 'many aborts')
          for (let i = 0; i < 5; i += 1) await transact(Array(20).fill('three'), 'abort');
        // By a reader that knows nothing yet, and by one that has seen the end move.
        for (const { source } of [await kafka.reopen(), kafka]) {
          const ends = await source.ends();
          assert.deepEqual(ends, new Map([[0, end]]));
          assert.equal((await source.countAfter(0, end)).events, 0);
          assert.equal((await source.countAfter(0, null)).events, 2);
          const seen: string[] = [];
          await readLog(
            source,
            new Map([[0, end]]),
            { group: randomUUID(), signal: AbortSignal.timeout(30_000) },
            (events) => seen.push(...events.map(({ position }) => position)),
          );
          assert.deepEqual(seen, ['1', '2']);
        }
      });

    it('is not taken for stalled at a marker, and continues behind it', async () => {
      let ticks = 0;
      await open({ topic: { partitions: 1 }, session: { stallAfter: 900 } });
      await transact(devices, 'commit');
      const { reader } = kafka;
      const ask = reader.ends.bind(reader);
      reader.ends = () => {
        ticks += 1;
        return ask();
      };
      await run(async () => {
        await eventually(() => assert.equal(consumer.effects.size, 2));
        const before = ticks;
        // Three ticks are as long as a partition may stand still.
        await eventually(() => assert.ok(ticks > before + 6), { within: 20_000 });
        assert.deepEqual(said(/built anew/), []);
        const { ids } = await publish(1);
        await eventually(() => consumedOnce(ids));
      });
    });
  });

  describe('when the topic has changed', () => {
    const deleteUpTo = async (partition: number, offset: string) => {
      const admin = kafka.newClient().admin();
      await admin.connect();
      // kafkajs deletes only in a topic that it has looked at.
      await admin.fetchTopicOffsets(kafka.topic);
      await admin.deleteTopicRecords({ topic: kafka.topic, partitions: [{ partition, offset }] });
      await admin.disconnect();
    };

    it('continues at what is left when messages expired before they were consumed, and says so', async () => {
      const lost: [number, number][] = [];
      await open({
        topic: { partitions: 1 },
        session: { onHistoryLost: (partition, messages) => lost.push([partition, messages]) },
      });
      const first = await publish(1);
      await runUntilConsumed(first.ids);
      await publish(1);
      await publish(1);
      const left = await publish(2);
      await deleteUpTo(0, '3');
      await runUntilConsumed(left.ids);
      assert.deepEqual(lost, [[0, 2]]);
      const [line] = said(/expired/);
      assert.equal(line?.level, 'error');
      assert.deepEqual([line?.fields.from, line?.fields.to], ['1', '3']);
      assert.deepEqual(await kafka.source.expired(), new Map([[0, '3']]));
      assert.equal((await kafka.source.countAfter(0, null)).events, 2);
    });

    it('starts at what is left without a checkpoint, and knows the end of what is wholly expired', async () => {
      await open({ topic: { partitions: 1 } });
      await publish(1);
      await deleteUpTo(0, '1');
      assert.deepEqual(await kafka.source.ends(), new Map([[0, '1']]));
      const { ids } = await publish(1);
      await runUntilConsumed(ids);
      assert.deepEqual(said(/expired/), []);
    });

    it('takes nothing, and ends with the reason, where the topic ends before the checkpoint', async () => {
      await open({ topic: { partitions: 1 } });
      consumer.checkpoints.set(0, '2');
      await publish(1);
      const never = new Promise<never>(() => {});
      await assert.rejects(
        run(() => never),
        (error) => {
          assert.ok(error instanceof CheckpointOfAnotherLog);
          assert.match(error.message, /ends at 1, before the checkpoint 2/);
          return true;
        },
      );
      assert.equal(consumer.effects.size, 0);
    });
  });

  describe('when kafkajs fails', () => {
    const { fetch } = ConsumerGroup.prototype;
    afterEach(() => {
      ConsumerGroup.prototype.fetch = fetch;
    });
    const failOnce = (how: KafkaConsumerGroup['prototype']['fetch']) => {
      ConsumerGroup.prototype.fetch = (nodeId) => {
        ConsumerGroup.prototype.fetch = fetch;
        return how(nodeId);
      };
    };

    it('continues with a new consumer after a crash that kafkajs does not come back from', async () => {
      let rebuilt = 0;
      await open({ session: { onRebuilt: () => (rebuilt += 1) } });
      const { ids } = await publish(2);
      failOnce(() => Promise.reject(new kafkajs.KafkaJSNonRetriableError('out of order')));
      await runUntilConsumed(ids);
      assert.equal(rebuilt, 1);
    });

    it('asks again for messages that it left out', async () => {
      await open({ topic: { partitions: 1 } });
      const ids = [...(await publish(2)).ids, ...(await publish(2)).ids];
      ConsumerGroup.prototype.fetch = async function (nodeId) {
        const batches = await fetch.call(this, nodeId);
        const full = batches.find(({ messages }) => messages.length > 1);
        if (full) ConsumerGroup.prototype.fetch = fetch;
        full?.messages.shift();
        return batches;
      };
      await runUntilConsumed(ids);
      assert.equal(ConsumerGroup.prototype.fetch, fetch);
    });

    it('continues with a new consumer when fetching stopped without a word', async () => {
      await open({ session: { stallAfter: 1500 } });
      const { ids } = await publish(2);
      failOnce(() => new Promise(() => {}));
      await runUntilConsumed(ids);
      assert.match(String(said(/built anew/)[0]?.fields.err), /has done nothing/);
    });

    it('continues with a new consumer when one partition stands still although its log grows', async () => {
      await open({ topic: { partitions: 1 }, session: { stallAfter: 1500 } });
      ConsumerGroup.prototype.fetch = async () => {
        await pause(50);
        return [];
      };
      const { ids } = await publish(2);
      await run(async () => {
        await eventually(() =>
          assert.match(String(said(/built anew/)[0]?.fields.err), /stands still at 0-0/),
        );
        ConsumerGroup.prototype.fetch = fetch;
        await eventually(() => consumedOnce(ids));
      });
    });
  });

  it('counts the events of many messages nearly', async () => {
    await open({ topic: { partitions: 1 } });
    await Promise.all(Array.from({ length: 3000 }, (_, n) => publish(1 + (n % 3))));
    const { position } = await publish(1);
    const { events: count } = await kafka.source.countAfter(0, null);
    assert.ok(Math.abs(count - 6001) < 300, `${count} of 6001`);
    assert.equal((await kafka.source.countAfter(0, position)).events, 0);
  });

  it('is nearly asleep while nothing happens', async () => {
    await open();
    const { ids } = await publish(1);
    const { setTimeout: original } = globalThis;
    let timers = 0;
    await run(async () => {
      await eventually(() => consumedOnce(ids));
      globalThis.setTimeout = ((...timer: Parameters<typeof original>) => {
        timers += 1;
        return original(...timer);
      }) as typeof original;
      try {
        await pause(1000);
      } finally {
        globalThis.setTimeout = original;
      }
    });
    // The queue of an idle connection alone set more than a thousand before it was repaired.
    assert.ok(timers < 100, `${timers} timers in a second`);
  });
});
