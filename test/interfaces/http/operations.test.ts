import assert from 'node:assert/strict';
import type { Express } from 'express';
import { eventually } from '../../support/eventually.ts';
import { expositionFaults } from '../../support/exposition.ts';
import { type HttpClient, httpClient } from '../../support/http-client.ts';
import { httpServices, serveHttp } from '../../support/http-services.ts';
import { servedFolder } from '../../support/served.ts';

describe('Operating the API', () => {
  let served: Awaited<ReturnType<typeof serveHttp>>;
  let call: HttpClient;
  let failing: string | undefined;
  let stalled: readonly string[];
  let logged: ReturnType<typeof httpServices>['logged'];

  before(async () => {
    const made = httpServices({
      checks: {
        eventStore: () => check('eventStore'),
        readModels: () => check('readModels'),
      },
      needed: ['eventStore'],
      stalled: () => stalled,
      moreMetrics: [async () => 'fieldlog_elsewhere 7\n'],
    });
    logged = made.logged;
    served = await serveHttp(made.services);
    call = httpClient(served.url);
  });
  after(() => served.close());
  beforeEach(() => {
    failing = undefined;
    stalled = [];
  });

  async function check(name: string): Promise<void> {
    if (name === failing) throw new Error('database password wrong');
  }

  it('tells life from readiness, and which dependency is missing', async () => {
    assert.deepEqual((await call('GET', '/health/live')).json, { status: 'live', version: '0.0.0-test' });
    assert.deepEqual((await call('GET', '/health/ready')).json, {
      status: 'ready',
      checks: { eventStore: 'ok', readModels: 'ok' },
    });
    failing = 'eventStore';
    const { status, json, text } = await call('GET', '/health/ready');
    assert.deepEqual([status, json.checks], [503, { eventStore: 'failed', readModels: 'ok' }]);
    assert.equal(json.detail, 'Failed: eventStore');
    assert.doesNotMatch(text, /password/);
    assert.match(String(logged.find(({ level }) => level === 'warn')?.fields.err), /password/);
    assert.equal((await call('GET', '/health/live')).status, 200);
  });

  it('stays ready to take readings without what only queries need, and says that it is missing', async () => {
    failing = 'readModels';
    const { status, json } = await call('GET', '/health/ready');
    assert.deepEqual(
      [status, json],
      [200, { status: 'ready', checks: { eventStore: 'ok', readModels: 'failed' } }],
    );
  });

  it('tells of one dependency to who asks for it, whether it is needed or not', async () => {
    failing = 'readModels';
    const about = (name: string) => call('GET', `/health/ready?dependency=${name}`);
    const [missing, there] = [await about('readModels'), await about('eventStore')];
    assert.deepEqual([missing.status, missing.json.checks], [503, { readModels: 'failed' }]);
    assert.deepEqual([there.status, there.json.checks], [200, { eventStore: 'ok' }]);
    const unknown = await about('fax');
    assert.deepEqual(
      [unknown.status, unknown.json.errors[0].path, unknown.json.errors[0].detail],
      [400, '/dependency', 'must be one of eventStore, readModels'],
    );
  });

  it('is not alive while a part of it stands still, and says which', async () => {
    stalled = ['telemetry: a batch of partition 3 has been in progress for 75000 ms'];
    const { status, json } = await call('GET', '/health/live');
    assert.deepEqual([status, json.detail], [503, stalled[0]]);
    assert.equal((await call('GET', '/health/ready')).status, 200);
  });

  it('counts requests by the form of their address, and readings by what became of them', async () => {
    await call('POST', '/api/v1/devices', { json: { deviceId: 'counted', name: 'C', type: 'test' } });
    const reading = { deviceId: 'counted', metrics: { a: 1 } };
    await call('POST', '/api/v1/telemetry', {
      json: [reading, reading, {}, { ...reading, deviceId: 'other' }],
    });
    await call('GET', '/api/v1/devices/one');
    await call('GET', '/api/v1/devices/two');
    await call('GET', '/somewhere/else');
    const { text, headers } = await call('GET', '/metrics');
    assert.match(headers.get('Content-Type') ?? '', /^text\/plain; version=0\.0\.4/);
    const line = (name: string) =>
      text
        .split('\n')
        .find((one) => one.startsWith(name))
        ?.split(' ')
        .at(-1);
    const requests = 'fieldlog_http_request_duration_seconds_count';
    assert.equal(line(`${requests}{method="GET",route="/api/v1/devices/:deviceId",status="404"}`), '2');
    assert.equal(line(`${requests}{method="GET",route="unmatched",status="404"}`), '1');
    assert.equal(line(`${requests}{method="POST",route="/api/v1/telemetry",status="202"}`), '1');
    assert.equal(line('fieldlog_readings_accepted_total'), '2');
    assert.equal(line('fieldlog_readings_rejected_total{reason="invalid-request"}'), '1');
    assert.equal(line('fieldlog_readings_rejected_total{reason="device-not-registered"}'), '1');
    assert.equal(line('fieldlog_elsewhere'), '7');
    assert.doesNotMatch(text, /one|somewhere/);
  });

  it('describes each metric once, though the threads of a process have some in common', async () => {
    const server = await servedFolder();
    try {
      const client = httpClient(server.url);
      const json = { deviceId: 'd', name: 'D', type: 'test' };
      assert.equal((await client('POST', '/api/v1/devices', { json })).status, 201);
      await eventually(async () => {
        const { text } = await client('GET', '/metrics');
        assert.match(text, /^fieldlog_projection_events_total\{projection="devices"\} 1$/m);
        assert.deepEqual(expositionFaults(text), []);
      });
    } finally {
      await server.close();
    }
  });

  it('writes the correlation id of a request into its line of the log', async () => {
    await call('GET', '/api/v1/devices', { headers: { 'X-Correlation-Id': 'one-story' } });
    const line = logged.find(({ fields }) => fields.correlationId === 'one-story');
    assert.deepEqual([line?.message, line?.fields.status], ['Request answered', 200]);
  });

  it('hands correlation id and trace on to what the request causes', async () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const contexts: unknown[] = [];
    const { services } = httpServices({
      async ingest(readings, context) {
        contexts.push(context);
        return { accepted: readings.length, refused: [], positions: [] };
      },
    });
    const other = await serveHttp(services);
    const send = (headers: Record<string, string>) =>
      httpClient(other.url)('POST', '/api/v1/telemetry', {
        json: { deviceId: 'd', metrics: { a: 1 } },
        headers,
      });
    await send({ 'X-Correlation-Id': 'c-1', traceparent });
    await send({ 'X-Correlation-Id': 'c-2', traceparent: traceparent.replace('4bf9', 'zzzz') });
    await other.close();
    assert.deepEqual(contexts, [
      { correlationId: 'c-1', actor: 'anonymous', traceparent },
      { correlationId: 'c-2', actor: 'anonymous' },
    ]);
  });
});

describe('The documentation of the API', () => {
  let served: Awaited<ReturnType<typeof serveHttp>>;
  let call: HttpClient;
  // biome-ignore lint/suspicious/noExplicitAny: a document to be looked into.
  let document: any;

  before(async () => {
    served = await serveHttp(httpServices().services);
    call = httpClient(served.url);
    document = (await call('GET', '/openapi.json')).json;
  });
  after(() => served.close());

  it('has every route there is, and no other', () => {
    const documented = Object.entries<object>(document.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method} ${path}`),
    );
    assert.deepEqual(documented.sort(), routesOf(served.server.app).sort());
    assert.ok(documented.length >= 19);
  });

  it('describes every parameter and every field that can be sent', () => {
    for (const [path, operations] of Object.entries<Record<string, { parameters: object[] }>>(document.paths))
      for (const { parameters } of Object.values(operations))
        for (const one of parameters as { name: string; description?: string; schema: object }[])
          assert.ok(one.description || path.startsWith('/docs'), `${path} ${one.name}`);
    const bodies = Object.values<Record<string, { requestBody?: { content: object } }>>(document.paths)
      .flatMap((operations) => Object.values(operations))
      .flatMap(({ requestBody }) => Object.values(requestBody?.content ?? {}))
      .map(({ schema }) => schema.anyOf?.[0] ?? schema.items ?? schema)
      .map((schema) => (schema.$ref ? document.components.schemas[schema.$ref.split('/').at(-1)] : schema));
    assert.ok(bodies.length >= 8);
    for (const { properties = {} } of bodies)
      for (const [name, field] of Object.entries<{ description?: string }>(properties))
        assert.ok(field.description, name);
  });

  it('refers to nothing that it does not have', () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)];
    assert.ok(references.length > 20);
    for (const [, name = ''] of references) assert.ok(document.components.schemas[name], name);
    for (const [name, schema] of Object.entries<{ $ref?: string }>(document.components.schemas))
      assert.equal(schema.$ref, undefined, name);
  });

  it('can be read in a browser without any other host, under a policy that allows none', async () => {
    const page = await call('GET', '/docs');
    const policy = page.headers.get('Content-Security-Policy') ?? '';
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe|https?:|\*/);
    const addresses = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, address]) => address ?? '');
    assert.ok(addresses.length >= 4);
    const types = await Promise.all(
      addresses.map(async (address) => {
        assert.match(address, /^\/docs\//);
        const { status, headers } = await call('GET', address);
        assert.equal(status, 200, address);
        return headers.get('Content-Type')?.split(';')[0];
      }),
    );
    assert.deepEqual(types, ['text/css', 'image/png', 'text/javascript', 'text/javascript']);
    assert.doesNotMatch(page.text, /<script>|<style|style=|onload=/);
    for (const outside of ['/docs/..%2fpackage.json', '/docs/package.json', '/docs/index.html'])
      assert.equal((await call('GET', outside)).status, 404, outside);
  });

  it('serve the dashboard from its own files alone, to anyone and under the same policy', async () => {
    const page = await call('GET', '/');
    assert.equal(page.status, 200);
    assert.match(page.headers.get('Content-Security-Policy') ?? '', /default-src 'none'.*script-src 'self'/);
    const files = [...page.text.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, file = '']) => file);
    const seen = new Set<string>();
    for (const file of files) {
      if (seen.has(file)) continue;
      seen.add(file);
      const { status, text } = await call('GET', file);
      assert.equal(status, 200, file);
      // Modules name the others they need.
      for (const [, name = ''] of text.matchAll(/'(?:\.|\/dashboard)\/([\w-]+\.js)'/g))
        files.push(`/dashboard/${name}`);
    }
    assert.ok(seen.size > 10, [...seen].join());
    for (const outside of ['/dashboard/..%2fserver.ts', '/dashboard/index.html', '/dashboard/constructor'])
      assert.equal((await call('GET', outside)).status, 404, outside);
    const { json } = await call('GET', '/api/v1/access');
    assert.deepEqual(
      [json.actor, json.scopes.length, json.isBound, json.mqtt],
      ['anonymous', 5, false, null],
    );
  });
});

/** What the router itself would answer, in the words of OpenAPI. */
function routesOf(app: Express): string[] {
  return app.router.stack.flatMap(({ route }) =>
    route ? route.stack.map(({ method }) => `${method} ${route.path.replaceAll(/:(\w+)/g, '{$1}')}`) : [],
  );
}
