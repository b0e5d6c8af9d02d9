import assert from 'node:assert/strict';
import { PoisonEvent } from '../../../application/checked-batch.ts';
import type { Batch, BatchConsumer, Positioned } from '../../../application/ports/event-source.ts';
import { BuildConsumer, readLog } from '../../../application/rebuild/build-consumer.ts';

const signal = new AbortController().signal;
const events = (...positions: number[]): Positioned[] =>
  positions.map((position) => ({ position: String(position) }));
const batch = (positions: number[], onApplied: () => void = () => {}): Batch<Positioned> => ({
  partition: 0,
  after: null,
  events: events(...positions),
  onApplied,
});

describe('BuildConsumer', () => {
  let consumed: (readonly string[])[];
  const inner: BatchConsumer<Positioned> = {
    checkpoint: async () => null,
    async consume({ events: part, onApplied }) {
      consumed.push(part.map(({ position }) => position));
      onApplied?.();
    },
  };
  beforeEach(() => {
    consumed = [];
  });

  it('passes a whole batch on as it is when nothing limits it', async () => {
    const consumer = new BuildConsumer(inner, { signal });
    consumer.allowUpTo('none');
    let applied = 0;
    await consumer.consume(
      batch([1, 2], () => {
        applied += 1;
      }),
    );
    assert.deepEqual([consumed, applied], [[['1', '2']], 1]);
  });

  it('reports a batch as applied only with its last part', async () => {
    const consumer = new BuildConsumer(inner, { signal });
    const limits = new Map([[0, '2']]);
    consumer.allowUpTo(limits);
    let appliedAfter = 0;
    const whole = consumer.consume(
      batch([1, 2, 3], () => {
        appliedAfter = consumed.length;
      }),
    );
    await consumer.whenReached(limits);
    assert.equal(appliedAfter, 0);
    consumer.allowUpTo('none');
    await whole;
    assert.deepEqual([consumed, appliedAfter], [[['1', '2'], ['3']], 2]);
  });

  it('never reports a batch as applied before the pause after its last part', async () => {
    const consumer = new BuildConsumer(inner, { signal, rate: () => 1_000_000 });
    consumer.allowUpTo('none');
    await consumer.consume(batch([1], () => assert.fail('the next batch would come before the pause')));
    assert.deepEqual(consumed, [['1']]);
  });

  it('divides a batch by the rate, and no longer once there is none', async () => {
    const rates = [10, 10, undefined];
    const consumer = new BuildConsumer(inner, { signal, rate: () => rates.shift() });
    consumer.allowUpTo('none');
    await consumer.consume(batch([1, 2, 3, 4, 5, 6]));
    assert.deepEqual(consumed, [
      ['1', '2'],
      ['3', '4'],
      ['5', '6'],
    ]);
  });

  it('reports a poison event by its class, and throws it', async () => {
    const failed = { eventType: 'E', position: '1', partition: 0, stream: 's', eventId: 'e' };
    const poison = new PoisonEvent('telemetry', {
      ...failed,
      cause: 'failed',
      error: 'wrong',
      stack: null,
      correlationId: 'c',
      event: {},
      parkedAt: 0,
      discarded: null,
    });
    const reported: unknown[] = [];
    for (const error of [poison, Object.assign(new Error('no such class'), { name: 'PoisonEvent' })]) {
      const failing = { ...inner, consume: () => Promise.reject(error) };
      const consumer = new BuildConsumer(failing, { signal, onPoison: (found) => reported.push(found) });
      consumer.allowUpTo('none');
      await assert.rejects(consumer.consume(batch([1])), error);
    }
    assert.deepEqual(reported, [poison]);
  });

  it('stops waiting and consumes nothing more once it is aborted', async () => {
    const stop = new AbortController();
    const consumer = new BuildConsumer(inner, { signal: stop.signal });
    const waiting = consumer.consume(batch([1]));
    stop.abort();
    await assert.rejects(waiting, /stopped/);
    assert.deepEqual(consumed, []);
  });

  it('leaves a batch that waits once its partition is left, and consumes nothing more of it', async () => {
    const consumer = new BuildConsumer(inner, { signal });
    const left = new AbortController();
    const consuming = consumer.consume({ ...batch([1, 2]), signal: left.signal }, () => left.abort());
    await assert.rejects(consuming, /stopped/);
    consumer.allowUpTo('none');
    assert.deepEqual(consumed, []);
  });

  it('has reached a position whose event the log no longer has, once the next one comes', async () => {
    const consumer = new BuildConsumer(inner, { signal });
    consumer.allowUpTo(new Map([[0, '3']]));
    const consuming = consumer.consume(batch([1, 2, 4]));
    await consumer.whenReached(new Map([[0, '3']]));
    assert.deepEqual(consumed, [['1', '2']]);
    consumer.allowUpTo('none');
    await consuming;
    assert.deepEqual(consumed, [['1', '2'], ['4']]);
  });

  it('stays at the furthest position when an earlier batch is answered after a later one', async () => {
    const first = Promise.withResolvers<void>();
    const answers = [first.promise, Promise.resolve()];
    const slow = { ...inner, consume: () => answers.shift() ?? Promise.reject(new Error('a third batch')) };
    const consumer = new BuildConsumer(slow, { signal });
    consumer.allowUpTo('none');
    const earlier = consumer.consume(batch([1, 2]));
    await consumer.consume(batch([3]));
    first.resolve();
    await earlier;
    assert.deepEqual([...consumer.reached], [[0, '3']]);
  });
});

describe('readLog', () => {
  it('hands over each event once, although the source loses its connection on the way', async () => {
    const log = events(1, 2, 3, 4);
    const visited: string[] = [];
    const source = {
      expired: async () => new Map([[0, null]]),
      async run(consumer: BatchConsumer<Positioned>) {
        for (const count of [2, 4]) {
          const after = await consumer.checkpoint(0);
          const rest = log.filter(({ position }) => Number(position) > Number(after)).slice(0, count);
          await consumer.consume({ partition: 0, after, events: rest });
        }
      },
    };
    await readLog(source, new Map([[0, '4']]), { group: 'a reader', signal }, (some) => {
      visited.push(...some.map(({ position }) => position));
    });
    assert.deepEqual(visited, ['1', '2', '3', '4']);
  });

  it('does not wait for a partition all of which has expired', async () => {
    const visited: string[] = [];
    const source = {
      expired: async () =>
        new Map([
          [0, '4'],
          [1, '2'],
        ]),
      async run(consumer: BatchConsumer<Positioned>) {
        await consumer.consume({ partition: 1, after: null, events: events(3) });
      },
    };
    const ends = new Map([
      [0, '4'],
      [1, '3'],
    ]);
    await readLog(source, ends, { group: 'a reader', signal }, (some, partition) => {
      visited.push(...some.map(({ position }) => `${partition}:${position}`));
    });
    assert.deepEqual(visited, ['1:3']);
  });
});
