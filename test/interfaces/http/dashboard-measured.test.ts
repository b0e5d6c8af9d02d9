import assert from 'node:assert/strict';
import { eventually } from '../../support/eventually.ts';

type Answer = { readonly json: Record<string, unknown> };
type Query = Readonly<Record<string, unknown>>;
type Taking = {
  onBegun(position: string): void;
  onEvent(message: { readonly event: string; readonly data: object }): void;
  onState(state: 'live' | 'cut'): void;
};
type Selection = {
  readonly seconds: number;
  readonly end: number | undefined;
  readonly interval: { readonly name: string; readonly seconds: number } | undefined;
  readonly metrics: readonly string[];
};
type Measured = {
  readonly metrics: readonly string[];
  readonly live: string;
  readonly points: { get(metric: string): { readonly times: number[]; readonly values: unknown[] } };
  select(selection: Selection): Promise<void>;
  close(): void;
};
type Options = {
  get(path: string, query?: Query): Promise<Answer>;
  follow(id: string, taking: Taking): () => void;
  changed(): void;
  refreshEvery: number;
  whenBehind: number;
};
/** A module of the browser, which has no types. */
const { Measured } = (await import(
  String(new URL('../../../interfaces/http/dashboard/measured.js', import.meta.url))
)) as { Measured: new (id: string, options: Options) => Measured };

const hour: Selection = { seconds: 3600, end: undefined, interval: undefined, metrics: [] };
const day: Selection = { ...hour, seconds: 86_400, interval: { name: '5m', seconds: 300 } };
const fiveMinutes = 300_000;

/** A server of one device: a log, and a read model that has as much of it as the test says. */
class Server {
  readonly queries: Query[] = [];
  taking: Taking | undefined;
  followed = 0;
  ended = 0;
  /** Resolves before answers of the newest values are given, which then are those from before. */
  held: Promise<void> | undefined;
  isDown = false;
  #log: { readonly at: number; readonly metrics: Readonly<Record<string, number>> }[] = [];
  #projected = 0;

  readonly get = async (path: string, query: Query = {}): Promise<Answer> => {
    this.queries.push({ path, ...query });
    if (this.isDown) throw Object.assign(new Error('The server cannot be reached'), { status: 0 });
    const seen = this.#log.slice(0, this.#projected);
    if (path.endsWith('/latest')) await this.held;
    for (const position of [query.waitFor ?? []].flat())
      if (Number(String(position).split(':')[2]) > this.#projected)
        throw Object.assign(new Error('behind'), { type: 'not-yet-projected' });
    const points = seen.flatMap(({ at, metrics }) =>
      Object.entries(metrics).map(([metric, value]) => ({ at, metric, value })),
    );
    if (path.endsWith('/latest')) return { json: { points: points.map(({ metric }) => ({ metric })) } };
    const [from, to] = [Date.parse(String(query.from)), Date.parse(String(query.to ?? '2100-01-01'))];
    const found = points.filter(({ at }) => at >= from && at < to);
    if (query.interval === undefined)
      return {
        json: {
          points: found
            .reverse()
            .map(({ at, ...rest }) => ({ timestamp: new Date(at).toISOString(), ...rest })),
          next: null,
        },
      };
    const sums = new Map<number, number[]>();
    for (const { at, value } of found) {
      const start = Math.floor(at / fiveMinutes) * fiveMinutes;
      sums.set(start, [...(sums.get(start) ?? []), value]);
    }
    const buckets = [...sums].map(([start, values]) => ({
      start: new Date(start).toISOString(),
      metric: 'temperature',
      avg: values.reduce((sum, value) => sum + value, 0) / values.length,
    }));
    return { json: { buckets, next: null } };
  };

  readonly follow = (_id: string, taking: Taking): (() => void) => {
    this.followed += 1;
    this.taking = taking;
    taking.onState('live');
    taking.onBegun(`telemetry:0:${this.#projected},devices:0:9,alarms:0:9`);
    return () => {
      this.ended += 1;
    };
  };

  /** Into the log and, where the device is followed, to who follows it. */
  sent(at: number, metrics: Readonly<Record<string, number>>): void {
    this.#log.push({ at, metrics });
    const position = `telemetry:0:${this.#log.length}`;
    const data = { deviceId: 'a', timestamp: new Date(at).toISOString(), metrics, position };
    this.taking?.onEvent({ event: 'reading', data });
  }

  project(): void {
    this.#projected = this.#log.length;
  }
}

describe('What a chart of the dashboard shows', () => {
  let server: Server;
  let measured: Measured;
  const values = (metric = 'temperature') => measured.points.get(metric).values;

  beforeEach(() => {
    server = new Server();
    const { get, follow } = server;
    measured = new Measured('a', { get, follow, changed() {}, refreshEvery: 1, whenBehind: 1 });
  });
  afterEach(() => measured.close());

  it('has the first reading of a device that came while a query without it was answered', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    await measured.select(hour);
    server.held = promise;
    server.taking?.onBegun('telemetry:0:0');
    server.sent(Date.now(), { temperature: 21 });
    const asked = server.queries.length;
    resolve();
    // The query of points follows the answer with the newest values.
    await eventually(async () => assert.ok(server.queries.length > asked));
    await eventually(async () => assert.deepEqual([measured.metrics, values()], [['temperature'], [21]]));
  });

  it('keeps what the stream brought as long as the read model is behind', async () => {
    server.sent(Date.now() - 2000, { temperature: 20 });
    server.project();
    await measured.select(hour);
    server.sent(Date.now() - 1000, { temperature: 21 });
    const asked = server.queries.length;
    server.taking?.onBegun('telemetry:0:2');
    await eventually(async () => assert.ok(server.queries.length > asked + 8));
    assert.deepEqual(values(), [20, 21]);
    server.project();
    await eventually(async () => assert.notEqual(server.queries.at(-1)?.waitFor, undefined));
    assert.deepEqual(values(), [20, 21]);
  });

  it('waits for positions of telemetry only', async () => {
    server.sent(Date.now(), { temperature: 20 });
    server.project();
    await measured.select(hour);
    await eventually(async () => assert.deepEqual(server.queries.at(-1)?.waitFor, ['telemetry:0:1']));
    assert.ok(!JSON.stringify(server.queries).includes('alarms:0'));
  });

  it('reads those averages again that a reading has changed', async () => {
    const start = Math.floor(Date.now() / fiveMinutes) * fiveMinutes;
    server.sent(start - 2 * fiveMinutes, { temperature: 10 });
    server.sent(start, { temperature: 20 });
    server.project();
    await measured.select(day);
    await eventually(async () => assert.deepEqual(values(), [10, 20]));
    server.sent(start + 1, { temperature: 30 });
    server.sent(start - fiveMinutes, { temperature: 5 });
    server.sent(start + 2, { temperature: 40 });
    await eventually(async () =>
      assert.ok(server.queries.some(({ waitFor }) => String(waitFor) === 'telemetry:0:5')),
    );
    server.project();
    await eventually(async () => assert.deepEqual(values(), [10, 5, 30]));
    const again = server.queries.find(({ to }) => to !== undefined);
    assert.deepEqual(
      [again?.from, again?.to],
      [start - fiveMinutes, start + fiveMinutes].map((at) => new Date(at).toISOString()),
    );
  });

  it('reads again what the server was not there for', async () => {
    const start = Math.floor(Date.now() / fiveMinutes) * fiveMinutes;
    server.isDown = true;
    const selected = measured.select(day);
    await eventually(async () => assert.ok(server.queries.length > 3));
    server.isDown = false;
    server.sent(start, { temperature: 20 });
    server.project();
    await selected;
    await eventually(async () => assert.deepEqual(values(), [20]));
    const asked = server.queries.length;
    server.isDown = true;
    server.sent(start + 1, { temperature: 30 });
    server.project();
    await eventually(async () => assert.ok(server.queries.length > asked + 3));
    server.isDown = false;
    await eventually(async () => assert.deepEqual(values(), [25]));
  });

  it('follows once, whatever was chosen meanwhile, and not when the range has ended', async () => {
    await Promise.all([measured.select(hour), measured.select(day), measured.select(day)]);
    assert.deepEqual([server.followed, server.ended, measured.live], [1, 0, 'live']);
    await measured.select({ ...day, end: Date.now() });
    assert.deepEqual([server.followed, server.ended, measured.live], [1, 1, '']);
  });
});
