import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { StaleRevision } from '../../../application/devices/device-commands.ts';
import {
  AppendTooLarge,
  EventStoreUnavailable,
  RevisionConflict,
  StreamDeleted,
} from '../../../application/ports/event-store.ts';
import { ReadModelsUnavailable } from '../../../application/ports/read-models.ts';
import { TelemetryLogUnavailable } from '../../../application/ports/telemetry-log.ts';
import { NotYetProjected } from '../../../application/progress.ts';
import { problemKinds } from '../../../interfaces/http/problems.ts';
import type { HttpServices } from '../../../interfaces/http/server.ts';
import { type HttpClient, httpClient } from '../../support/http-client.ts';
import { httpServices, type Logged, serveHttp } from '../../support/http-services.ts';

const device = { deviceId: 'd-1', name: 'One', type: 'test' };
const problemTypes = 'https://fieldlog.dev/problems/';

const fails = (error: Error) => async () => {
  throw error;
};

describe('HTTP problems', () => {
  let open: Awaited<ReturnType<typeof serveHttp>>[];
  beforeEach(() => {
    open = [];
  });
  afterEach(() => Promise.all(open.map(({ close }) => close())));

  async function served(
    replaced: Partial<HttpServices> = {},
  ): Promise<{ call: HttpClient; logged: Logged[] }> {
    const { services, logged } = httpServices(replaced);
    const server = await serveHttp(services);
    open.push(server);
    return { call: httpClient(server.url), logged };
  }

  it('carry type, title, status, detail, address and correlation id', async () => {
    const { call } = await served();
    const { status, headers, json } = await call('GET', '/api/v1/devices/none?timeout=1s', {
      headers: { 'X-Correlation-Id': 'trace/7' },
    });
    assert.equal(status, 404);
    assert.equal(headers.get('Content-Type'), 'application/problem+json');
    assert.equal(headers.get('X-Correlation-Id'), 'trace/7');
    assert.deepEqual(json, {
      type: `${problemTypes}device-not-registered`,
      title: problemKinds['device-not-registered'].title,
      status: 404,
      detail: 'Device none is not registered',
      instance: '/api/v1/devices/none',
      correlationId: 'trace/7',
    });
  });

  it('are each in docs/api-problems.md, with their status', async () => {
    const text = await readFile('docs/api-problems.md', 'utf8');
    for (const [kind, { status }] of Object.entries(problemKinds))
      assert.match(text, new RegExp(`\\| \`${kind}\` \\| ${status} \\|`), kind);
    const rows = text.match(/^\| `[a-z-]+` \| \d{3} \|/gm)?.length;
    assert.equal(rows, Object.keys(problemKinds).length);
  });

  it('tell which server is unavailable and when to try again', async () => {
    const cases = [
      ['POST', '/api/v1/devices', { commands: { handle: fails(new EventStoreUnavailable('gone')) } }, '1'],
      ['POST', '/api/v1/telemetry', { ingest: fails(new TelemetryLogUnavailable('full', 7)) }, '7'],
      [
        'GET',
        '/api/v1/devices',
        {
          devices: {
            list: fails(new ReadModelsUnavailable('gone')),
            find: fails(new Error()),
            history: fails(new Error()),
          },
        },
        '1',
      ],
    ] as const;
    for (const [method, path, replaced, retryAfter] of cases) {
      const { call, logged } = await served(replaced);
      const json = path.endsWith('devices') ? device : { deviceId: 'd-1', metrics: { a: 1 } };
      const answer = await call(method, path, method === 'POST' ? { json } : {});
      assert.equal(answer.status, 503, path);
      assert.equal(answer.json.type, `${problemTypes}dependency-unavailable`);
      assert.equal(answer.headers.get('Retry-After'), retryAfter);
      assert.equal(logged.filter(({ level }) => level === 'warn').length, 1);
    }
  });

  it('give the lag when the read model is not far enough yet', async () => {
    const { call } = await served({
      freshness: {
        status: async () => ({ positions: [], lag: 3, lagIsAtLeast: false }),
        waitFor: fails(new NotYetProjected({ lag: 12, lagIsAtLeast: false })),
      },
    });
    const { status, headers, json } = await call('GET', '/api/v1/devices?waitFor=devices:0:9&timeout=10');
    assert.equal(status, 503);
    assert.equal(json.type, `${problemTypes}not-yet-projected`);
    assert.equal(json.lag, 12);
    assert.equal(headers.get('Retry-After'), '1');
  });

  it('name the rule that forbids a command', async () => {
    const stale = new StaleRevision('d-1', 3, 5);
    const { call } = await served({ commands: { handle: fails(stale) } });
    const changed = await call('PATCH', '/api/v1/devices/d-1', { json: { name: 'Two' } });
    assert.deepEqual([changed.status, changed.json.revision], [412, 5]);

    const contended = await served({ commands: { handle: fails(new RevisionConflict('device-d-1')) } });
    const refused = await contended.call('POST', '/api/v1/devices', { json: device });
    assert.deepEqual([refused.status, refused.json.type], [409, `${problemTypes}concurrent-changes`]);
  });

  it('say what the event store does not take, and what it no longer has', async () => {
    const large = await served({ commands: { handle: fails(new AppendTooLarge(1_048_576)) } });
    const refused = await large.call('POST', '/api/v1/devices', { json: device });
    assert.deepEqual([refused.status, refused.json.limit], [413, 1_048_576]);
    assert.match(refused.json.detail, /1048576 bytes/);

    const gone = fails(new StreamDeleted('device-d-1'));
    const { call } = await served({ commands: { handle: gone }, history: { deviceAt: gone } });
    for (const answer of [
      await call('PATCH', '/api/v1/devices/d-1', { json: { name: 'Two' } }),
      await call('GET', '/api/v1/devices/d-1'),
    ])
      assert.deepEqual([answer.status, answer.json.type], [410, `${problemTypes}device-stream-deleted`]);
  });

  it('say nothing of what broke inside, which the log does, once, with the stack', async () => {
    const { call, logged } = await served({
      commands: { handle: fails(new TypeError('secret of the house')) },
    });
    const { status, text, json } = await call('POST', '/api/v1/devices', { json: device });
    assert.equal(status, 500);
    assert.doesNotMatch(text, /secret|TypeError/);
    const errors = logged.filter(({ level }) => level === 'error');
    assert.equal(errors.length, 1);
    const { correlationId, err } = errors[0]?.fields ?? {};
    assert.equal(correlationId, json.correlationId);
    assert.match(String((err as Error).stack), /secret of the house/);
  });

  it('make a correlation id when there is none, or one that could spoil a log line', async () => {
    const { call } = await served();
    for (const headers of [
      {},
      { 'X-Correlation-Id': 'two words' },
      { 'X-Correlation-Id': 'x'.repeat(129) },
    ]) {
      const answer = await call('GET', '/nowhere', { headers });
      assert.match(answer.json.correlationId, /^[0-9a-f-]{36}$/);
      assert.equal(answer.headers.get('X-Correlation-Id'), answer.json.correlationId);
    }
  });

  it('tell an address that does not exist from a method it does not have', async () => {
    const { call } = await served();
    assert.equal((await call('GET', '/api/v1/nothing')).status, 404);
    assert.equal((await call('GET', '/api/v1/devices/')).status, 404);
    const wrong = await call('DELETE', '/api/v1/devices/d-1');
    assert.equal(wrong.status, 405);
    assert.equal(wrong.headers.get('Allow'), 'PATCH, GET, HEAD, OPTIONS');
    const options = await call('OPTIONS', '/api/v1/telemetry');
    assert.deepEqual([options.status, options.headers.get('Allow')], [204, 'POST, GET, HEAD, OPTIONS']);
    // It fits the address that ThingsBoard's devices send to as well, whose token is in the place of `projections`.
    const both = await call('OPTIONS', '/api/v1/projections/telemetry');
    assert.equal(both.headers.get('Allow'), 'GET, HEAD, OPTIONS');
  });

  it('refuse addresses that are not percent-encoded UTF-8', async () => {
    const { call } = await served();
    for (const path of [
      '/api/v1/devices/%zz',
      '/api/v1/devices/%ff',
      '/%',
      '/api/v1/devices?q=%c3',
      '/metrics?%zz',
    ])
      assert.equal((await call('GET', path)).status, 400, path);
  });

  it('refuse an address longer than a header may be', async () => {
    const { call } = await served();
    assert.equal((await call('GET', `/api/v1/devices?q=${'x'.repeat(20_000)}`)).status, 431);
  });
});
