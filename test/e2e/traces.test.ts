import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { type DistributedStores, distributedStores } from '../support/distributed-stores.ts';
import { eventually } from '../support/eventually.ts';
import { type RunningServer, runningServer } from '../support/running-server.ts';
import { needs, onMariadbAndMysql } from '../support/servers.ts';
import { type TraceCollector, traceCollector } from '../support/trace-collector.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const callersSpan = '00f067aa0ba902b7';
/** In what is sent, and to be in no span. */
const payload = 987_654.25;

describe('Traces of everything in one process', function () {
  this.timeout(120_000);
  tellsTheStory(
    async () => ({ env: {}, close: async () => {} }),
    ['serve'],
    { api: 'fieldlog-serve', devices: 'fieldlog-serve', telemetry: 'fieldlog-serve' },
    { devices: ['sqlite', 'devices'], telemetry: ['sqlite', 'telemetry'] },
  );
});

needs('KAFKA_BROKERS', 'Traces of three processes', (brokers) =>
  onMariadbAndMysql('that meet in servers', function (mysqlUrl) {
    this.timeout(120_000);
    tellsTheStory(
      () => distributedStores(brokers, mysqlUrl),
      ['api', 'device-projector', 'telemetry-projector'],
      {
        api: 'fieldlog-api',
        devices: 'fieldlog-device-projector',
        telemetry: 'fieldlog-telemetry-projector',
      },
      { devices: ['eventstoredb', 'devices'], telemetry: ['kafka', undefined] },
    );
  }),
);

function tellsTheStory(
  open: () => Promise<Pick<DistributedStores, 'env' | 'close'>>,
  roles: readonly [string, ...string[]],
  services: Readonly<Record<'api' | 'devices' | 'telemetry', string>>,
  systems: Readonly<Record<'devices' | 'telemetry', readonly [system: string, name: string | undefined]>>,
): void {
  let stores: Pick<DistributedStores, 'env' | 'close'>;
  let collector: TraceCollector;
  let server: RunningServer;

  before(async () => {
    collector = await traceCollector();
    stores = await open();
    const env = {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=a%20test',
    };
    server = await runningServer({ ...stores.env, ...env }, roles);
    const device = { deviceId: 'd-1', name: 'One', type: 'test' };
    assert.equal((await server.call('POST', '/api/v1/devices', { json: device })).status, 201);
    const sent = await server.call('POST', '/api/v1/telemetry', {
      json: { deviceId: 'd-1', timestamp: 1, metrics: { payload } },
      headers: {
        traceparent: `00-${traceId}-${callersSpan}-01`,
        tracestate: 'vendor=abc,other=1',
        'X-Correlation-Id': 'story',
      },
    });
    assert.equal(sent.status, 202, sent.text);
    await server.call('GET', '/health/ready');
    await server.call('GET', '/metrics');
    assert.equal((await server.call('GET', '/api/v1/devices/nobody?at=0')).status, 404);
    assert.equal((await server.call('GET', '/nowhere?secret=1')).status, 404);
  });
  after(async () => {
    await server.close();
    await collector.close();
    await stores.close();
  });

  /** The one span of that name, once it has been exported. */
  const span = (name: string) =>
    eventually(
      () => {
        const [one, ...others] = collector.spans.filter((each) => each.name === name);
        assert.ok(one, `no ${name} among ${collector.spans.map((each) => each.name)}`);
        assert.deepEqual(others, []);
        return one;
      },
      { within: 60_000 },
    );

  it('follow a reading from its sender to its row', async () => {
    const request = await span('POST /api/v1/telemetry');
    assert.deepEqual(
      [request.kind, request.traceId, request.parentSpanId, request.traceState, request.service],
      ['SERVER', traceId, callersSpan, 'vendor=abc,other=1', services.api],
    );
    assert.deepEqual(request.attributes, {
      'http.request.method': 'POST',
      'url.scheme': 'http',
      'url.path': '/api/v1/telemetry',
      'network.protocol.version': '1.1',
      'fieldlog.correlation_id': 'story',
      'http.route': '/api/v1/telemetry',
      'http.response.status_code': 202,
    });
    const [system, name = stores.env.KAFKA_TOPIC] = systems.telemetry;
    const publication = await span(`publish ${name}`);
    assert.deepEqual(
      [publication.kind, publication.traceId, publication.parentSpanId, publication.traceState],
      ['PRODUCER', traceId, request.spanId, 'vendor=abc,other=1'],
    );
    assert.equal(publication.attributes['messaging.system'], system);
    const projection = await span('project telemetry');
    assert.deepEqual(projection.links, [{ traceId, spanId: publication.spanId }]);
    assert.deepEqual(
      [projection.kind, projection.service, projection.resource['deployment.environment.name']],
      ['CONSUMER', services.telemetry, 'a test'],
    );
    assert.notEqual(projection.traceId, traceId);
  });

  it('begin with a request that brings none, and follow a command to both its projections', async () => {
    const request = await span('POST /api/v1/devices');
    assert.equal(request.parentSpanId, '');
    const append = await span(`append ${systems.devices[1]}`);
    assert.deepEqual([append.traceId, append.parentSpanId], [request.traceId, request.spanId]);
    assert.equal(append.attributes['messaging.system'], systems.devices[0]);
    for (const projection of ['project devices', 'project device_history']) {
      const { links, service } = await span(projection);
      assert.deepEqual(links, [{ traceId: request.traceId, spanId: append.spanId }]);
      assert.equal(service, services.devices);
    }
  });

  it('have neither what was measured, nor what was asked, nor the questions of who looks after it', async () => {
    assert.equal((await span('GET /api/v1/devices/:deviceId')).attributes['http.response.status_code'], 404);
    const unmatched = await span('GET');
    assert.equal(unmatched.attributes['url.path'], '/nowhere');
    const exported = JSON.stringify(collector.spans);
    for (const absent of [String(payload), 'secret', 'at=0', '/health', '/metrics'])
      assert.ok(!exported.includes(absent), absent);
  });
}

describe('Without servers and an endpoint for traces', function () {
  this.timeout(120_000);
  let folder: string;
  let file: string;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-modules-'));
    file = path.join(folder, 'loaded');
  });
  after(() => rm(folder, { recursive: true }));

  /** What of OpenTelemetry, and of clients, a process loads that takes a device and a reading and projects both. */
  async function loadedBy(env: Readonly<Record<string, string>>): Promise<readonly string[]> {
    await writeFile(file, '');
    const watcher = pathToFileURL(path.resolve(import.meta.dirname, '../support/watch-modules.mjs'));
    const server = await runningServer({
      ...env,
      LOADED_MODULES: file,
      NODE_OPTIONS: `--import=${watcher}`,
    });
    await server.register('d-1');
    await server.measure('d-1', [1]);
    await server.settled();
    await server.close();
    return [...new Set(readFileSync(file, 'utf8').split('\n'))].filter((name) => name !== '').sort();
  }

  it('no client of a server is loaded, and of OpenTelemetry only its interface, which prom-client has', async () => {
    assert.deepEqual(await loadedBy({}), ['@opentelemetry/api']);
  });

  it('and with an endpoint more of it is, so that this would be seen', async () => {
    const loaded = await loadedBy({
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9',
      OTEL_EXPORTER_OTLP_TIMEOUT: '100',
    });
    assert.ok(loaded.includes('@opentelemetry/sdk-trace'), loaded.join());
    assert.ok(loaded.includes('@opentelemetry/exporter-trace-otlp-proto'), loaded.join());
  });
});
