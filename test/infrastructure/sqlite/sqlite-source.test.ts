import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import {
  type BatchConsumer,
  CheckpointOfAnotherLog,
  type Positioned,
} from '../../../application/ports/event-source.ts';
import type { RecordedEvent } from '../../../application/ports/event-store.ts';
import type { TelemetryRecord } from '../../../application/ports/telemetry-log.ts';
import { dataFiles } from '../../../infrastructure/sqlite/database-file.ts';
import { sqliteEventSource } from '../../../infrastructure/sqlite/event-source.ts';
import { SqliteEventStore } from '../../../infrastructure/sqlite/event-store.ts';
import type { SourceOptions, SqliteSource } from '../../../infrastructure/sqlite/log-source.ts';
import { SqliteTelemetryLog } from '../../../infrastructure/sqlite/telemetry-log.ts';
import { sqliteTelemetrySource } from '../../../infrastructure/sqlite/telemetry-source.ts';
import { newEvent, newStream } from '../../contracts/event-store.contract.ts';
import { newDevice, newPublication, reading } from '../../contracts/telemetry-log.contract.ts';
import { eventually } from '../../support/eventually.ts';
import { RecordingConsumer, runUntil } from '../../support/recording-consumer.ts';
import { temporaryDirectory } from './temporary-directory.ts';

describe('SqliteSource', () => {
  let directory: ReturnType<typeof temporaryDirectory>;
  let files: ReturnType<typeof dataFiles>;
  let log: SqliteTelemetryLog;
  let store: SqliteEventStore;
  const opened: { close(): Promise<void> }[] = [];
  beforeEach(() => {
    directory = temporaryDirectory();
    files = dataFiles(directory.path);
    log = keep(new SqliteTelemetryLog(files.telemetry));
    store = keep(new SqliteEventStore(files.events));
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((open) => open.close()));
    directory.remove();
  });

  function keep<T extends { close(): Promise<void> }>(open: T): T {
    opened.push(open);
    return open;
  }
  const telemetry = (options?: Partial<SourceOptions>) =>
    keep(sqliteTelemetrySource(files.telemetry, options));
  const events = (options?: Partial<SourceOptions>) => keep(sqliteEventSource(files.events, options));
  const publish = (count: number) =>
    log.publish(newPublication(Array.from({ length: count }, (_, n) => reading(newDevice(), n))));
  const append = (count: number) =>
    store.append(
      newStream(),
      Array.from({ length: count }, () => newEvent()),
      'none',
    );
  function change(path: string, text: string): void {
    const db = new DatabaseSync(path);
    db.exec(text);
    db.close();
  }
  async function consumed<Event extends Positioned>(
    source: SqliteSource<Event>,
    count: number,
    checkpoint: string | null = null,
  ): Promise<RecordingConsumer<Event>> {
    const consumer = new RecordingConsumer<Event>(new Map([[0, checkpoint]]));
    await runUntil(source, consumer, 'test', () =>
      eventually(() => assert.equal(consumer.events.length, count)),
    );
    return consumer;
  }
  const shapes = <Event extends Positioned>({ batches }: RecordingConsumer<Event>) =>
    batches.map(({ after, events }) => [after, ...events.map(({ position }) => position)]);

  it('counts positions from 1, in both files', async () => {
    assert.deepEqual(await publish(3), [{ partition: 0, position: '3' }]);
    assert.deepEqual(await publish(2), [{ partition: 0, position: '5' }]);
    assert.deepEqual(
      (await append(2)).map(({ position }) => position),
      ['1', '2'],
    );
    assert.deepEqual(await telemetry().ends(), new Map([[0, '5']]));
  });

  it('is empty at first', async () => {
    for (const source of [telemetry(), events()]) {
      assert.deepEqual(await source.ends(), new Map([[0, null]]));
      assert.deepEqual(await source.expired(), new Map([[0, null]]));
      assert.equal((await source.countAfter(0, null)).events, 0);
    }
  });

  it('continues in the middle of a publication, and ends a batch there', async () => {
    await publish(5);
    await publish(1);
    await publish(4);
    const source = telemetry({ batchEvents: 3 });
    const all = await consumed(source, 10);
    assert.deepEqual(shapes(all), [
      [null, '1', '2', '3'],
      ['3', '4', '5', '6'],
      ['6', '7', '8', '9'],
      ['9', '10'],
    ]);
    for (const at of [1, 4, 5, 6, 9]) {
      const rest = await consumed(source, 10 - at, String(at));
      assert.deepEqual(rest.events, all.events.slice(at));
    }
    assert.equal((await source.countAfter(0, '4')).events, 6);
  });

  it('makes batches as large as the run asks for', async () => {
    await publish(6);
    const source = telemetry({ batchEvents: 2 });
    const consumer = new RecordingConsumer<TelemetryRecord>();
    const stop = new AbortController();
    const running = source.run(consumer, { group: 'test', signal: stop.signal, batchEvents: 4 });
    await eventually(() => assert.equal(consumer.events.length, 6));
    stop.abort();
    await running;
    assert.deepEqual(shapes(consumer), [
      [null, '1', '2', '3', '4'],
      ['4', '5', '6'],
    ]);
  });

  it('hands the next batch over when a full one is handled, and both again when that is not stored', async () => {
    await publish(6);
    const consumer = new RecordingConsumer<TelemetryRecord>();
    const calls: [after: string | null, count: number][] = [];
    let lose: (error: Error) => void = () => {};
    const storing: BatchConsumer<TelemetryRecord> = {
      checkpoint: (partition) => consumer.checkpoint(partition),
      async consume(batch) {
        calls.push([batch.after, batch.events.length]);
        if (calls.length === 1) {
          batch.onApplied?.();
          await new Promise((_, reject) => {
            lose = reject;
          });
        }
        if (calls.length === 2) {
          lose(new Error('not stored'));
          throw new Error('not stored either');
        }
        await consumer.consume(batch);
      },
    };
    await runUntil(telemetry({ batchEvents: 2, retryPauses: [0] }), storing, 'test', () =>
      eventually(() => assert.equal(consumer.events.length, 6)),
    );
    consumer.verdict();
    assert.deepEqual(calls, [
      [null, 2],
      ['2', 2],
      [null, 2],
      ['2', 2],
      ['4', 2],
    ]);
  });

  it('has no more than two batches in progress, and waits for both when it is stopped', async () => {
    await publish(8);
    const stop = new AbortController();
    const underWay: (() => void)[] = [];
    const handling: BatchConsumer<TelemetryRecord> = {
      checkpoint: async () => null,
      consume: (batch) =>
        new Promise((resolve) => {
          underWay.push(resolve);
          batch.onApplied?.();
        }),
    };
    let ended = false;
    const run = telemetry({ batchEvents: 2 })
      .run(handling, { group: 'test', signal: stop.signal })
      .then(() => {
        ended = true;
      });
    await eventually(() => assert.equal(underWay.length, 2));
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(underWay.length, 2);
    stop.abort();
    underWay[0]?.();
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(ended, false);
    underWay[1]?.();
    await run;
    assert.equal(underWay.length, 2);
  });

  it('ends a batch of device events after as many as are wanted', async () => {
    await append(5);
    assert.deepEqual(shapes(await consumed(events({ batchEvents: 2 }), 5)), [
      [null, '1', '2'],
      ['2', '3', '4'],
      ['4', '5'],
    ]);
    await append(2500);
    const large = await consumed(events({ batchEvents: 1700 }), 2505);
    assert.deepEqual(
      large.batches.map((batch) => batch.events.length),
      [1700, 805],
    );
  });

  it('ends a batch at the row that makes it too large', async () => {
    await publish(2);
    await publish(2);
    await publish(2);
    const sizes = (consumer: RecordingConsumer<Positioned>) =>
      consumer.batches.map((batch) => batch.events.length);
    assert.deepEqual(sizes(await consumed(telemetry({ batchBytes: 1 }), 6)), [2, 2, 2]);
    assert.deepEqual(sizes(await consumed(telemetry(), 6)), [6]);
    await append(2001);
    assert.deepEqual(sizes(await consumed(events({ batchBytes: 1 }), 2001)), [1000, 1000, 1]);
  });

  it('hands on what cannot be read as it is stored', async () => {
    await publish(1);
    change(
      files.telemetry,
      `INSERT INTO batches VALUES (2, 2, 'broken {'), (4, 1, '{"events":[]}'), (5, 1, 'null')`,
    );
    await publish(1);
    const { events: logged } = (await consumed(telemetry(), 6)) as RecordingConsumer<TelemetryRecord>;
    assert.deepEqual(
      logged.slice(1, 5).map(({ data }) => data),
      ['broken {', 'broken {', '{"events":[]}', 'null'],
    );
    assert.equal(new Set(logged.map(({ id }) => id)).size, 6);

    await append(1);
    change(files.events, `UPDATE events SET data = 'broken {'`);
    const { events: recorded } = (await consumed(events(), 1)) as RecordingConsumer<RecordedEvent>;
    assert.equal(recorded[0]?.data, 'broken {');
  });

  it('tells where reading stood, so that missing events are noticed', async () => {
    await publish(1);
    await publish(1);
    await publish(1);
    change(files.telemetry, 'DELETE FROM batches WHERE first_offset = 2');
    const consumer = await consumed(telemetry(), 1, '1');
    assert.equal(consumer.batches[0]?.after, '2');
    assert.throws(() => consumer.verdict(), /left out/);
  });

  const idle = (checkpoint: string): BatchConsumer<Positioned> => ({
    checkpoint: async () => checkpoint,
    consume: () => assert.fail('there is nothing to consume'),
  });
  const options = () => ({ group: 'test', signal: new AbortController().signal });

  it('refuses a checkpoint that lies beyond its end', async () => {
    await publish(3);
    await assert.rejects(telemetry().run(idle('4'), options()), (error) => {
      assert.ok(error instanceof CheckpointOfAnotherLog);
      assert.match(error.message, /telemetry\.db ends at 3, before 4/);
      return true;
    });
  });

  it('refuses a position that another kind of log gave', async () => {
    await assert.rejects(
      telemetry().countAfter(0, '1187-3'),
      /telemetry\.db has no position 1187-3: it counts its events/,
    );
    await assert.rejects(events().run(idle('4711-4711'), options()), CheckpointOfAnotherLog);
  });

  it('when closed, ends what runs and lets the current batch be finished', async () => {
    await publish(1);
    const source = telemetry();
    const order: string[] = [];
    const reached = Promise.withResolvers<void>();
    const held = Promise.withResolvers<void>();
    const run = source.run(
      {
        checkpoint: async () => null,
        async consume() {
          reached.resolve();
          await held.promise;
          order.push('consumed');
        },
      },
      options(),
    );
    await reached.promise;
    const closing = source.close().then(() => order.push('closed'));
    held.resolve();
    await Promise.all([run, closing]);
    assert.deepEqual(order, ['consumed', 'closed']);
    await source.close();
  });
});
