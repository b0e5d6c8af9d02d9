import assert from 'node:assert/strict';
import type { EventSource } from '../../application/ports/event-source.ts';
import type { TelemetryRecord } from '../../application/ports/telemetry-log.ts';
import { type RecordedQuery, telemetryAsRecorded } from '../../application/telemetry/as-recorded.ts';
import { eventRegistry } from '../../infrastructure/event-registry.ts';
import { uuidIds } from '../../infrastructure/identity.ts';

const reading = (n: number): TelemetryRecord => ({
  id: `e-${n}`,
  type: 'TelemetryRecorded',
  schemaVersion: 1,
  position: String(n),
  receivedAt: n,
  correlationId: 'c',
  actor: 'test',
  data: { deviceId: 'a', timestamp: n, metrics: { even: n % 2 === 0, n } },
});

/** As `reading`, but sent without a time. */
const untimed = (n: number, timestamp: number): TelemetryRecord => ({
  ...reading(n),
  data: { deviceId: 'a', timestamp, metrics: { n }, untimed: true },
});

/** A log of one partition that has `events` events, the last of which never come when `missing` are. */
function logOf(events: number, missing = 0, records?: readonly TelemetryRecord[], mostReadings?: number) {
  let ended = 0;
  const source: Pick<EventSource<TelemetryRecord>, 'ends' | 'expired' | 'run' | 'partitioner'> = {
    ends: async () =>
      new Map([
        [0, String(events)],
        [1, '1000000'],
      ]),
    expired: async () => new Map(),
    partitioner: async () => () => 0,
    async run(consumer, { signal }) {
      const there = records ?? Array.from({ length: events - missing }, (_, i) => reading(i + 1));
      if (!signal.aborted) await consumer.consume({ partition: 0, after: null, events: there });
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
      ended += 1;
    },
  };
  const directory = { find: async () => new Map() };
  const query = telemetryAsRecorded(
    source as EventSource<TelemetryRecord>,
    eventRegistry,
    uuidIds,
    directory,
    mostReadings,
  );
  return { query, ended: () => ended };
}

const all: RecordedQuery = {
  deviceId: 'a',
  recordedAt: 1e9,
  range: { from: 0, to: 1e9 },
  order: 'asc',
  limit: Number.POSITIVE_INFINITY,
};
const unstopped = () => new AbortController().signal;

describe('Telemetry as it was recorded', () => {
  it('comes in chunks, none empty, and leaves the log alone afterwards', async () => {
    const { query, ended } = logOf(1500);
    const sizes = [];
    for await (const points of query(all, unstopped())) sizes.push(points.length);
    assert.deepEqual(sizes, [1000, 1000, 1000]);
    assert.equal(ended(), 1);
    for await (const points of query({ ...all, deviceId: 'b' }, unstopped())) assert.fail(`${points.length}`);
  });

  it('keeps apart readings that came without a time within one millisecond', async () => {
    const records = [untimed(1, 9), untimed(2, 9), untimed(3, 9), untimed(4, 9)];
    const { query } = logOf(4, 0, records);
    const found: unknown[] = [];
    for await (const points of query({ ...all, range: { from: 10, to: 12 } }, unstopped()))
      found.push(...points.map(({ timestamp, value }) => [timestamp, value]));
    assert.deepEqual(found, [
      [10, 2],
      [11, 3],
    ]);
  });

  it('says the same however little it may hold in memory, in either order', async () => {
    const records = Array.from({ length: 4000 }, (_, i) => reading(((i * 7) % 4000) + 1)).map((one, i) => ({
      ...one,
      position: String(i + 1),
    }));
    const retracted = { deviceId: 'a', from: 100, to: 3000, metric: 'n', reason: 'wrong' };
    records.push({ ...reading(4001), type: 'TelemetryRetracted', data: retracted });
    records.push({ ...reading(4002), data: { deviceId: 'a', timestamp: 5, metrics: { n: 'corrected' } } });
    records.push({ ...untimed(4003, 1500), position: '4003' });
    const range = { from: 3, to: 3900 };
    for (const order of ['asc', 'desc'] as const) {
      const answers = [];
      for (const most of [undefined, 700]) {
        const { query, ended } = logOf(records.length, 0, records, most);
        const found = [];
        for await (const points of query({ ...all, range, order }, unstopped())) found.push(...points);
        answers.push(found);
        assert.equal(ended() > 1, most !== undefined, `${ended()} looks at the log`);
      }
      assert.ok(answers[0]!.length > 4000);
      assert.deepEqual(answers[1], answers[0]);
    }
  });

  it('holds at most what it may for a page', async () => {
    const { query, ended } = logOf(10_000, 0, undefined, 500);
    for (const order of ['asc', 'desc'] as const)
      for await (const points of query({ ...all, order, limit: 10 }, unstopped()))
        assert.deepEqual(
          points.map(({ timestamp }) => timestamp).slice(0, 4),
          order === 'asc' ? [1, 1, 2, 2] : [10_000, 10_000, 9999, 9999],
        );
    assert.equal(ended(), 2);
  });

  it('continues behind a point in the middle of a moment, in either order', async () => {
    const { query } = logOf(3);
    const read = async (some: Partial<RecordedQuery>) => {
      const found = [];
      for await (const points of query({ ...all, ...some }, unstopped()))
        found.push(...points.map(({ timestamp, metric }) => `${timestamp} ${metric}`));
      return found;
    };
    const after = { deviceId: 'a', timestamp: 2, metric: 'even' };
    assert.deepEqual(await read({ after }), ['2 n', '3 even', '3 n']);
    assert.deepEqual(await read({ after, order: 'desc' }), ['2 n', '1 even', '1 n']);
    assert.deepEqual(await read({ after, metrics: ['n'], limit: 1 }), ['2 n']);
  });

  it('stops to read when nobody waits any more', async () => {
    const { query, ended } = logOf(10, 5);
    const stop = new AbortController();
    const answer = query(all, stop.signal)[Symbol.asyncIterator]().next();
    stop.abort(new Error('gone'));
    await assert.rejects(answer, /gone/);
    assert.equal(ended(), 1);
  });
});
