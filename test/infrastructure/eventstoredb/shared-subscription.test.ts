import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Batch, BatchConsumer, Position } from '../../../application/ports/event-source.ts';
import type { RecordedEvent } from '../../../application/ports/event-store.ts';
import { EventStoreDbConnection } from '../../../infrastructure/eventstoredb/connection.ts';
import { EventStoreDbEventSource } from '../../../infrastructure/eventstoredb/event-source.ts';
import { newStream } from '../../contracts/event-store.contract.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { silentLog } from '../../support/eventstoredb/silent-log.ts';
import { eventually } from '../../support/eventually.ts';
import { RecordingConsumer } from '../../support/recording-consumer.ts';
import { failOnUnhandledRejections } from '../../support/unhandled-rejections.ts';

const history = 2_000;

describe('Projections that follow the same streams of EventStoreDB', () => {
  let server: EventStoreDbDouble;
  let connection: EventStoreDbConnection;
  let source: EventStoreDbEventSource;
  let stops: AbortController[];
  let runs: Promise<void>[];
  let stream: string;
  failOnUnhandledRejections();

  beforeEach(async () => {
    server = await EventStoreDbDouble.start();
    connection = new EventStoreDbConnection(server.url, { deadlineMs: 2_000, longestPauseMs: 20 });
    source = new EventStoreDbEventSource(connection, silentLog);
    [stops, runs] = [[], []];
    stream = newStream();
    server.store.appendRun(stream, history, {
      type: 'DeviceDetailsChanged',
      contentType: 'application/json',
      data: Buffer.from('{}'),
      metadata: Buffer.from('{}'),
    });
  });
  afterEach(async () => {
    for (const stop of stops) stop.abort();
    await Promise.all(runs);
    await connection.close();
    await server.stop();
  });

  function run(consumer: BatchConsumer<RecordedEvent>): AbortController {
    const stop = new AbortController();
    stops.push(stop);
    runs.push(source.run(consumer, { group: 'test', signal: stop.signal }));
    return stop;
  }

  function append(): void {
    const bytes = Buffer.from('{}');
    const event = {
      type: 'DeviceDetailsChanged',
      contentType: 'application/json',
      data: bytes,
      metadata: bytes,
    };
    server.store.append(stream, 'any', [{ ...event, id: randomUUID() }]);
  }

  const hasAll = (consumer: RecordingConsumer<RecordedEvent>, count: number) =>
    eventually(() => assert.equal(consumer.events.length, count));

  /** Consumes nothing before it is opened. */
  class Held extends RecordingConsumer<RecordedEvent> {
    readonly gate = Promise.withResolvers<void>();

    override async consume(batch: Batch<RecordedEvent>): Promise<void> {
      await this.gate.promise;
      await super.consume(batch);
    }
  }

  it('are sent each event once when they begin at the same place, in batches that are nearly full', async () => {
    const both = [new RecordingConsumer<RecordedEvent>(), new RecordingConsumer<RecordedEvent>()];
    for (const consumer of both) run(consumer);
    for (const consumer of both) await hasAll(consumer, history);
    assert.equal(server.traffic.subscriptions.size, 1);
    assert.equal(server.traffic.eventsConsidered, history);
    for (const consumer of both) {
      consumer.verdict();
      assert.ok(consumer.batches.length <= history / 100, `${consumer.batches.length} batches`);
    }
    append();
    for (const consumer of both) await hasAll(consumer, history + 1);
  });

  it('go on when one of them stops, or the connection is lost', async () => {
    const [one, other] = [new RecordingConsumer<RecordedEvent>(), new RecordingConsumer<RecordedEvent>()];
    const stop = run(one);
    run(other);
    stop.abort();
    await hasAll(other, history);
    server.dropConnections();
    append();
    await hasAll(other, history + 1);
    other.verdict();
  });

  it('leave behind the one that takes nothing, which goes on where it was', async () => {
    const [held, other] = [new Held(), new RecordingConsumer<RecordedEvent>()];
    run(held);
    run(other);
    await hasAll(other, history);
    assert.equal(held.events.length, 0);
    held.gate.resolve();
    await hasAll(held, history);
    held.verdict();
    assert.equal(server.traffic.subscriptions.size, 2);
  });

  it('leave one behind, too, that takes nothing for longer than the others', async () => {
    const [held, other] = [new Held(), new Held()];
    run(held);
    run(other);
    // As long as both take nothing, however long that is, neither is behind.
    const began = performance.now();
    await eventually(() => assert.ok(performance.now() - began > 1_500));
    assert.equal(server.traffic.subscriptions.size, 1);
    other.gate.resolve();
    await hasAll(other, history);
    held.gate.resolve();
    await hasAll(held, history);
  });

  it('have subscriptions of their own where they begin elsewhere', async () => {
    const [one, other] = [new RecordingConsumer<RecordedEvent>(), new RecordingConsumer<RecordedEvent>()];
    const first = server.store.stored(stream)?.[0]?.position;
    const after: Position = `${first?.commit}-${first?.prepare}`;
    run(one);
    run({ checkpoint: async () => after, consume: (batch) => other.consume(batch) });
    await hasAll(one, history);
    await hasAll(other, history - 1);
    assert.equal(server.traffic.subscriptions.size, 2);
  });
});
