import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ApiRefusal, apiClient } from '../../../interfaces/cli/api-client.ts';
import { Interrupted, ServerUnavailable } from '../../../interfaces/cli/exit-codes.ts';

type Handler = (req: IncomingMessage, res: ServerResponse) => void;

describe('The client of the API', () => {
  let server: Server;
  let url: string;
  let requests: number;
  /** One for each request, the last of them for all that follow. */
  let handlers: Handler[];
  const signal = new AbortController().signal;

  beforeEach(async () => {
    requests = 0;
    server = createServer((req, res) => {
      requests += 1;
      handlers[Math.min(requests, handlers.length) - 1]?.(req, res);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(() => {
    server.closeAllConnections();
    return new Promise<void>((resolve) => void server.close(() => resolve()));
  });

  const json =
    (status: number, body: unknown, headers: Record<string, string> = {}): Handler =>
    (_req, res) =>
      void res
        .writeHead(status, { 'Content-Type': 'application/json', ...headers })
        .end(JSON.stringify(body));

  const rejection = async (promise: Promise<unknown>): Promise<Error> =>
    promise.then(
      () => assert.fail('it did not fail'),
      (error) => error,
    );

  it('asks again when the server says so, and answers what it then says', async () => {
    handlers = [
      json(503, { detail: 'not yet' }, { 'Retry-After': '0' }),
      json(429, {}, { 'Retry-After': '0' }),
      json(200, { fine: true }),
    ];
    const client = apiClient(url, { signal, retryMilliseconds: 5000 });
    assert.deepEqual(await client.send('POST', '/x', { a: 1 }), { fine: true });
    assert.equal(requests, 3);
  });

  it('asks again when the connection broke, and says that the outcome of the first is not known', async () => {
    let uncertain = 0;
    handlers = [(req) => void req.socket.destroy(), json(202, { accepted: 1 })];
    const client = apiClient(url, { signal, retryMilliseconds: 5000, onUncertain: () => (uncertain += 1) });
    assert.deepEqual(await client.send('POST', '/x', {}), { accepted: 1 });
    assert.equal(uncertain, 1);
  });

  it('gives up when the time for it is over, or at once when there is none', async () => {
    handlers = [json(503, { detail: 'The telemetry log cannot be reached' }, { 'Retry-After': '60' })];
    for (const options of [{ signal }, { signal, retryMilliseconds: 1000 }]) {
      const error = await rejection(apiClient(url, options).get('/x'));
      assert.ok(error instanceof ServerUnavailable);
      assert.match(error.message, /cannot serve this now: The telemetry log cannot be reached$/);
    }
    assert.equal(requests, 2);
  });

  it('does not ask again after a refusal or a fault', async () => {
    handlers = [
      json(404, { detail: 'Device a is not registered' }),
      json(500, { detail: 'Something went wrong' }),
    ];
    const client = apiClient(url, { signal, retryMilliseconds: 5000 });
    const refusal = await rejection(client.get('/x'));
    assert.ok(refusal instanceof ApiRefusal && refusal.status === 404);
    assert.equal(refusal.message, 'Device a is not registered');
    const fault = await rejection(client.get('/x'));
    assert.ok(fault instanceof ServerUnavailable && /Something went wrong/.test(fault.message));
    assert.equal(requests, 2);
  });

  it('understands refusals of a server that is not ours', async () => {
    handlers = [(_req, res) => void res.writeHead(403).end('<html>')];
    assert.equal((await rejection(apiClient(url, { signal }).get('/x'))).message, 'it answered 403');
  });

  it('says how to start a server when none answers', async () => {
    const free = await new Promise<number>((resolve) => {
      const probe = createServer().listen(0, '127.0.0.1', () => {
        const { port } = probe.address() as AddressInfo;
        probe.close(() => resolve(port));
      });
    });
    const error = await rejection(apiClient(`http://127.0.0.1:${free}`, { signal }).get('/x'));
    assert.ok(error instanceof ServerUnavailable);
    assert.match(error.message, /no server answers at .*: start one with `fieldlog serve`/);
  });

  it('stops at its signal, in the middle of an answer or of a pause', async () => {
    const interrupted = new Interrupted('SIGINT');
    for (const handler of [() => {}, json(503, {}, { 'Retry-After': '60' })]) {
      handlers = [handler];
      const stop = new AbortController();
      server.once('request', () => setImmediate(() => stop.abort(interrupted)));
      const client = apiClient(url, { signal: stop.signal, retryMilliseconds: 120_000 });
      assert.equal(await rejection(client.get('/x')), interrupted);
    }
  });

  it('lets a running request finish where that is asked for, and sends none after', async () => {
    const interrupted = new Interrupted('SIGTERM');
    const stop = new AbortController();
    handlers = [
      (req, res) => {
        stop.abort(interrupted);
        setImmediate(() => json(200, { done: true })(req, res));
      },
    ];
    const client = apiClient(url, { signal: stop.signal, finish: true });
    assert.deepEqual(await client.send('POST', '/x', {}), { done: true });
    assert.equal(await rejection(client.send('POST', '/x', {})), interrupted);
    assert.equal(requests, 1);
  });

  it('says so when an answer breaks off', async () => {
    handlers = [
      (req, res) => {
        res.write('{"n":1}\n');
        setImmediate(() => req.socket.destroy());
      },
    ];
    const client = apiClient(url, { signal });
    const error = await rejection(client.get('/x'));
    assert.ok(error instanceof ServerUnavailable && /broke off/.test(error.message));
    const rows = client.rows('/x');
    assert.deepEqual(await rows.next(), { value: { n: 1 }, done: false });
    assert.ok((await rejection(rows.next())) instanceof ServerUnavailable);
  });

  it('sends every value of a parameter, and reads rows that come in parts', async () => {
    let asked: string | undefined;
    handlers = [
      (req, res) => {
        asked = req.url;
        res.write('{"n":"é');
        setImmediate(() => res.end('"}\n{"n":2}\n'));
      },
    ];
    const rows: unknown[] = [];
    for await (const row of apiClient(url, { signal }).rows('/x', { a: ['1', '2+'], b: undefined, c: 3 }))
      rows.push(row);
    assert.deepEqual(rows, [{ n: 'é' }, { n: 2 }]);
    assert.equal(asked, '/x?a=1&a=2%2B&c=3');
  });
});
