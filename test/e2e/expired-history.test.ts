import assert from 'node:assert/strict';
import { comparePositions } from '../../application/ports/event-source.ts';
import { telemetryAsRecorded } from '../../application/telemetry/as-recorded.ts';
import type { TelemetryEvent } from '../../domain/telemetry.ts';
import { uuidIds } from '../../infrastructure/identity.ts';
import { kafkaClient } from '../../infrastructure/kafka/client.ts';
import { runCli } from '../support/cli.ts';
import { type DistributedStores, distributedStores } from '../support/distributed-stores.ts';
import { eventually } from '../support/eventually.ts';
import { fieldlog } from '../support/fieldlog-process.ts';
import { newerRelease } from '../support/newer-release.ts';
import { quiet, type ReplayFixture, replayFixture } from '../support/replay-fixture.ts';
import { needs, onMariadbAndMysql } from '../support/servers.ts';

const devices = ['a', 'b', 'c', 'd', 'e', 'f'];
const rounds = 20;
const firstArrival = Date.UTC(2026, 0, 1);
const day = 86_400_000;

type Sent = { readonly partition: number; readonly position: string; readonly receivedAt: number };

needs('KAFKA_BROKERS', 'A topic from which the broker has removed the oldest records', (brokers) =>
  onMariadbAndMysql('and its read models', function (mysqlUrl) {
    this.timeout(120_000);
    let stores: DistributedStores;
    let fixture: ReplayFixture;
    let env: Readonly<Record<string, string>>;
    const sent: Sent[] = [];
    let lost: readonly Sent[];

    before(async () => {
      stores = await distributedStores(brokers, mysqlUrl);
      env = { ...stores.env, KAFKA_PARTITIONS: '3' };
      fixture = await replayFixture(env);
      for (const id of devices) await fixture.register(id);
      for (let n = 0; n < rounds; n += 1)
        for (const [i, deviceId] of devices.entries())
          await send(
            { deviceId, timestamp: n * 1000, metrics: { n } },
            firstArrival + (n % 4) * day + n * 10 + i,
          );
      // One of a type that nobody knows, whose stream waits behind it from its second round on.
      await send({ deviceId: 'a', timestamp: 'never' }, firstArrival + 5, 'TelemetryForgotten');
      await send({ deviceId: 'a', timestamp: 999_000, metrics: { n: 1 } }, firstArrival + 4 * day);
      const stop = fixture.consuming();
      await fixture.consumed('telemetry');
      await stop();

      // All but the last two of every partition, so that what waits as a dead letter is among them.
      const ends = await fixture.source.ends();
      const removed = new Map<number, string>();
      for (const [partition, end] of ends) if (end) removed.set(partition, String(Number(end) - 2));
      for (const { partition, position } of sent)
        if (position === poison.position && partition === poison.partition) removed.set(partition, position);
      await removeRecords(removed);
      assert.deepEqual(
        await fixture.source.expired(),
        new Map([...ends.keys()].map((p) => [p, removed.get(p) ?? null])),
      );
      lost = sent.filter(
        ({ partition, position }) => comparePositions(position, removed.get(partition) ?? null) <= 0,
      );
    });
    after(async () => {
      await fixture.close();
      await stores.close();
    });

    let poison: Sent;

    async function send(data: unknown, receivedAt: number, type?: string): Promise<void> {
      const [position] = await fixture.publishRaw(data, { receivedAt, ...(type && { type }) });
      assert.ok(position);
      const one = { ...position, receivedAt };
      sent.push(one);
      if ((data as TelemetryEvent['data'] & { timestamp: unknown }).timestamp === 'never') poison = one;
    }

    async function removeRecords(before: ReadonlyMap<number, string>): Promise<void> {
      const admin = kafkaClient({ brokers: brokers.split(',') }, quiet).admin();
      await admin.connect();
      try {
        const topic = env.KAFKA_TOPIC ?? '';
        // kafkajs only knows the leaders of topics that it has been asked of.
        await admin.fetchTopicOffsets(topic);
        await admin.deleteTopicRecords({
          topic,
          partitions: [...before].map(([partition, offset]) => ({ partition, offset })),
        });
      } finally {
        await admin.disconnect();
      }
    }

    const run = (...args: string[]) => runCli(args, { env });
    const readings = async (generation: number) =>
      fixture.db.all(`SELECT device_id, ts, metrics FROM telemetry_g${generation} ORDER BY device_id, ts`);
    const waiting = async () =>
      (await fixture.ports.deadLetters.list({}, { limit: 10 })).map(
        ({ partition, position, stream, cause, correlationId }) => ({
          partition,
          position,
          stream,
          cause,
          correlationId,
        }),
      );

    it('is not enough to rebuild from, which is said with how many readings would be lost and from when', async () => {
      assert.ok(lost.length > sent.length / 2 && lost.length < sent.length, `${lost.length}`);
      const { code, err } = await run('projections', 'rebuild', 'telemetry');
      assert.equal(code, 1);
      const from = new Date(Math.min(...lost.map(({ receivedAt }) => receivedAt))).toISOString();
      assert.match(
        err,
        new RegExp(`: ${lost.length} readings, the first of which arrived at ${from}, would be lost`),
      );
      assert.match(err, /--keep-older/);
      assert.equal((await run('projections', 'rebuild', 'telemetry', '--device', 'b')).code, 1);
      const { out } = await run('projections', 'status', 'telemetry', '--json');
      assert.equal(JSON.parse(out).generations.length, 1);
    });

    it('is enough with what the live generation has of them, dead letters included', async () => {
      const before = { readings: await readings(1), parked: await waiting() };
      assert.deepEqual(
        before.parked.map(({ cause }) => cause),
        ['unknown-type', 'behind'],
      );
      const { code, out, err } = await run('projections', 'rebuild', 'telemetry', '--keep-older');
      assert.equal(code, 0, err);
      assert.match(out, /Switched from generation 1 to 2/);
      assert.deepEqual(await readings(2), before.readings);
      assert.deepEqual(await waiting(), before.parked);
      const digest = async (generation: string) =>
        JSON.parse(
          (await run('projections', 'digest', 'telemetry', '--generation', generation, '--json')).out,
        );
      const [old, kept] = [await digest('1'), await digest('2')];
      assert.deepEqual(kept.tables, old.tables);
      assert.deepEqual(kept.positions, old.positions);
    });

    it('lets one device be rebuilt in the same way', async () => {
      const before = await readings(2);
      const { code, err } = await run('projections', 'rebuild', 'telemetry', '--device', 'b', '--keep-older');
      assert.equal(code, 0, err);
      assert.deepEqual(await readings(2), before);
    });

    it('is audited from the first day that it has whole', async () => {
      const { code, out } = await run('audit', '--json');
      const { uncheckedBefore, differenceCount } = JSON.parse(out);
      assert.equal(code, 0, out);
      assert.equal(differenceCount, 0);
      assert.match(uncheckedBefore, /^2026-01-0\d$/);
    });

    it('is enough for workers of a newer release beside those of this one, which carry over what is older', async () => {
      const before = { readings: await readings(2), parked: await waiting() };
      const { telemetry } = fixture.pipelines;
      const active = async () => {
        const states = await fixture.ports.control.states();
        const state = states.find(({ projection }) => projection === 'telemetry');
        return state?.generations.find(({ generation }) => generation === state.active);
      };
      const newer = await newerRelease();
      const stop = fixture.consuming([telemetry]);
      const deployed = fieldlog(['telemetry-projector'], { ...env, PORT: '0', WORKER_PORT: '0' }, newer.bin);
      try {
        await eventually(
          async () => assert.equal((await active())?.version, telemetry.version + 1, deployed.errors()),
          { within: 60_000, every: 100 },
        );
      } finally {
        await deployed.end('SIGTERM');
        await stop();
        await newer.remove();
      }
      assert.deepEqual(await readings((await active())?.generation ?? 0), before.readings);
      assert.deepEqual(await waiting(), before.parked);
    });

    it('is read for one device from its own partition, to its end', async () => {
      const { source, registry, directory } = fixture;
      const recordedAt = Date.now() + day;
      for (const deviceId of devices)
        await fixture.publishRaw({ deviceId, timestamp: 5_000_000, metrics: { n: 7 } });
      const query = {
        range: { from: 5_000_000, to: 5_000_001 },
        recordedAt,
        order: 'asc',
        limit: 10,
      } as const;
      const asRecorded = telemetryAsRecorded(source, registry, uuidIds, directory);
      for (const deviceId of devices) {
        const found = [];
        for await (const points of asRecorded({ ...query, deviceId }, new AbortController().signal))
          found.push(...points);
        assert.deepEqual(found, [{ deviceId, timestamp: 5_000_000, metric: 'n', value: 7 }]);
      }
    });
  }),
);
