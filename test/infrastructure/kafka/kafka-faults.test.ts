import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { TelemetryLogUnavailable } from '../../../application/ports/telemetry-log.ts';
import { newDevice, newPublication, reading } from '../../contracts/telemetry-log.contract.ts';
import { eventually } from '../../support/eventually.ts';
import { type LocalServer, localKafka } from '../../support/local-servers.ts';
import { needs } from '../../support/servers.ts';
import { FencedConsumer } from './fenced-consumer.ts';
import { type Fixture, kafkaFixture } from './kafka-fixture.ts';

// The brokers named are not touched: these tests start three of their own, which the same machine can run.
needs('KAFKA_BROKERS', 'Kafka with three brokers', function () {
  this.timeout(180_000);
  const devices = Array.from({ length: 50 }, newDevice);
  let cluster: LocalServer;
  let kafka: Fixture;
  let consumer: FencedConsumer;
  let stop: AbortController;
  let running: Promise<void>;
  let acknowledged: string[];

  before(async () => {
    cluster = await localKafka(3);
    kafka = await kafkaFixture(cluster.address, {
      topic: { partitions: 6, replication: 3, minInSync: 2 },
      log: { deadline: 5000, bufferBytes: 200_000 },
    });
    consumer = new FencedConsumer();
    stop = new AbortController();
    acknowledged = [];
    running = kafka.source.run(consumer, { group: randomUUID(), signal: stop.signal });
    running.catch(() => undefined);
  });
  after(async () => {
    try {
      stop?.abort();
      await running;
      await kafka?.close();
    } finally {
      await cluster?.close();
    }
  });

  let n = 0;
  const publish = async () => {
    n += 1;
    const publication = newPublication(devices.map((device) => reading(device, n)));
    await kafka.log.publish(publication);
    acknowledged.push(...publication.events.map((_, i) => `${publication.id}/${i}`));
  };

  /** Publishes without a pause from four sides until `work` is done; returns how often it was refused. */
  async function publishingDuring(work: () => Promise<unknown>): Promise<number> {
    const done = new AbortController();
    let refused = 0;
    const sides = Array.from({ length: 4 }, async () => {
      while (!done.signal.aborted)
        await publish().catch((error) => {
          if (!(error instanceof TelemetryLogUnavailable)) throw error;
          refused += 1;
        });
    });
    await work().finally(() => done.abort());
    await Promise.all(sides);
    return refused;
  }

  /** What was sent again after its fate was unknown may be there twice, under the same id. */
  const allConsumed = () =>
    eventually(
      () => {
        const missing = acknowledged.filter((id) => !consumer.effects.has(id));
        assert.equal(
          missing.length,
          0,
          `${missing.length} of ${acknowledged.length} acknowledged events missing`,
        );
      },
      { within: 60_000, every: 100 },
    );

  it('continues when a broker is killed and when it comes back', async () => {
    let gap = 0;
    const refused = await publishingDuring(async () => {
      await publish();
      await cluster.control('kill', 1);
      const killed = Date.now();
      await eventually(publish, { within: 30_000 });
      gap = Date.now() - killed;
      const before = acknowledged.length;
      await eventually(() => assert.ok(acknowledged.length > before + 10 * devices.length), {
        within: 30_000,
      });
      await cluster.control('start', 1);
      await publish();
    });
    await allConsumed();
    const twice = acknowledged.filter((id) => consumer.effects.get(id) !== 1).length;
    console.info(
      `      acknowledged again after ${gap} ms; ${acknowledged.length} readings, ${twice} there twice, ${refused} requests refused`,
    );
  });

  it('continues when brokers are stopped and started again in turn', async () => {
    await publishingDuring(async () => {
      for (const broker of [2, 3]) {
        await cluster.control('stop', broker);
        await eventually(publish, { within: 30_000 });
        await cluster.control('start', broker);
      }
    });
    await allConsumed();
  });

  it('refuses with a time to try again while too few brokers are there, and recovers by itself', async () => {
    await cluster.control('kill', 2);
    await cluster.control('kill', 3);
    const started = Date.now();
    const refusals = await Promise.allSettled(Array.from({ length: 300 }, publish));
    assert.ok(Date.now() - started < 30_000);
    for (const refusal of refusals) {
      assert.ok(refusal.status === 'rejected' && refusal.reason instanceof TelemetryLogUnavailable);
      assert.ok(refusal.reason.retryAfter >= 1);
    }
    assert.ok(refusals.some((one) => one.status === 'rejected' && /buffer is full/.test(one.reason.message)));
    await Promise.all([cluster.control('start', 2), cluster.control('start', 3)]);
    await eventually(publish, { within: 60_000 });
    await kafka.reader.check();
    await allConsumed();
  });
});
