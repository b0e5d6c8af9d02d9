import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { eventually } from '../../support/eventually.ts';
import { httpServices, type Logged, serveHttp } from '../../support/http-services.ts';

describe('Pipelined requests of one connection', () => {
  let served: Awaited<ReturnType<typeof serveHttp>>;
  let logged: Logged[];
  let client: Socket;
  /** Requests that were begun and are not answered, by what lets them go on. */
  let held: (() => void)[];
  let begun: number;

  beforeEach(async () => {
    [held, begun] = [[], 0];
    const { services, logged: lines } = httpServices({
      devices: {
        list: async () => {
          begun += 1;
          await new Promise<void>((resolve) => held.push(resolve));
          return [];
        },
        find: async () => new Map(),
        history: async () => [],
      },
    });
    logged = lines;
    served = await serveHttp(services);
    client = connect(Number(new URL(served.url).port), '127.0.0.1');
    await once(client, 'connect');
  });
  afterEach(async () => {
    client.destroy();
    for (const release of held) release();
    await served.close();
  });

  const requests = (count: number) =>
    Array.from(
      { length: count },
      (_, n) => `GET /api/v1/devices?limit=${n + 1} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
    ).join('');

  it('are begun a few at a time, and answered all and in their order', async () => {
    let text = '';
    client.setEncoding('utf8').on('data', (some) => {
      text += some;
    });
    client.write(requests(100));
    await eventually(() => assert.equal(held.length, 16));
    for (let released = 0; released < 100; released += 1) {
      await eventually(() => assert.ok(held[released]));
      assert.ok(begun <= released + 16, `${begun} begun, ${released} answered`);
      held[released]?.();
    }
    await eventually(() => assert.equal(text.split('HTTP/1.1 200 OK').length, 101));
  });

  it('are cut off with the connection when too many wait, and the log says so', async () => {
    client.on('error', () => {});
    client.write(requests(2000));
    await new Promise((resolve) => client.once('close', resolve));
    const warnings = logged.filter(({ level }) => level === 'warn').map(({ message }) => message);
    assert.deepEqual(warnings, ['connection cut off: too many pipelined requests']);
    assert.ok(begun <= 16, String(begun));
    for (const release of held.splice(0)) release();
    assert.equal((await fetch(`${served.url}/health/live`)).status, 200);
    assert.ok(begun <= 16, String(begun));
  });

  it('that wait do not keep a server from stopping', async () => {
    client.on('error', () => {});
    client.write(requests(100));
    await eventually(() => assert.equal(held.length, 16));
    await served.server.close(50);
    const cut = logged.filter(({ message }) => message === 'request cut off: SHUTDOWN_MS is over');
    assert.equal(cut.length, 16);
  });
});
