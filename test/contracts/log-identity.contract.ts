import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { comparableId, LogGuard } from '../../application/log-guard.ts';
import {
  type Batch,
  CheckpointOfAnotherLog,
  type EventSource,
  type LogMark,
  type Positioned,
} from '../../application/ports/event-source.ts';
import { eventually } from '../support/eventually.ts';
import { RecordingConsumer, runUntil } from '../support/recording-consumer.ts';

/** A log that an operator can put back to an earlier copy. */
export type RestorableLog<Event extends Positioned> = {
  /** Of the log as it is now. */
  source(): Promise<EventSource<Event>>;
  idOf(event: Event): string;
  append(count: number): Promise<unknown>;
  keepCopy(): Promise<void>;
  putBack(): Promise<void>;
  close(): Promise<void>;
};

/** Keeps marks as the read models do. */
class MarkingConsumer<Event extends Positioned> extends RecordingConsumer<Event> {
  readonly marks = new Map<number, LogMark>();
  readonly #idOf: (event: Event) => string;

  constructor(idOf: (event: Event) => string) {
    super();
    this.#idOf = idOf;
  }

  override async consume(batch: Batch<Event>): Promise<void> {
    await super.consume(batch);
    const last = batch.events.at(-1) as Event;
    const eventId = comparableId(this.#idOf(last));
    this.marks.set(batch.partition, { position: last.position, eventId, log: batch.log ?? null });
  }
}

/**
 * What every EventSource must tell of its log, so that no projection continues in another one. `asItRuns`: a log that
 * is put back under a running consumer is seen by it.
 */
export function logIdentityContract<Event extends Positioned>(
  adapter: string,
  open: () => Promise<RestorableLog<Event>>,
  { asItRuns }: { readonly asItRuns: boolean },
): void {
  describe(`${adapter} tells its log from others`, function () {
    this.timeout(120_000);
    let log: RestorableLog<Event>;
    let consumer: MarkingConsumer<Event>;

    beforeEach(async () => {
      log = await open();
      consumer = new MarkingConsumer((event) => log.idOf(event));
    });
    afterEach(() => log.close());

    const guarded = (source: EventSource<Event>) =>
      new LogGuard(
        consumer,
        { projection: 'telemetry', generation: 1 },
        { logMark: async (_, partition) => consumer.marks.get(partition) ?? null },
        source,
      );

    /** Consumes until there are so many events in all. */
    async function consumeUpTo(count: number): Promise<void> {
      const source = await log.source();
      await runUntil(source, guarded(source), randomUUID(), () =>
        eventually(() => assert.equal(consumer.events.length, count), { within: 60_000 }),
      );
      consumer.verdict();
    }

    async function refused(): Promise<void> {
      const consumed = consumer.events.length;
      const source = await log.source();
      const run = source.run(guarded(source), { group: randomUUID(), signal: AbortSignal.timeout(60_000) });
      await assert.rejects(run, (error) => {
        assert.ok(error instanceof CheckpointOfAnotherLog, String(error));
        assert.match(error.message, /^telemetry has stopped at .*`fieldlog projections rebuild telemetry`$/);
        return true;
      });
      assert.equal(consumer.events.length, consumed, 'nothing of the other log is consumed');
    }

    it('by the event at each position that it gave, and by an identity that stays', async () => {
      await log.append(5);
      await consumeUpTo(5);
      const source = await log.source();
      for (const { partition, events } of consumer.batches)
        for (const event of events) {
          const found = await source.eventAt(partition, event.position);
          assert.equal(typeof found === 'object' && found.id, log.idOf(event));
        }
      const identity = await source.identity();
      assert.deepEqual(await (await log.source()).identity(), identity);
      for (const mark of consumer.marks.values()) assert.equal(mark.log, identity);
    });

    it('and lets a consumer continue in the log that it has consumed', async () => {
      await log.append(3);
      await consumeUpTo(3);
      await log.append(2);
      await consumeUpTo(5);
    });

    it('and refuses a checkpoint beyond the end of a log that was put back', async () => {
      await log.append(3);
      await log.keepCopy();
      await log.append(4);
      await consumeUpTo(7);
      await log.putBack();
      await refused();
    });

    it('and refuses one that a log has grown past since it was put back', async () => {
      await log.append(3);
      await log.keepCopy();
      await log.append(4);
      await consumeUpTo(7);
      await log.putBack();
      await log.append(40);
      await refused();
    });

    if (asItRuns)
      it('and refuses to continue when it is put back while it is consumed', async () => {
        await log.append(3);
        await log.keepCopy();
        await log.append(4);
        const source = await log.source();
        const signal = AbortSignal.timeout(60_000);
        const run = source.run(guarded(source), { group: randomUUID(), signal });
        run.catch(() => {});
        await eventually(() => assert.equal(consumer.events.length, 7), { within: 60_000 });
        await log.putBack();
        await log.append(40);
        await assert.rejects(run, CheckpointOfAnotherLog);
      });
  });
}
