import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import {
  type BatchConsumer,
  comparePositions,
  type EventSource,
  exactly,
  type Position,
  type Positioned,
} from '../../application/ports/event-source.ts';
import { eventually } from '../support/eventually.ts';
import { RecordingConsumer, runUntil } from '../support/recording-consumer.ts';

/** Writes numbered events that share a partition, and knows them among all others. */
type Writer<Event> = {
  write(numbers: readonly number[]): Promise<void>;
  numberIn(event: Event): number | undefined;
};

type OpenedSource<Event extends Positioned> = {
  readonly source: EventSource<Event>;
  newWriter(): Writer<Event>;
  close(): Promise<void>;
};

const upTo = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i);

/** The rules of the port; `event-source.contract.ts` says how each kind of source is written to. */
export function eventSourceRules<Event extends Positioned>(
  adapter: string,
  open: () => Promise<OpenedSource<Event>>,
): void {
  describe(`${adapter} honours EventSource`, function () {
    this.timeout(60_000);
    let opened: OpenedSource<Event>;
    let source: EventSource<Event>;
    let writer: Writer<Event>;
    let ends: ReadonlyMap<number, Position | null>;

    before(async () => {
      opened = await open();
      source = opened.source;
    });
    beforeEach(async () => {
      writer = opened.newWriter();
      ends = await source.ends();
    });
    after(() => opened?.close());

    const numbersIn = (events: readonly Event[]) => events.flatMap((event) => writer.numberIn(event) ?? []);
    const arrived = (consumer: RecordingConsumer<Event>, expected: readonly number[]) => () =>
      eventually(() => assert.deepEqual(numbersIn(consumer.events), expected), { within: 30_000 });

    /** Consumes up to the events of `numbers`, from `checkpoints` on. */
    async function consumed(
      numbers: readonly number[],
      checkpoints = ends,
    ): Promise<RecordingConsumer<Event>> {
      const consumer = new RecordingConsumer<Event>(checkpoints);
      await runUntil(source, consumer, randomUUID(), arrived(consumer, numbers));
      consumer.verdict();
      return consumer;
    }

    /** The writer's events with the partition they all are in. */
    async function written(numbers: readonly number[]) {
      const { batches } = await consumed(numbers);
      const mine = batches.filter(({ events }) => numbersIn(events).length > 0);
      const partition = mine[0]?.partition as number;
      assert.ok(
        mine.every((batch) => batch.partition === partition),
        'one writer has one partition',
      );
      const all = batches.filter((batch) => batch.partition === partition).flatMap(({ events }) => events);
      return { partition, all, mine: all.filter((event) => writer.numberIn(event) !== undefined) };
    }

    it('hands over the history, then what arrives, in order', async () => {
      for (const n of upTo(20)) await writer.write([n * 3, n * 3 + 1, n * 3 + 2]);
      const consumer = new RecordingConsumer<Event>(ends);
      await runUntil(source, consumer, randomUUID(), async () => {
        await arrived(consumer, upTo(60))();
        await writer.write([60, 61]);
        await arrived(consumer, upTo(62))();
        await writer.write([62]);
        await arrived(consumer, upTo(63))();
      });
      consumer.verdict();
    });

    it('starts at the first event there is without a checkpoint', async () => {
      await writer.write(upTo(3));
      const consumer = await consumed(upTo(3), new Map());
      const first = new Map<number, Position | null>();
      for (const { partition, after } of consumer.batches)
        if (!first.has(partition)) first.set(partition, after);
      assert.ok([...first.values()].every((after) => after === null));
    });

    it('continues behind the checkpoint, wherever in a batch it lies', async () => {
      await writer.write(upTo(10));
      await writer.write(upTo(10, 10));
      const { partition, mine } = await written(upTo(20));
      for (const at of [0, 4, 9, 10, 18]) {
        const checkpoint = mine[at]?.position as Position;
        await consumed(upTo(19 - at, at + 1), new Map(ends).set(partition, checkpoint));
      }
    });

    it('gives every group all events', async () => {
      await writer.write(upTo(5));
      await Promise.all([consumed(upTo(5)), consumed(upTo(5))]);
    });

    it('starts again at the checkpoint when the consumer throws', async () => {
      const consumer = new RecordingConsumer<Event>(ends);
      let failures = 0;
      const faltering: BatchConsumer<Event> = {
        checkpoint: (partition) => consumer.checkpoint(partition),
        async consume(batch) {
          const count = numbersIn(batch.events).length;
          if (count === 0 || failures === 2) return consumer.consume(batch);
          failures += 1;
          // The second time a part of the batch has been consumed already.
          if (failures === 2)
            await consumer.consume({
              ...batch,
              events: batch.events.slice(0, Math.ceil(batch.events.length / 2)),
            });
          throw new Error('the consumer falters');
        },
      };
      await writer.write(upTo(10));
      await runUntil(source, faltering, randomUUID(), arrived(consumer, upTo(10)));
      consumer.verdict();
      assert.equal(failures, 2);
    });

    it('ends with the error of a consumer that keeps failing', async () => {
      await writer.write(upTo(1));
      const error = new Error('the consumer is broken');
      const broken: BatchConsumer<Event> = {
        checkpoint: async (partition) => ends.get(partition) ?? null,
        consume: () => Promise.reject(error),
      };
      await assert.rejects(
        source.run(broken, { group: randomUUID(), signal: new AbortController().signal }),
        error,
      );
    });

    it('ends with it too while batches of another partition wait', async function () {
      if (ends.size < 2) this.skip();
      await writer.write(upTo(1));
      const { partition: waitingOne } = await written(upTo(1));
      for (let other = waitingOne; other === waitingOne; ) {
        writer = opened.newWriter();
        await writer.write(upTo(1));
        other = (await written(upTo(1))).partition;
      }
      const begun = Promise.withResolvers<void>();
      const error = new Error('the consumer is broken');
      const consumer: BatchConsumer<Event> = {
        checkpoint: async (partition) => ends.get(partition) ?? null,
        async consume({ partition, signal }, waiting) {
          if (partition !== waitingOne) {
            await begun.promise;
            throw error;
          }
          begun.resolve();
          waiting?.();
          await new Promise((resolve) => signal?.addEventListener('abort', resolve));
          throw new Error('was left');
        },
      };
      const { signal } = new AbortController();
      await assert.rejects(source.run(consumer, { group: randomUUID(), signal }), error);
    });

    it('finishes the current batch when stopped, and takes no other', async () => {
      await writer.write(upTo(10));
      const stop = new AbortController();
      const log: string[] = [];
      const consumer: BatchConsumer<Event> = {
        checkpoint: async (partition) => ends.get(partition) ?? null,
        async consume() {
          log.push(stop.signal.aborted ? 'begun after the stop' : 'begun');
          stop.abort();
          await writer.write(upTo(1, 10));
          log.push('done');
        },
      };
      await source.run(consumer, { group: randomUUID(), signal: stop.signal });
      log.push('ended');
      assert.deepEqual(log, ['begun', 'done', 'ended']);
    });

    it('stops when idle, and takes nothing when stopped before it begins', async () => {
      await consumed([]);
      await writer.write(upTo(1));
      const consumer = new RecordingConsumer<Event>(ends);
      await source.run(consumer, { group: randomUUID(), signal: AbortSignal.abort() });
      assert.deepEqual(consumer.batches, []);
    });

    it('rests while nothing arrives', async () => {
      await writer.write(upTo(1));
      const consumer = new RecordingConsumer<Event>(ends);
      await runUntil(source, consumer, randomUUID(), async () => {
        await arrived(consumer, upTo(1))();
        const callsBefore = consumer.checkpointCalls + consumer.batches.length;
        const [started, cpuBefore] = [performance.now(), process.cpuUsage()];
        // The time is what is watched here: a slow machine sees fewer calls and less work, never more.
        await new Promise((resolve) => setTimeout(resolve, 1000));
        const { user, system } = process.cpuUsage(cpuBefore);
        const share = (user + system) / 1000 / (performance.now() - started);
        const calls = consumer.checkpointCalls + consumer.batches.length - callsBefore;
        assert.ok(calls <= 20, `${calls} calls while idle`);
        assert.ok(share < 0.4, `${Math.round(share * 100)} % of a core while idle`);
      });
    });

    it('knows where its partitions end and what has expired', async () => {
      await writer.write(upTo(3));
      const { partition, mine } = await written(upTo(3));
      const [expired, now] = [await source.expired(), await source.ends()];
      assert.deepEqual([...expired.keys()].sort(), [...now.keys()].sort());
      assert.ok(comparePositions(expired.get(partition) ?? null, mine[0]?.position as Position) < 0);
      assert.ok(comparePositions(ends.get(partition) ?? null, mine[0]?.position as Position) < 0);
      assert.ok(comparePositions(mine[2]?.position as Position, now.get(partition) ?? null) <= 0);
    });

    it('counts the events behind a position', async () => {
      await writer.write(upTo(5));
      await writer.write(upTo(5, 5));
      const { partition, all, mine } = await written(upTo(10));
      const last = mine[9]?.position as Position;
      const behindLast = (await source.countAfter(partition, last)).events;
      for (const at of [0, 3, 4, 8]) {
        const between = all.indexOf(mine[9] as Event) - all.indexOf(mine[at] as Event);
        assert.deepEqual(
          await source.countAfter(partition, mine[at]?.position as Position),
          exactly(behindLast + between),
        );
      }
      assert.ok((await source.countAfter(partition, null)).events >= 10);
    });
  });
}
