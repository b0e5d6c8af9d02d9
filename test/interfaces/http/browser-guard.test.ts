import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { uuidIds } from '../../../infrastructure/identity.ts';
import { httpServices, serveHttp } from '../../support/http-services.ts';

type Answer = {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
};
type Headers = Readonly<Record<string, string>>;

/** As a browser sends it: any header may be given, `Host` as well. */
async function ask(
  url: string,
  method: string,
  path: string,
  headers: Headers = {},
  body = '',
): Promise<Answer> {
  const sent = request(url + path, { method, headers });
  sent.end(body);
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  return { status: answer.statusCode ?? 0, headers: answer.headers, body: await text(answer) };
}

const problem = ({ status, body }: Answer) => [status, JSON.parse(body).type.split('/').at(-1)];
const json = { 'Content-Type': 'application/json' };
const evil = 'https://evil.example';
const trusted = 'https://fleet.example';

type Operation = { readonly method: string; readonly path: string };

describe('A web page of another site', () => {
  let open: Awaited<ReturnType<typeof serveHttp>>;
  let closed: Awaited<ReturnType<typeof serveHttp>>;
  let operations: readonly Operation[];
  before(async () => {
    const origins = [trusted];
    open = await serveHttp(httpServices({ browsers: { origins, isOpen: () => true } }).services);
    closed = await serveHttp(httpServices({ browsers: { origins, isOpen: () => false } }).services);
    const { body } = await ask(open.url, 'GET', '/openapi.json');
    operations = Object.entries(JSON.parse(body).paths as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => ({
        method: method.toUpperCase(),
        path: path.replaceAll('{deviceId}', 'd-1').replaceAll(/\{\w+\}/g, '1'),
      })),
    );
  });
  after(() => Promise.all([open.close(), closed.close()]));

  const changing = () => operations.filter(({ method }) => method !== 'GET');

  it('cannot change anything, by any operation, with a body or without', async () => {
    assert.ok(changing().length > 15, String(changing().length));
    for (const { method, path } of changing())
      for (const headers of [
        { Origin: evil },
        { Origin: 'null' },
        { Origin: evil, 'Sec-Fetch-Site': 'cross-site', ...json },
        { Origin: 'http://localhost:3000', 'Sec-Fetch-Site': 'same-site' },
        { 'Sec-Fetch-Site': 'cross-site', ...json },
      ] as Headers[])
        assert.deepEqual(problem(await ask(open.url, method, path, headers)), [403, 'foreign-origin'], path);
  });

  it('cannot send what a form can send, though the browser says nothing of the page', async () => {
    for (const { method, path } of changing())
      for (const headers of [{}, { 'Content-Type': 'text/plain' }] as Headers[])
        assert.deepEqual(
          problem(await ask(open.url, method, path, headers)),
          [415, 'unsupported-media-type'],
          path,
        );
  });

  it('cannot reach an open server by a name of its own, by any operation', async () => {
    for (const { method, path } of operations)
      for (const Host of [
        'evil.example',
        'evil.example:8080',
        'localhost.evil.example',
        'a.internal.example',
        '127.0.0.1.evil.example',
      ])
        assert.deepEqual(
          problem(await ask(open.url, method, path, { Host, ...json })),
          [421, 'wrong-host'],
          path,
        );
    for (const Host of [
      'localhost',
      'LOCALHOST:8080',
      'app.localhost',
      'api:8080',
      'fieldlog.default.svc.cluster.local:8080',
      'fieldlog.default.svc',
      '127.0.0.1',
      '[::1]:8080',
      'fleet.example',
    ])
      assert.equal((await ask(open.url, 'GET', '/health/live', { Host })).status, 200, Host);
    assert.equal((await ask(closed.url, 'GET', '/health/live', { Host: 'evil.example' })).status, 200);
  });

  it('may be let in by CORS_ORIGINS, and no other', async () => {
    const asked = { Origin: trusted, 'Access-Control-Request-Method': 'POST' };
    const preflight = await ask(open.url, 'OPTIONS', '/api/v1/telemetry', asked);
    assert.equal(preflight.status, 204);
    assert.equal(preflight.headers['access-control-allow-origin'], trusted);
    assert.match(String(preflight.headers['access-control-allow-headers']), /Content-Type.*X-API-Key/);
    assert.match(String(preflight.headers['access-control-allow-methods']), /PATCH/);

    const device = '{"deviceId":"cors","name":"C","type":"t"}';
    const made = await ask(open.url, 'POST', '/api/v1/devices', { Origin: trusted, ...json }, device);
    assert.equal(made.status, 201);
    assert.equal(made.headers['access-control-allow-origin'], trusted);
    assert.match(String(made.headers['access-control-expose-headers']), /ETag/);
    const read = await ask(open.url, 'GET', '/api/v1/devices/cors/telemetry', { Origin: trusted });
    assert.deepEqual([read.status, read.headers.vary], [200, 'Origin, Accept']);

    for (const path of ['/api/v1/devices', '/api/v1/telemetry']) {
      const foreign = await ask(open.url, 'OPTIONS', path, { ...asked, Origin: evil });
      assert.equal(foreign.headers['access-control-allow-origin'], undefined);
    }
    const unread = await ask(open.url, 'GET', '/api/v1/devices/cors/telemetry', { Origin: evil });
    assert.equal(unread.headers['access-control-allow-origin'], undefined);
  });

  it('is distinguished from the own pages, and from programs, which send what they like', async () => {
    const { host } = new URL(open.url);
    const body = '{}';
    for (const headers of [
      { ...json },
      { Origin: `http://${host}`, ...json },
      { Origin: 'https://proxy.example', 'Sec-Fetch-Site': 'same-origin', ...json },
      { 'Sec-Fetch-Site': 'none', ...json },
    ] as Headers[])
      assert.equal((await ask(open.url, 'POST', '/api/v1/devices', headers, body)).status, 400);
    const registered = '{"deviceId":"bare","name":"B","type":"t"}';
    await ask(open.url, 'POST', '/api/v1/devices', json, registered);
    for (const headers of [{ 'X-Requested-With': 'curl' }, { 'Idempotency-Key': '1' }] as Headers[])
      assert.equal((await ask(open.url, 'POST', '/api/v1/devices/bare/reinstate', headers)).status, 200);
  });

  it('gets the headers that keep it out with every answer', async () => {
    for (const { method, path } of [...operations, { method: 'GET', path: '/nowhere' }]) {
      // Node's client announces no body of these methods.
      const body = method === 'GET' || method === 'DELETE' ? '' : '{"a":1}';
      const { status, headers } = await ask(open.url, method, path, json, body);
      const said = `${method} ${path} ${status}`;
      assert.match(String(headers['content-security-policy']), /default-src 'none'/, said);
      assert.equal(headers['x-content-type-options'], 'nosniff', said);
      assert.equal(headers['cross-origin-resource-policy'], 'same-origin', said);
    }
  });
});

describe('What is forged', () => {
  it('as a cursor of any query is a fault of the request', async () => {
    const { url, close } = await serveHttp(httpServices().services);
    try {
      await ask(url, 'POST', '/api/v1/devices', json, '{"deviceId":"d-1","name":"D","type":"t"}');
      const queries: readonly (readonly [path: string, question: unknown])[] = [
        ['/api/v1/devices', ['devices', {}]],
        ['/api/v1/devices/d-1/history', ['history', 'd-1']],
        ['/api/v1/telemetry/latest', ['latest', { devices: {} }, undefined]],
      ];
      for (const [path, question] of queries)
        for (const key of ['{"a":1}', 'null', 'not json', '[]']) {
          const digest = uuidIds.digest(`${key} of ${JSON.stringify(question)}`).slice(0, 16);
          const cursor = Buffer.from(digest + key).toString('base64url');
          const answer = await ask(url, 'GET', `${path}?cursor=${cursor}`);
          assert.deepEqual(problem(answer), [400, 'invalid-request'], answer.body);
          assert.equal(JSON.parse(answer.body).errors[0].path, '/cursor');
        }
    } finally {
      await close();
    }
  });

  it("as another device's reading, well-formed or not, has the whole batch of a device refused", async () => {
    const identity = { is: 'device', deviceId: 'd-1' } as const;
    const { services, published } = httpServices({
      access: {
        stillAdmits: async () => true,
        sender: async () => undefined,
        admit: (_req, _route, context) => {
          context.identity = identity;
          return undefined;
        },
        requireDevice: async () => {},
      },
    });
    const { url, close } = await serveHttp(services);
    try {
      await ask(url, 'POST', '/api/v1/devices', json, '{"deviceId":"d-1","name":"D","type":"t"}');
      const own = '{"deviceId":"d-1","metrics":{"a":1}}';
      for (const other of [
        '{"deviceId":"d-2","metrics":{}}',
        '{"deviceId":"d-2"}',
        '{"deviceId":"","metrics":{"a":1}}',
      ]) {
        const answer = await ask(url, 'POST', '/api/v1/telemetry', json, `[${own},${other}]`);
        assert.deepEqual(problem(answer), [403, 'not-this-device']);
        assert.equal(JSON.parse(answer.body).index, 1);
      }
      assert.equal(published.length, 0);
      const malformed = await ask(url, 'POST', '/api/v1/telemetry', json, `[${own},{"metrics":{"a":1}},7]`);
      assert.equal(malformed.status, 202);
    } finally {
      await close();
    }
  });
});
