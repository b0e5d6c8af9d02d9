import assert from 'node:assert/strict';
import type { Message } from 'kafkajs';
import { TelemetryLogUnavailable } from '../../../application/ports/telemetry-log.ts';
import { partitionOf } from '../../../infrastructure/kafka/telemetry-codec.ts';
import {
  KafkaTelemetryLog,
  type KafkaTelemetryLogOptions,
} from '../../../infrastructure/kafka/telemetry-log.ts';
import { newPublication, reading } from '../../contracts/telemetry-log.contract.ts';
import { eventually } from '../../support/eventually.ts';

type Answer = (messages: readonly Message[], signal: AbortSignal) => Promise<ReadonlyMap<number, bigint>>;

/** Brokers that keep what they are sent, unless the script says otherwise for the next sends. */
class ScriptedProducer {
  readonly script: Answer[] = [];
  readonly sent: (readonly Message[])[] = [];
  readonly stored = new Map<number, Message[]>();

  send(messages: readonly Message[], signal: AbortSignal): Promise<ReadonlyMap<number, bigint>> {
    this.sent.push(messages);
    return (this.script.shift() ?? this.keep)(messages, signal);
  }

  readonly keep: Answer = async (messages) => {
    const offsets = new Map<number, bigint>();
    for (const message of messages) {
      const partition = message.partition as number;
      const stored = this.stored.get(partition) ?? [];
      if (!offsets.has(partition)) offsets.set(partition, BigInt(stored.length));
      this.stored.set(partition, [...stored, message]);
    }
    return offsets;
  };

  readonly refuse: Answer = () => Promise.reject(new Error('broker away'));
  readonly hang: Answer = (_, signal) =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));

  async close(): Promise<void> {}
}

const silent = { debug() {}, info() {}, warn() {}, error() {} };

describe('KafkaTelemetryLog', () => {
  let producer: ScriptedProducer;
  let log: KafkaTelemetryLog;
  const partitions = 3;
  // In partitions of their own.
  const [one, two] = ['device-1', 'device-4'];
  const open = (options: Partial<KafkaTelemetryLogOptions> = {}) => {
    producer = new ScriptedProducer();
    const reader = { partitions: async () => partitions };
    log = new KafkaTelemetryLog(
      producer,
      reader,
      { linger: 1, deadline: 10_000, bufferBytes: 1e6, ...options },
      silent,
    );
  };
  const unavailable = (published: Promise<unknown>, reason: RegExp) =>
    assert.rejects(
      published,
      (error) =>
        error instanceof TelemetryLogUnavailable && error.retryAfter > 0 && reason.test(error.message),
    );

  beforeEach(() => open());
  afterEach(() => log.close());

  it('gathers concurrent publications into one send, and gives each its own positions', async () => {
    open({ linger: 100 });
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) => log.publish(newPublication([reading(one, n)]))),
    );
    assert.equal(producer.sent.length, 1);
    assert.deepEqual(
      answers,
      Array.from({ length: 20 }, (_, n) => [
        { partition: partitionOf(one, partitions), position: String(n + 1) },
      ]),
    );
  });

  it('sends what gathers meanwhile as one batch when the answer is there', async () => {
    const gate = Promise.withResolvers<void>();
    producer.script.push(async (messages, signal) =>
      gate.promise.then(() => producer.keep(messages, signal)),
    );
    const first = log.publish(newPublication([reading(one, 0)]));
    await eventually(() => assert.equal(producer.sent.length, 1));
    const others = Array.from({ length: 10 }, (_, n) => log.publish(newPublication([reading(one, n + 1)])));
    gate.resolve();
    await Promise.all([first, ...others]);
    assert.deepEqual(
      producer.sent.map(({ length }) => length),
      [1, 10],
    );
  });

  it('continues after each answer, whenever the next publication comes', async () => {
    for (let n = 0; n < 50; n += 1) await log.publish(newPublication([reading(one, n)]));
    assert.equal(log.buffered, 0);
  });

  it('sends again what was not acknowledged, in the same order', async () => {
    producer.script.push(producer.refuse, producer.refuse);
    await Promise.all([0, 1, 2].map((n) => log.publish(newPublication([reading(one, n)]))));
    assert.equal(producer.sent.length, 3);
    assert.deepEqual(producer.sent[2], producer.sent[0]);
  });

  it('does not take a send for success that leaves a partition out', async () => {
    const [left, taken] = [partitionOf(one, partitions), partitionOf(two, partitions)];
    assert.notEqual(left, taken);
    producer.script.push((messages, signal) =>
      producer.keep(
        messages.filter(({ partition }) => partition === taken),
        signal,
      ),
    );
    const both = log.publish(newPublication([reading(one, 1), reading(two, 1)]));
    const other = log.publish(newPublication([reading(two, 2)]));
    await Promise.all([both, other]);
    assert.equal(producer.sent.length, 2);
    assert.ok(
      producer.sent[1]?.every(({ partition }) => partition === left),
      'only what was left out goes again',
    );
    assert.equal(producer.stored.get(left)?.length, 1);
    assert.equal(producer.stored.get(taken)?.length, 2);
  });

  it('refuses at the deadline what the brokers do not acknowledge, and recovers by itself', async () => {
    open({ deadline: 150 });
    producer.script.push(...Array.from({ length: 100 }, () => producer.refuse));
    await unavailable(log.publish(newPublication([reading(one, 1)])), /in time/);
    producer.script.length = 0;
    await eventually(() => log.publish(newPublication([reading(one, 2)])));
    assert.equal(log.buffered, 0);
  });

  it('refuses at the deadline what waits behind a send that hangs, and gives that send up', async () => {
    open({ deadline: 150 });
    producer.script.push(producer.hang, producer.hang);
    const hanging = log.publish(newPublication([reading(one, 1)]));
    hanging.catch(() => undefined);
    await eventually(() => assert.equal(producer.sent.length, 1));
    const waiting = log.publish(newPublication([reading(one, 2)]));
    await Promise.all([unavailable(hanging, /in time/), unavailable(waiting, /in time/)]);
    await log.publish(newPublication([reading(one, 3)]));
    assert.deepEqual(producer.stored.get(partitionOf(one, partitions))?.length, 1);
  });

  it('holds no more than its buffer, refuses what is over it at once, and takes more when there is room', async () => {
    open({ bufferBytes: 2000 });
    const gate = Promise.withResolvers<void>();
    producer.script.push(async (messages, signal) =>
      gate.promise.then(() => producer.keep(messages, signal)),
    );
    const outcomes = Promise.allSettled(
      Array.from({ length: 100 }, (_, n) => log.publish(newPublication([reading(one, n)]))),
    );
    assert.ok(log.buffered <= 2000);
    await unavailable(log.publish(newPublication([reading(one, 100)])), /buffer is full/);
    gate.resolve();
    const taken = (await outcomes).filter(({ status }) => status === 'fulfilled');
    assert.ok(taken.length > 10 && taken.length < 100);
    await log.publish(newPublication([reading(one, 101)]));
    assert.equal(producer.stored.get(partitionOf(one, partitions))?.length, taken.length + 1);
  });

  it('takes a publication larger than its buffer when nothing else waits', async () => {
    open({ bufferBytes: 10 });
    await log.publish(newPublication([reading(one, 1), reading(two, 1)]));
  });

  it('sends no partition more at once than brokers take, and keeps the order', async () => {
    open({ bufferBytes: 1e8 });
    const text = { metrics: { text: 'x'.repeat(500_000) } };
    const publications = [1, 2, 3, 4].map((n) => newPublication([{ ...reading(one, n), ...text }]));
    await Promise.all(publications.map((publication) => log.publish(publication)));
    assert.ok(producer.sent.length > 1);
    for (const messages of producer.sent)
      assert.ok(messages.reduce((sum, { value }) => sum + (value as Buffer).length, 0) < 1_048_576);
    const stored = producer.stored.get(partitionOf(one, partitions)) ?? [];
    assert.deepEqual(
      stored.map(({ value }) => JSON.parse(String(value)).id),
      publications.map(({ id }) => id),
    );
  });

  it('finishes what it has taken when closed, and takes no more', async () => {
    const taken = log.publish(newPublication([reading(one, 1)]));
    await log.close();
    assert.equal((await taken).length, 1);
    await unavailable(log.publish(newPublication([reading(one, 2)])), /shutting down/);
  });
});
