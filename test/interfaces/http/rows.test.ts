import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { install } from '@sinonjs/fake-timers';
import type { Point, PointQuery, TelemetryQueries } from '../../../application/ports/queries.ts';
import { ReadModelsUnavailable } from '../../../application/ports/read-models.ts';
import { QuerySlots } from '../../../interfaces/http/query-slots.ts';
import { eventually } from '../../support/eventually.ts';
import { httpServices, serveHttp } from '../../support/http-services.ts';

const chunkOf = (start: number, length: number): Point[] =>
  Array.from({ length }, (_, i) => ({
    deviceId: 'd-1',
    timestamp: (start + i) * 1000,
    metric: 'temp',
    value: (start + i) / 8,
  }));

describe('Answers of many rows', () => {
  let open: Awaited<ReturnType<typeof serveHttp>>[];
  beforeEach(() => {
    open = [];
  });
  afterEach(() => Promise.all(open.map(({ close }) => close())));

  async function served(
    points: (query: PointQuery) => AsyncGenerator<readonly Point[]>,
    options: { readonly unreadMs?: number; readonly slots?: QuerySlots } = {},
  ) {
    const telemetry: TelemetryQueries = {
      points,
      async *rollups() {},
      rollupsAt: async () => [],
      latest: async () => [],
    };
    const { slots, ...httpOptions } = options;
    const { services, logged } = httpServices({ telemetry, ...(slots && { slots }) });
    const server = await serveHttp(services, httpOptions);
    open.push(server);
    const start = async (query: string, accept: string): Promise<IncomingMessage> => {
      const [response] = await once(
        get(`${server.url}/api/v1/telemetry?${query}`, { headers: { accept } }),
        'response',
      );
      return response;
    };
    return { start, logged };
  }

  /** As many points as are asked for; `given` counts those handed out, `ended` tells how it came to its end. */
  function endless() {
    const state = { given: 0, ended: false };
    return {
      state,
      async *points({ limit }: PointQuery) {
        try {
          while (state.given < limit) {
            const length = Math.min(1000, limit - state.given);
            state.given += length;
            yield chunkOf(state.given - length, length);
          }
        } finally {
          state.ended = true;
        }
      },
    };
  }

  /** Until the store is not read any further. */
  async function untilFull(state: { readonly given: number }): Promise<void> {
    let before = -1;
    await eventually(
      () => {
        const still = state.given === before;
        before = state.given;
        assert.ok(still, 'the store is still being read');
      },
      { every: 100 },
    );
  }

  async function textOf(response: IncomingMessage): Promise<string> {
    let text = '';
    for await (const chunk of response.setEncoding('utf8')) text += chunk;
    return text;
  }

  it('are whole in every form, and end with the way to the next page', async () => {
    const { start } = await served(endless().points);
    const json = JSON.parse(await textOf(await start('limit=2500', 'application/json')));
    assert.equal(json.points.length, 2500);
    assert.deepEqual(json.points[2499], {
      deviceId: 'd-1',
      timestamp: '1970-01-01T00:41:39.000Z',
      metric: 'temp',
      value: 312.375,
    });

    for (const accept of ['text/csv', 'application/x-ndjson']) {
      const other = await served(endless().points);
      const response = await other.start('limit=2500', accept);
      assert.equal(response.headers.trailer, 'Fieldlog-Next');
      const lines = (await textOf(response)).trimEnd().split('\n');
      assert.equal(lines.length, accept === 'text/csv' ? 2501 : 2500);
      assert.equal(response.trailers['fieldlog-next'], json.next);
    }
  });

  it('are cut off when the caller takes nothing of them for long, and read no further', async () => {
    const { points, state } = endless();
    const { start, logged } = await served(points, { unreadMs: 100 });
    const response = await start('limit=1000000', 'application/x-ndjson');
    response.on('error', () => undefined);
    response.pause();
    await eventually(() => assert.ok(state.ended));
    assert.ok(state.given < 400_000);
    assert.ok(logged.some(({ message }) => message === 'request cut off: its client reads nothing'));
  });

  it('are cut off after 30 seconds in which the caller takes nothing, and before 36 are over', async () => {
    const clock = install({ toFake: ['setInterval', 'clearInterval', 'performance'] });
    try {
      const { points, state } = endless();
      const { start, logged } = await served(points);
      const response = await start('limit=1000000', 'application/x-ndjson');
      response.on('error', () => undefined);
      response.pause();
      await untilFull(state);
      const cut = () =>
        logged.filter(({ message }) => message === 'request cut off: its client reads nothing');
      clock.tick(30_000);
      assert.deepEqual(cut(), []);
      clock.tick(6_000);
      assert.equal(cut().length, 1);
      await eventually(() => assert.ok(state.ended));
    } finally {
      clock.uninstall();
    }
  });

  it('are not cut off while the caller takes them, however slowly', async () => {
    const { start } = await served(endless().points, { unreadMs: 400 });
    const response = await start('limit=100000', 'application/x-ndjson');
    let lines = 0;
    for await (const chunk of response.setEncoding('utf8')) {
      lines += chunk.split('\n').length - 1;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.equal(lines, 100_000);
  });

  it('are searched for no longer once the caller has gone', async () => {
    let ended = false;
    await served(async function* ({ signal }) {
      while (!signal?.aborted) await new Promise((resolve) => setTimeout(resolve, 5));
      ended = true;
      signal?.throwIfAborted();
    });
    const gone = new AbortController();
    const waiting = fetch(`${open[0]?.url}/api/v1/telemetry?metric=none`, { signal: gone.signal });
    setTimeout(() => gone.abort(), 50);
    await assert.rejects(waiting);
    await eventually(() => assert.ok(ended));
  });

  it('come of so many queries at once, and the others wait for a moment', async () => {
    const { points } = endless();
    const { start } = await served(points, { slots: new QuerySlots(2, 100) });
    const reading = await Promise.all([1, 2].map(() => start('limit=1000000', 'application/x-ndjson')));
    for (const response of reading) response.on('error', () => undefined).pause();
    const refused = await start('limit=1', 'application/json');
    assert.deepEqual([refused.statusCode, refused.headers['retry-after']], [429, '1']);
    assert.match(JSON.parse(await textOf(refused)).type, /too-many-queries$/);
    const waiting = start('limit=1', 'application/json');
    reading[0]?.destroy();
    assert.equal((await waiting).statusCode, 200);
    assert.equal((await start('limit=1', 'application/json')).statusCode, 200);
    reading[1]?.destroy();
  });

  it('have no next page when all fitted', async () => {
    const { start } = await served(async function* () {
      yield chunkOf(0, 10);
      yield [];
    });
    const response = await start('limit=10', 'text/csv');
    assert.equal((await textOf(response)).trimEnd().split('\n').length, 11);
    assert.equal(response.trailers['fieldlog-next'], undefined);
    assert.equal(JSON.parse(await textOf(await start('limit=10', '*/*'))).next, null);
  });

  it('are read from the store only as fast as the caller takes them, however many they are', async () => {
    const { points, state } = endless();
    const { start } = await served(points);
    const response = await start('limit=1000000', 'application/x-ndjson');
    response.pause();
    const most = 400_000;
    await untilFull(state);
    assert.ok(state.given < most, `${state.given} points were read ahead`);

    let bytes = 0;
    let lines = 0;
    let heapBefore = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) lines += 1;
      heapBefore ||= process.memoryUsage().arrayBuffers;
    }
    assert.equal(lines, 1_000_000);
    assert.ok(bytes > 60_000_000);
    assert.ok(process.memoryUsage().arrayBuffers - heapBefore < 40_000_000);
  });

  it('stop being read when the caller goes away', async () => {
    const { points, state } = endless();
    const { start } = await served(points);
    const response = await start('limit=10000000', 'text/csv');
    await once(response, 'data');
    response.destroy();
    await eventually(() => assert.ok(state.ended));
    assert.ok(state.given < 10_000_000);
  });

  it('that break off are no well-formed answer, and are logged', async () => {
    for (const accept of ['application/json', 'text/csv', 'application/x-ndjson']) {
      const { start, logged } = await served(async function* () {
        yield chunkOf(0, 5000);
        throw new ReadModelsUnavailable('gone');
      });
      const response = await start('limit=10000', accept);
      assert.equal(response.statusCode, 200);
      await assert.rejects(textOf(response), /aborted/);
      assert.deepEqual(
        logged.filter(({ level }) => level !== 'debug').map(({ message }) => message),
        ['An answer broke off'],
      );
    }
  });

  it('that fail before the first row are a problem like any other', async () => {
    // biome-ignore lint/correctness/useYield: it fails before it could.
    const { start } = await served(async function* () {
      throw new ReadModelsUnavailable('gone');
    });
    const response = await start('limit=10', 'text/csv');
    assert.equal(response.statusCode, 503);
    assert.equal(
      JSON.parse(await textOf(response))
        .type.split('/')
        .at(-1),
      'dependency-unavailable',
    );
  });

  it('are not computed for one who asks only for the headers', async () => {
    const { points, state } = endless();
    await served(points);
    const [{ url } = { url: '' }] = open;
    const { status, headers } = await fetch(`${url}/api/v1/telemetry?limit=1000000`, { method: 'HEAD' });
    assert.deepEqual([status, headers.get('Fieldlog-Lag')], [200, '0']);
    assert.ok(state.given <= 1000 && state.ended);
  });

  it('quote in CSV what would break a line or look like another value, and leave values as they are', async () => {
    const values = ['a,b', 'say "hi"', 'two\r\nlines', '=1+1', '', ' x ', true, -0.5, 'true', '-0.5'];
    const { start } = await served(async function* () {
      yield values.map((value, i) => ({ deviceId: 'd-1', timestamp: i, metric: 'm', value }));
    });
    const text = await textOf(await start('', 'text/csv'));
    const written = ['"a,b"', '"say ""hi"""', '"two\r\nlines"', '=1+1', '""', ' x ', 'true', '-0.5'];
    written.push('"true"', '"-0.5"');
    const lines = written.map((value, i) => `d-1,1970-01-01T00:00:00.00${i}Z,m,${value}\r\n`);
    assert.equal(text, `deviceId,timestamp,metric,value\r\n${lines.join('')}`);
    const { points } = JSON.parse(await textOf(await start('', 'application/json')));
    assert.deepEqual(
      points.map(({ value }: Point) => value),
      values,
    );
  });

  it('escape in CSV the control characters of texts, so that no two texts are written alike', async () => {
    const escaped = {
      'a\u0000b': '"a\\u0000b"',
      '\u001b[31m"red"': '"\\u001b[31m""red"""',
      '\u007f\u0085': '"\\u007f\\u0085"',
      'a\\u0000b': '"a\\u005cu0000b"',
      'C:\\users': '"C:\\users"',
      'tab\there': '"tab\there"',
    };
    const { start } = await served(async function* () {
      yield Object.keys(escaped).map((value, i) => ({ deviceId: 'd-1', timestamp: i, metric: 'm', value }));
    });
    const [, ...lines] = (await textOf(await start('', 'text/csv'))).trimEnd().split('\r\n');
    const values = lines.map((line) => line.slice(line.indexOf('"')));
    assert.deepEqual(values, Object.values(escaped));
  });
});
