import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { httpServices, serveHttp } from '../../support/http-services.ts';

describe('A request with a header that means one thing, sent twice', () => {
  let served: Awaited<ReturnType<typeof serveHttp>>;
  before(async () => {
    served = await serveHttp(httpServices().services);
  });
  after(() => served.close());

  /** Exactly these header lines: clients join or drop what is repeated. */
  async function ask(...headers: readonly string[]): Promise<string> {
    const { hostname, port } = new URL(served.url);
    const socket = connect(Number(port), hostname);
    socket.end(['GET /api/v1/devices HTTP/1.1', ...headers, 'Connection: close', '', ''].join('\r\n'));
    return text(socket);
  }

  it('is refused, and names the header', async () => {
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
});
