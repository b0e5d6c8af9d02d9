import assert from 'node:assert/strict';
import { LivePosition } from '../../../application/live/live-position.ts';
import type { LiveEnd, LiveSelection, LiveSink } from '../../../application/live/live-stream.ts';
import { type AskedPosition, LiveStreams, PositionExpired } from '../../../application/live/live-streams.ts';
import type { BatchConsumer, EventSource, RunOptions } from '../../../application/ports/event-source.ts';
import type { RecordedEvent } from '../../../application/ports/event-store.ts';
import type { TelemetryRecord } from '../../../application/ports/telemetry-log.ts';
import { eventRegistry } from '../../../infrastructure/event-registry.ts';
import { uuidIds } from '../../../infrastructure/identity.ts';
import { eventually } from '../../support/eventually.ts';
import { inMemoryTelemetry } from '../../support/in-memory-telemetry.ts';
import { PartitionedLog } from '../../support/partitioned-log.ts';

// biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of an event by asserting it.
type Received = { readonly event: string; readonly data: any; readonly id: string };

/** A client that takes what it is sent, or takes nothing until `take`. */
class Client implements LiveSink {
  readonly received: Received[] = [];
  readonly ends: LiveEnd[] = [];
  readonly #closing = new AbortController();
  #takes: boolean;
  #pending = 0;
  #drained = Promise.withResolvers<void>();

  constructor({ takes }: { takes: boolean }) {
    this.#takes = takes;
  }

  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  write(event: string, json: string, id: string): void {
    this.received.push({ event, data: JSON.parse(json), id });
    if (!this.#takes) this.#pending += json.length;
  }

  pending(): number {
    return this.#pending;
  }

  async drained(): Promise<void> {
    if (this.#pending > 0) await this.#drained.promise;
  }

  take(): void {
    this.#takes = true;
    this.#pending = 0;
    this.#drained.resolve();
  }

  end(reason: LiveEnd): void {
    this.ends.push(reason);
    this.#closing.abort();
    this.#drained.resolve();
  }

  readings(): readonly number[] {
    return this.received.filter(({ event }) => event === 'reading').map(({ data }) => data.metrics.n);
  }
}

const nothing = new PartitionedLog(1, () => 0) as unknown as EventSource<RecordedEvent>;
const everything: LiveSelection = { sources: ['telemetry'], devices: {} };
const asked = (id: string): AskedPosition[] =>
  id.split(',').map((token) => {
    const [source, partition, position = null] = token.split(':');
    return { source: source as AskedPosition['source'], partition: Number(partition) || 0, position };
  });
const ascending = (a: number, b: number) => a - b;
const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

describe('The position of a live stream', () => {
  it('names a log that is empty, so that its first event is sent later', () => {
    const empty = new Map([[0, null]]);
    const position = new LivePosition({ telemetry: empty, devices: empty, alarms: empty });
    assert.equal(String(position), 'start');
    position.advance('telemetry', 0, '42');
    assert.equal(String(position), 'telemetry:0:42,devices:start,alarms:start');
  });
});

describe('Live streams, beside others', () => {
  let log: PartitionedLog;
  let live: LiveStreams;
  let running: Promise<void>[];
  /** What the tail of the logs waits for before it passes on what it reads. */
  let held: Promise<void>;
  /** What the log says when it is asked where it ends for the next time. */
  let staleEnds: ReadonlyMap<number, string | null> | undefined;
  /** Rejects when the tail can no longer read the log. */
  let broken: Promise<never>;

  /** The log, whose first reader, the tail, may be slow, or fail. */
  const source = (): EventSource<TelemetryRecord> => {
    let runs = 0;
    return new Proxy(log, {
      get(log, name) {
        if (name === 'ends')
          return async () => {
            const ends = staleEnds ?? (await log.ends());
            staleEnds = undefined;
            return ends;
          };
        if (name !== 'run') return (log[name as keyof PartitionedLog] as () => unknown).bind(log);
        return (consumer: BatchConsumer<TelemetryRecord>, options: RunOptions) => {
          runs += 1;
          if (runs > 1) return log.run(consumer, options);
          const ended = new AbortController();
          const consume: typeof consumer.consume = (batch) => held.then(() => consumer.consume(batch));
          const signal = AbortSignal.any([options.signal, ended.signal]);
          const run = log.run({ ...consumer, consume }, { ...options, signal });
          const failed = broken.catch((error) => {
            ended.abort();
            throw error;
          });
          failed.catch(() => {});
          return run.then(() => (options.signal.aborted ? undefined : failed));
        };
      },
    });
  };

  const streams = (slowMs?: number) =>
    new LiveStreams(
      {
        telemetry: source(),
        devices: nothing,
        alarms: nothing,
        eventStore: { read: async () => [] },
        history: { deviceAt: async () => undefined },
        registry: eventRegistry,
        ids: uuidIds,
        log: { debug() {}, info() {}, warn() {}, error() {} },
        telemetryQueries: inMemoryTelemetry([]).queries,
        progress: {
          progress: async () => [],
          deadLetterCounts: async () => [],
          ledgerTotals: () => Promise.reject(new Error('not asked')),
        },
        freshness: {
          status: async () => ({ positions: [], lag: 0, lagIsAtLeast: false }),
          waitFor: async () => {},
        },
        metrics: { opened() {}, closed() {}, sent() {}, conflated() {} },
      },
      { streams: 10, perKey: 10, ...(slowMs !== undefined && { slowMs }) },
    );

  beforeEach(() => {
    log = new PartitionedLog(2, (deviceId) => (deviceId === 'a' ? 0 : 1));
    held = Promise.resolve();
    broken = new Promise(() => {});
    staleEnds = undefined;
    live = streams();
    running = [];
  });
  afterEach(async () => {
    await live.close(0);
    await Promise.all(running);
  });

  const follow = async (client: Client, from?: string) => {
    const position = await live.start(from === undefined ? undefined : asked(from), '');
    running.push(live.run(everything, position, { snapshot: false, holder: '' }, client));
    await eventually(() => assert.ok(client.received.length > 0));
    return client;
  };

  it('get the newest of each device when slow, are sent how much is missing, and hold up nobody', async () => {
    const [fast, slow] = [new Client({ takes: true }), new Client({ takes: false })];
    await Promise.all([follow(fast), follow(slow)]);
    log.append(0, 'a', 0, 5000);
    await eventually(() => assert.equal(fast.readings().length, 5000));
    log.append(1, 'b', 5000, 2000);
    await eventually(() => assert.equal(fast.readings().length, 7000));
    assert.deepEqual([...fast.readings()].sort(ascending), numbers(0, 7000));
    const before = slow.readings().length;
    assert.ok(before > 1000 && before < 5000, `${before} readings wait for a client that takes nothing`);

    slow.take();
    await eventually(() => assert.ok(slow.received.some(({ event }) => event === 'gap')));
    const at = slow.received.findIndex(({ event }) => event === 'gap');
    const newest = slow.received.slice(at + 1).filter(({ event }) => event === 'reading');
    assert.deepEqual(newest.map(({ data }) => [data.deviceId, data.metrics.n]).sort(), [
      ['a', 4999],
      ['b', 6999],
    ]);
    const { reason, missed } = slow.received[at]?.data ?? {};
    assert.deepEqual({ reason, missed }, { reason: 'slow', missed: 7000 - before - newest.length });

    log.append(0, 'a', 7000, 3);
    await eventually(() => assert.deepEqual(slow.readings().slice(-3), [7000, 7001, 7002]));
  });

  it('are sent nothing twice when they read the log faster than others are sent it', async () => {
    const tail = Promise.withResolvers<void>();
    held = tail.promise;
    log.append(0, 'a', 0, 3);
    await live.start(undefined, '');
    log.append(0, 'a', 3, 17);
    const client = await follow(new Client({ takes: true }), 'telemetry:start');
    await eventually(() => assert.deepEqual(client.readings(), numbers(0, 7)));
    tail.resolve();
    await eventually(() => assert.equal(client.readings().at(-1), 19));
    assert.deepEqual(client.readings(), numbers(0, 20));
    const ids = client.received.filter(({ event }) => event === 'reading').map(({ id }) => id);
    assert.deepEqual(
      ids.map((id) => id.split(',')[0]),
      numbers(1, 21).map((n) => `telemetry:0:${n}`),
    );
  });

  it('get what was left out when they continue before the gap', async () => {
    const slow = await follow(new Client({ takes: false }));
    log.append(0, 'a', 0, 5000);
    const watcher = await follow(new Client({ takes: true }));
    await eventually(() => assert.equal(watcher.readings().length, 5000));
    const before = slow.readings();
    slow.take();
    await eventually(() => assert.ok(slow.received.some(({ event }) => event === 'gap')));
    const gap = slow.received.find(({ event }) => event === 'gap');
    const again = await follow(new Client({ takes: true }), gap?.id);
    await eventually(() => assert.equal(again.readings().at(-1), 4999));
    assert.deepEqual([...before, ...again.readings()], numbers(0, 5000));
    const behind = await follow(new Client({ takes: true }), slow.received.at(-1)?.id);
    log.append(0, 'a', 5000, 1);
    await eventually(() => assert.deepEqual(behind.readings(), [5000]));
  });

  it('are cut off when nothing is taken, and where they continue leaves nothing out', async () => {
    live = streams(20);
    const slow = await follow(new Client({ takes: false }));
    log.append(0, 'a', 0, 5000);
    await eventually(() => assert.deepEqual(slow.ends, ['slow']));
    await Promise.all(running);
    assert.equal(live.size, 0);
    const again = await follow(new Client({ takes: true }), slow.received.at(-1)?.id);
    await eventually(() => assert.equal(again.readings().at(-1), 4999));
    assert.deepEqual([...slow.readings(), ...again.readings()], numbers(0, 5000));
  });

  it('continue, each with what follows, when the log could not be read for a while', async () => {
    const { promise, reject } = Promise.withResolvers<never>();
    broken = promise;
    const client = await follow(new Client({ takes: true }));
    log.append(0, 'a', 0, 10);
    await eventually(() => assert.equal(client.readings().length, 10));
    reject(new Error('the disk is gone'));
    log.append(0, 'a', 10, 10);
    log.append(1, 'b', 20, 10);
    await eventually(() => assert.equal(client.readings().length, 30));
    assert.deepEqual([...client.readings()].sort(ascending), numbers(0, 30));
    const later = await follow(new Client({ takes: true }), client.received.at(-1)?.id);
    log.append(0, 'a', 30, 1);
    await eventually(() => assert.deepEqual([later.readings(), client.readings().at(-1)], [[30], 30]));
    assert.deepEqual(client.ends, []);
  });

  it('end when their log was put back and has grown since, and others begin with what it has now', async () => {
    const { promise, reject } = Promise.withResolvers<never>();
    broken = promise;
    log.log = null;
    log.append(0, 'a', 0, 10);
    const client = await follow(new Client({ takes: true }));
    await eventually(() => assert.equal(client.readings().length, 10));
    log.rename((id) => `later/${id}`);
    reject(new Error('the server was started again'));
    log.append(0, 'a', 10, 1);
    await eventually(() => assert.deepEqual(client.ends, ['moved']));
    assert.equal(client.readings().length, 10);
    const later = await follow(new Client({ takes: true }), 'telemetry:0:11');
    log.append(0, 'a', 11, 2);
    await eventually(() => assert.deepEqual(later.readings(), [11, 12]));
    assert.deepEqual(later.ends, []);
  });

  it('are refused behind an event that is not there, of a log without an identity', async () => {
    log.log = null;
    log.append(0, 'a', 0, 10);
    const eventAt = log.eventAt.bind(log);
    log.eventAt = async (partition, position) => (position === '5' ? 'none' : eventAt(partition, position));
    await assert.rejects(live.start(asked('telemetry:0:5'), ''), (error) => {
      assert.ok(error instanceof PositionExpired);
      return /put back to an earlier copy since: begin without a position/.test(error.message);
    });
    await live.start(asked('telemetry:0:6'), '');
  });

  it('continue behind an event that the log does not yet count among its own', async () => {
    log.append(0, 'a', 0, 5);
    await follow(new Client({ takes: true }));
    staleEnds = new Map([
      [0, '3'],
      [1, null],
    ]);
    const client = await follow(new Client({ takes: true }), 'telemetry:0:5');
    log.append(0, 'a', 5, 1);
    await eventually(() => assert.deepEqual(client.readings(), [5]));
    await assert.rejects(live.start(asked('telemetry:0:600'), ''), PositionExpired);
  });
});
