import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { LivePosition } from '../../../application/live/live-position.ts';
import type { LiveSink } from '../../../application/live/live-stream.ts';
import type { LiveStreams } from '../../../application/live/live-streams.ts';
import { eventually } from '../../support/eventually.ts';
import { httpServices, type Logged, serveHttp } from '../../support/http-services.ts';
import { selfSigned } from '../../support/self-signed.ts';

const body = JSON.stringify({ deviceId: 'd-1', metrics: { a: 1 } });

describe('Shutting down', () => {
  let release: () => void;
  let started: Promise<void>;
  let served: Awaited<ReturnType<typeof serveHttp>>;
  let agent: Agent;
  let logged: Logged[];

  beforeEach(async () => {
    const held = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    release = held.resolve;
    started = begun.promise;
    const { services, logged: lines } = httpServices({
      async ingest(readings) {
        begun.resolve();
        await held.promise;
        return { accepted: readings.length, refused: [], positions: [] };
      },
    });
    logged = lines;
    served = await serveHttp(services);
    agent = new Agent({ keepAlive: true });
  });
  afterEach(() => agent.destroy());

  const call = (method: string, path: string) =>
    new Promise<{ status: number | undefined; connection: string | undefined }>((resolve, reject) => {
      const options = { method, agent, headers: { 'Content-Type': 'application/json' } };
      const sent = request(served.url + path, options, (response) => {
        response
          .resume()
          .on('end', () => resolve({ status: response.statusCode, connection: response.headers.connection }));
      });
      sent.on('error', reject).end(method === 'POST' ? body : undefined);
    });

  const refusesConnections = () =>
    eventually(() => assert.rejects(fetch(`${served.url}/health/live`), { name: 'TypeError' }));

  it('finishes the current requests, gives up their connections and takes no others', async () => {
    await call('GET', '/health/live');
    const underWay = call('POST', '/api/v1/telemetry');
    await started;
    const closed = served.server.close(10_000);
    await refusesConnections();
    release();
    assert.deepEqual(await underWay, { status: 202, connection: 'close' });
    await closed;
  });

  it('cuts off what is not finished when its time is up, and logs it', async () => {
    const underWay = call('POST', '/api/v1/telemetry');
    await started;
    await Promise.all([served.server.close(50), assert.rejects(underWay, { code: 'ECONNRESET' })]);
    const warnings = logged.filter(({ level }) => level === 'warn');
    assert.deepEqual(
      warnings.map(({ message, fields: { method, route } }) => ({ message, method, route })),
      [
        {
          message: 'request cut off: SHUTDOWN_MS is over',
          method: 'POST',
          route: '/api/v1/telemetry',
        },
      ],
    );
    assert.ok(Number(warnings[0]?.fields.seconds) > 0.04);
    release();
  });

  it('logs no request as cut off that is finished in time', async () => {
    const underWay = call('POST', '/api/v1/telemetry');
    await started;
    const closed = served.server.close(10_000);
    release();
    await underWay;
    await closed;
    assert.deepEqual(
      logged.filter(({ level }) => level === 'warn'),
      [],
    );
  });

  it('is over at once when nothing is in progress, whatever connections are kept', async () => {
    await Promise.all([call('GET', '/health/live'), call('GET', '/docs')]);
    const begun = performance.now();
    await served.server.close(60_000);
    assert.ok(performance.now() - begun < 30_000);
  });

  it('is over at once when connections are open on which nothing was asked', async () => {
    const secure = await serveHttp(httpServices().services, { certificate: selfSigned() });
    for (const { url, server } of [served, secure]) {
      const port = Number(new URL(url).port);
      const silent = connect(port, '127.0.0.1').on('error', () => {});
      await once(silent, 'connect');
      // Accepted after the silent one, and silent as well.
      const later = url.startsWith('https') ? connectTls({ port, rejectUnauthorized: false }) : connect(port);
      await once(
        later.on('error', () => {}),
        url.startsWith('https') ? 'secureConnect' : 'connect',
      );
      if (url === served.url) await call('GET', '/health/live');
      const begun = performance.now();
      await server.close(60_000);
      assert.ok(performance.now() - begun < 30_000);
      for (const socket of [silent, later]) socket.destroy();
    }
  });

  it('is over at once when the client of a live stream takes nothing', async () => {
    let sink: LiveSink | undefined;
    const live = {
      start: async () => new LivePosition({ telemetry: new Map(), devices: new Map(), alarms: new Map() }),
      async run(_selection: unknown, _from: unknown, _more: unknown, opened: LiveSink) {
        sink = opened;
        for (let i = 0; i < 64; i += 1) sink.write('reading', JSON.stringify('x'.repeat(1_000_000)), 'start');
        await once(sink.closed, 'abort');
      },
      closed() {},
    };
    const streaming = await serveHttp(httpServices({ live: live as unknown as LiveStreams }).services);
    const client = connect(Number(new URL(streaming.url).port), '127.0.0.1').pause();
    client.on('error', () => {});
    client.write('GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await eventually(() => assert.ok((sink?.pending() ?? 0) > 1_000_000));
    const begun = performance.now();
    const closed = streaming.server.close(60_000);
    sink?.end('shutdown');
    await closed;
    assert.ok(performance.now() - begun < 30_000);
    client.destroy();
  });

  it('leaves idle connections alone until it refuses new ones, for a request may be on its way', async () => {
    const underWay = call('POST', '/api/v1/telemetry');
    await started;
    const idle = connect(Number(new URL(served.url).port), '127.0.0.1');
    let ended = false;
    idle.on('close', () => {
      ended = true;
    });
    const answers = idle.iterator({ destroyOnReturn: false });
    idle.write('GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n');
    assert.match(String((await answers.next()).value), /200 OK/);

    const closed = served.server.close(10_000, 1500);
    release();
    await underWay;
    await call('GET', '/health/live');
    assert.equal(ended, false);
    idle.write('GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n');
    assert.match(String((await answers.next()).value), /200 OK.*Connection: close/s);
    await closed;
    idle.destroy();
  });

  it('is announced as not ready before connections are refused', async () => {
    assert.deepEqual(await call('GET', '/health/ready'), { status: 200, connection: 'keep-alive' });
    const closed = served.server.close(10_000, 1500);
    assert.deepEqual(await call('GET', '/health/ready'), { status: 503, connection: 'close' });
    assert.equal((await call('GET', '/health/live')).status, 200);
    await closed;
    await refusesConnections();
  });
});
