import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { request } from 'node:http';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { readItems } from '../../../interfaces/http/body.ts';
import { type HttpClient, httpClient } from '../../support/http-client.ts';
import { httpServices, serveHttp } from '../../support/http-services.ts';

const reading = { deviceId: 'd-1', metrics: { temp: 20.5 } };
const ndjson = { 'Content-Type': 'application/x-ndjson' };

function parsedOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return 'refused';
  }
}

describe('Request bodies', () => {
  let server: Awaited<ReturnType<typeof serveHttp>>;
  let published: ReturnType<typeof httpServices>['published'];
  let call: HttpClient;

  before(async () => {
    const made = httpServices();
    published = made.published;
    server = await serveHttp(made.services, { maxBodyBytes: 200_000, maxReadings: 50, maxBulk: 10 });
    call = httpClient(server.url);
    await call('POST', '/api/v1/devices', { json: { deviceId: 'd-1', name: 'One', type: 'test' } });
  });
  after(() => server.close());

  const send = (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
    call('POST', '/api/v1/telemetry', { body, headers });

  const typeOf = ({ json }: { json: { type: string } }) => json.type.split('/').at(-1);

  it('are refused with the place where the JSON goes wrong', async () => {
    for (const body of ['', '{', '{"deviceId":"d-1",}', `[${JSON.stringify(reading)}`, 'null x', '\u0000']) {
      const answer = await send(body);
      assert.deepEqual([answer.status, typeOf(answer)], [400, 'malformed-json'], body);
    }
    const { json } = await send(`[${JSON.stringify(reading)},\n${JSON.stringify(reading)},\n}]`);
    assert.match(json.detail, /Unexpected token '}', .*20\.5}},\n}]/);
  });

  it('are refused when they are not UTF-8', async () => {
    const latin1 = Uint8Array.from(Buffer.from('{"deviceId":"d-1","metrics":{"a":"é"}}', 'latin1'));
    const answer = await send(latin1);
    assert.deepEqual([answer.status, typeOf(answer)], [400, 'malformed-encoding']);
  });

  it('may begin with a byte order mark', async () => {
    assert.equal((await send(`\ufeff${JSON.stringify(reading)}`)).status, 202);
  });

  it('are refused in another form, or in none', async () => {
    for (const type of ['text/plain', 'application/xml', 'application/json; charset=latin1', 'json', '']) {
      const answer = await send(JSON.stringify(reading), { 'Content-Type': type });
      assert.deepEqual([answer.status, typeOf(answer)], [415, 'unsupported-media-type'], type);
    }
    for (const type of [
      'application/json; charset=UTF-8',
      'Application/JSON',
      'application/json;charset="utf-8"',
    ])
      assert.equal((await send(JSON.stringify(reading), { 'Content-Type': type })).status, 202, type);
    const device = { name: 'Two', type: 'test' };
    const lines = await call('POST', '/api/v1/devices', { json: device, headers: ndjson });
    assert.equal(lines.status, 415);
  });

  it('may come as gzip, bounded once inflated', async () => {
    const gzip = { 'Content-Encoding': 'gzip' };
    const packed = (text: string) => Uint8Array.from(gzipSync(text));
    assert.equal((await send(packed(JSON.stringify([reading, reading])), gzip)).json.accepted, 2);
    const bomb = await send(packed(' '.repeat(50_000_000)), gzip);
    assert.deepEqual([bomb.status, bomb.json.limit], [413, 200_000]);
    const broken = await send(JSON.stringify(reading), gzip);
    assert.deepEqual([broken.status, typeOf(broken)], [400, 'malformed-encoding']);
    const other = await send(JSON.stringify(reading), { 'Content-Encoding': 'br' });
    assert.deepEqual([other.status, other.headers.get('Accept-Encoding')], [415, 'gzip']);
  });

  it('are refused when they are too large, with the limit', async () => {
    const much = JSON.stringify({ deviceId: 'd-1', metrics: { a: 'x'.repeat(250_000) } });
    const answer = await send(much);
    assert.deepEqual([answer.status, typeOf(answer), answer.json.limit], [413, 'body-too-large', 200_000]);
    assert.equal((await send(JSON.stringify(reading))).status, 202);
  });

  it('are not read for ever when they are far too large', async () => {
    const { port } = new URL(server.url);
    const headers = { 'Content-Type': 'application/json' };
    const endless = request({ port, method: 'POST', path: '/api/v1/telemetry', headers });
    const write = () => {
      while (!endless.destroyed && endless.write('x'.repeat(16_384)));
    };
    endless.on('drain', write);
    const status = await new Promise((resolve) => {
      endless.on('response', (response) => resolve(response.statusCode));
      // The server stops reading: the connection may break before its answer is seen.
      endless.on('error', () => resolve('cut off'));
      write();
    });
    assert.ok(status === 413 || status === 'cut off', String(status));
    endless.destroy();
  });

  it('are refused when they hold too many items, with the limit', async () => {
    const many = Array.from({ length: 51 }, () => reading);
    const array = await send(JSON.stringify(many));
    assert.deepEqual([array.status, typeOf(array), array.json.limit], [413, 'too-many-items', 50]);
    const lines = await send(many.map((one) => JSON.stringify(one)).join('\n'), ndjson);
    assert.deepEqual([lines.status, typeOf(lines)], [413, 'too-many-items']);
    const devices = Array.from({ length: 11 }, (_, i) => ({ name: `${i}`, type: 'test' }));
    assert.equal((await call('POST', '/api/v1/devices/bulk', { json: devices })).status, 413);
  });

  it('are refused before the rest of them is inflated, when they hold too much', async () => {
    const gzip = { 'Content-Encoding': 'gzip' };
    const keys = (count: number) => Array.from({ length: count }, (_, i) => `"k${i}":1`).join(',');
    const one = '{"deviceId":"d-1","metrics":{"temp":20.5}}';
    // What follows is no JSON, and would be refused as that if it were parsed.
    const tail = `${' '.repeat(70_000)}!`;
    for (const [much, status, type] of [
      [`[${'{},'.repeat(30_000)}{}${tail}`, 413, 'too-many-items'],
      [`[${one},{${keys(9_000)}}]${tail}`, 413, 'body-too-large'],
      [`{"deviceId":"d-1","metrics":{${keys(9_000)}}}${tail}`, 413, 'body-too-large'],
      [`[${one},${'['.repeat(70)}${tail}`, 400, 'malformed-json'],
    ] as const)
      for (const headers of [{}, gzip]) {
        const answer = await send(
          'Content-Encoding' in headers ? Uint8Array.from(gzipSync(much)) : much,
          headers,
        );
        assert.deepEqual([answer.status, typeOf(answer)], [status, type], much.slice(0, 60));
      }
    const lines = await send(`${'{}\n'.repeat(60)}${tail}`, ndjson);
    assert.deepEqual([lines.status, typeOf(lines)], [413, 'too-many-items']);
    const device = await call('POST', '/api/v1/devices', { body: `[${'{},'.repeat(30_000)}{}]` });
    assert.deepEqual([device.status, typeOf(device)], [413, 'body-too-large']);
  });

  it('are read the same in parts as at once, wherever they are cut', async () => {
    const texts = ['[{"é":"],[{\\"x"}', '"\\\\"', '[1,[2,{"a":[]}],3]', '{}', 'null', '1.5'];
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(...texts.map((text) => JSON.stringify(text)), '[1,[2]]', '{}'), {
          minLength: 1,
          maxLength: 50,
        }),
        fc.nat(3),
        async (items, spoilt) => {
          const padding = ' '.repeat(30_000);
          const text = `[${items.map((item) => `${padding}${item}`).join(',')}]`.slice(
            0,
            spoilt === 1 ? -1 : undefined,
          );
          const broken =
            spoilt === 2 ? text.replace(',', ',,') : spoilt === 3 ? `${text.slice(0, -1)},]` : text;
          const expected = parsedOr(broken);
          const req = Object.assign(Readable.from([Buffer.from(broken)]), {
            headers: { 'content-type': 'application/json' },
          });
          const read = await readItems(
            { req: req as never, res: new EventEmitter() as never },
            { bytes: 10_000_000, items: 50 },
          ).then(
            ({ items: found }) => found,
            () => 'refused',
          );
          assert.deepEqual(read, expected);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('are refused when they nest too deep, before that costs anything', async () => {
    for (const [open, close] of [
      ['[', ']'],
      ['{"a":', '}'],
    ] as const) {
      const depth = Math.floor(190_000 / (open.length + 1));
      const answer = await send(`${open.repeat(depth)}1${close.repeat(depth)}`);
      assert.equal(answer.status, 400, open);
    }
    const bomb = '['.repeat(100_000);
    const answer = await call('POST', '/api/v1/devices', { body: bomb + ']'.repeat(100_000) });
    assert.deepEqual([answer.status, typeOf(answer)], [400, 'malformed-json']);
  });

  it('of lines lose only the lines that are wrong', async () => {
    const before = published.length;
    const { status, json } = await send(
      [
        JSON.stringify(reading),
        '',
        '{"deviceId":',
        '{"deviceId":"d-1","metrics":{}}',
        JSON.stringify(reading),
        '',
      ].join('\r\n'),
      ndjson,
    );
    assert.deepEqual([status, json.accepted, json.rejected], [202, 2, 2]);
    assert.deepEqual(
      json.errors.map(({ index, type, path }: { index: number; type: string; path: string }) => [
        index,
        type.split('/').at(-1),
        path,
      ]),
      [
        [1, 'malformed-json', '/1'],
        [2, 'invalid-request', '/2/metrics'],
      ],
    );
    assert.equal(published[before]?.events.length, 2);
  });
});
