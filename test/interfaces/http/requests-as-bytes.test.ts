import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { httpServices, serveHttp } from '../../support/http-services.ts';

describe('A request as bytes on a connection', () => {
  let served: Awaited<ReturnType<typeof serveHttp>>;
  before(async () => {
    served = await serveHttp(httpServices().services);
  });
  after(() => served.close());

  /** Exactly these bytes: clients join, drop or correct what small devices send. */
  async function send(bytes: string): Promise<string> {
    const { hostname, port } = new URL(served.url);
    const socket = connect(Number(port), hostname);
    socket.write(bytes);
    return text(socket);
  }

  const ask = (...headers: readonly string[]) =>
    send(['GET /api/v1/devices HTTP/1.1', ...headers, 'Connection: close', '', ''].join('\r\n'));

  it('is refused with a header that means one thing, sent twice, and names the header', async () => {
    for (const [name, one, other] of [
      ['Host', 'a', 'b'],
      ['Idempotency-Key', 'a', 'a'],
      ['If-Match', '"1"', '"2"'],
    ] as const) {
      const host = name === 'Host' ? [] : ['Host: localhost'];
      const answer = await ask(...host, `${name}: ${one}`, `${name.toUpperCase()}: ${other}`);
      assert.match(answer, /^HTTP\/1\.1 400 /, name);
      assert.match(answer, new RegExp(`${name.toLowerCase()}.*must be sent once`));
    }
    assert.match(await ask('Host: localhost', 'Idempotency-Key: a'), /^HTTP\/1\.1 200 /);
  });

  it('leaves the connection open for 75 s, and says so (case 38)', async () => {
    const answer = await send(
      'GET /api/v1/devices HTTP/1.1\r\nHost: localhost\r\n\r\n' +
        'GET /api/v1/devices HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
    );
    assert.match(answer, /^HTTP\/1\.1 200 .*?\r\nKeep-Alive: timeout=75\r\n.*HTTP\/1\.1 200 /is);
  });

  it('may be one of HTTP/1.0, without a Host, and the connection ends after its answer (case 40)', async () => {
    assert.match(
      await send('GET /api/v1/devices HTTP/1.0\r\n\r\n'),
      /^HTTP\/1\.1 200 .*\r\nConnection: close\r\n/s,
    );
  });

  it('is refused with lines that end in a line feed alone, as RFC 9112 allows (case 40)', async () => {
    assert.match(await send('GET /api/v1/devices HTTP/1.1\nHost: localhost\n\n'), /^HTTP\/1\.1 400 /);
  });
});
