import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { eventually } from '../../support/eventually.ts';
import { httpServices, type Logged, serveHttp } from '../../support/http-services.ts';

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

  it('finishes the requests under way, gives up their connections and takes no others', async () => {
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

  it('is over at once when nothing is under way, whatever connections are kept', async () => {
    await Promise.all([call('GET', '/health/live'), call('GET', '/docs')]);
    const begun = performance.now();
    await served.server.close(60_000);
    assert.ok(performance.now() - begun < 30_000);
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
