import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { encode } from 'cborg';
import snappy from 'snappyjs';
import { eventually } from '../../support/eventually.ts';
import { type FormServer, formServer } from '../../support/form-server.ts';
import { type Call, problemOf, type Reply } from '../../support/http-client.ts';
import { messageBytes, messageOf } from '../../support/metric-messages.ts';
import { traceCollector } from '../../support/trace-collector.ts';

const at = 1_790_000_000_000;
const iso = new Date(at).toISOString();
const basic = (user: string, password: string) =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

describe('Readings in the forms of other systems', function () {
  this.timeout(60_000);
  let server: FormServer;
  let collector: Awaited<ReturnType<typeof traceCollector>>;
  let count = 0;
  before(async () => {
    collector = await traceCollector();
    server = await formServer({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, MAX_BODY_BYTES: '200000' });
  });
  after(async () => {
    await server?.close();
    await collector?.close();
  });

  async function device(): Promise<{ id: string; token: string }> {
    count += 1;
    const id = `device-${count}`;
    return { id, token: await server.register(id) };
  }

  const send = (
    path: string,
    type: string,
    body: string | Uint8Array,
    authorization?: string,
    more: Call['headers'] = {},
  ) =>
    server.call('POST', path, {
      body: typeof body === 'string' ? body : new Uint8Array(body),
      headers: {
        'Content-Type': type,
        ...(authorization !== undefined && { Authorization: authorization }),
        ...more,
      },
    });
  const counts = ({ headers }: Reply) => [headers.get('Fieldlog-Accepted'), headers.get('Fieldlog-Rejected')];
  const namesOf = (points: readonly (readonly [string, unknown, string])[]) =>
    points.map(([name]) => name).sort();

  describe('as to ThingsBoard', () => {
    it('are taken with the token in the path, nested ones by a path of names', async () => {
      const { id, token } = await device();
      const body = JSON.stringify([
        { ts: at, values: { temperature: 1.5, nested: { on: true } } },
        { text: 'now' },
      ]);
      const reply = await send(`/api/v1/${token}/telemetry`, 'application/json', body);
      assert.deepEqual([reply.status, reply.text, ...counts(reply)], [200, '', '2', '0']);
      assert.deepEqual(namesOf(await server.points(id, 3)), ['nested.on', 'temperature', 'text']);
    });

    it('are refused by what is wrong with them', async () => {
      const { token } = await device();
      const wrong = `${token.slice(0, -3)}AAA`;
      const json = 'application/json';
      assert.deepEqual(problemOf(await send(`/api/v1/${wrong}/telemetry`, json, '{"a":1}')), [
        401,
        'key-required',
      ]);
      assert.deepEqual(problemOf(await send('/api/v1/nonsense/telemetry', json, '{"a":1}')), [
        401,
        'key-required',
      ]);
      assert.deepEqual(problemOf(await send(`/api/v1/${token}/telemetry`, json, '[')), [
        400,
        'invalid-request',
      ]);
      assert.deepEqual(problemOf(await send(`/api/v1/${token}/telemetry`, json, '{"a":[]}')), [
        400,
        'invalid-request',
      ]);
    });

    it('leave no trace of the token in problems, logs, metrics and spans', async () => {
      const { token } = await device();
      const secret = token.split('.')[1] ?? '';
      const typed = 'a-token-mistyped';
      const replies = [
        await send(`/api/v1/${token}/telemetry`, 'application/json', '{"a":1}'),
        await send(`/api/v1/${token}/telemetry`, 'application/json', '['),
        await send(`/api/v1/${typed}/telemetry`, 'application/json', '{}'),
        await fetch(`${server.url}/api/v1/${token}/telemetry`).then(async (got) => ({
          text: await got.text(),
        })),
        await fetch(`${server.url}/api/v1/${token}/attributes`).then(async (got) => ({
          text: await got.text(),
        })),
        await fetch(`${server.url}/x/${token}`).then(async (got) => ({ text: await got.text() })),
        await send(`/write?db=x&p=${token}`, 'text/plain', 'nonsense'),
      ];
      const { text: metrics } = await server.call('GET', '/metrics', {
        headers: { 'X-API-Key': server.keys.admin },
      });
      // Those of one batch come in order: the last but one request's was on no route.
      await eventually(() =>
        assert.ok(collector.spans.some(({ attributes }) => attributes['url.path'] === '/x/-')),
      );
      const spans = JSON.stringify(collector.spans);
      for (const [place, text] of Object.entries({
        problems: JSON.stringify(replies),
        log: server.logged(),
        metrics,
        spans,
      })) {
        assert.ok(!text.includes(secret), `the token is in ${place}`);
        assert.ok(!text.includes(typed), `the mistyped token is in ${place}`);
      }
      assert.match(server.logged(), /Request answered/);
    });
  });

  describe('as line protocol', () => {
    const telegraf = (id: string) =>
      [
        `cpu,cpu=cpu0,host=${id} usage_idle=99.5,usage_user=0.5 ${at}000000`,
        `cpu,cpu=cpu-total,host=${id} usage_idle=98 ${at}000000`,
        `mem,host=${id} used=1024i,ok=true,note="a, \\"b\\" c" ${at}000001`,
      ].join('\n');

    it('are taken as Telegraf sends them: gzip, Token, chunked, nanoseconds', async () => {
      const { id } = await device();
      const reply = await fetch(`${server.url}/api/v2/write?bucket=b&org=o`, {
        method: 'POST',
        headers: {
          Authorization: `Token ${server.keys.writer}`,
          'Content-Type': 'text/plain; charset=utf-8',
          'Content-Encoding': 'gzip',
        },
        body: new ReadableStream({
          start(controller) {
            controller.enqueue(gzipSync(telegraf(id)));
            controller.close();
          },
        }),
        duplex: 'half',
      } as RequestInit);
      assert.deepEqual([reply.status, reply.headers.get('Fieldlog-Accepted')], [204, '1']);
      assert.deepEqual(namesOf(await server.points(id, 6)), [
        'cpu.usage_idle:cpu-total',
        'cpu.usage_idle:cpu0',
        'cpu.usage_user:cpu0',
        'mem.note',
        'mem.ok',
        'mem.used',
      ]);
    });

    it('are taken as version 1 writes them, after CREATE DATABASE, with Basic or p', async () => {
      const { id, token } = await device();
      const form = 'application/x-www-form-urlencoded';
      const create = await send('/query', form, 'q=CREATE+DATABASE+%22x%22', basic('u', server.keys.writer));
      assert.deepEqual([create.status, create.json], [200, { results: [{ statement_id: 0 }] }]);
      const select = await send('/query?q=SELECT+1', form, '', basic('u', server.keys.writer));
      assert.equal(select.status, 400);
      const line = (name: string) => `${name},host=${id} f=1 ${at / 1000}`;
      assert.equal(
        (await send('/write?db=x&precision=s', 'text/plain', line('a'), basic('u', server.keys.writer)))
          .status,
        204,
      );
      assert.equal((await send(`/write?db=x&precision=s&u=x&p=${token}`, 'text/plain', 'b f=2')).status, 204);
      assert.deepEqual(namesOf(await server.points(id, 2)), ['a.f', 'b.f']);
      assert.equal((await fetch(`${server.url}/ping`)).status, 204);
      assert.equal((await server.call('GET', '/health')).json.status, 'pass');
    });

    it('are never answered 4xx when a part was taken, and 422 when nothing was', async () => {
      const { id } = await device();
      const lines = [
        `a,host=${id} f=1 ${at}000000`,
        'nonsense',
        `a,host=never f=1 ${at}000000`,
        `a,host=${id} f=9007199254740993i,g=2 ${at}000000`,
        `a,host=${id} f="open ${at}000000`,
        `a,host=${id},x=1:2 f=1 ${at}000000`,
        `a,host=${id},x=1,y=2 f=5 ${at}000000`,
        `a,host=${id} f=3 ${at}000009`,
      ];
      const auth = `Token ${server.keys.writer}`;
      const reply = await send('/api/v2/write', 'text/plain', lines.join('\n'), auth);
      assert.equal(reply.status, 204);
      assert.equal(reply.headers.get('Fieldlog-Rejected'), '5');
      assert.equal(reply.headers.get('Fieldlog-Collapsed'), '1');
      const points = await server.points(id, 3);
      assert.deepEqual(points.map(([name, value]) => [name, value]).sort(), [
        ['a.f', 3],
        ['a.f:1:2', 1],
        ['a.g', 2],
      ]);
      assert.match(server.logged(), /lines partly rejected/);
      const none = await send('/api/v2/write', 'text/plain', 'nonsense', auth);
      assert.deepEqual(problemOf(none), [422, 'lines-refused']);
      assert.deepEqual([none.json.code, typeof none.json.message], ['unprocessable entity', 'string']);
      const key = await send('/api/v2/write', 'text/plain', lines[0] ?? '', 'Token wrong');
      assert.deepEqual(problemOf(key), [401, 'key-required']);
    });

    it('of another device than the token is of are refused whole', async () => {
      const [own, other] = [await device(), await device()];
      const lines = `a f=1 ${at}000000\na,device=${other.id} f=1 ${at}000000`;
      const refused = await send('/api/v2/write', 'text/plain', lines, `Token ${own.token}`);
      assert.deepEqual(problemOf(refused), [403, 'not-this-device']);
      assert.equal(
        (await send('/api/v2/write', 'text/plain', `a,host=pc f=1 ${at}000000`, `Token ${own.token}`)).status,
        204,
      );
      assert.deepEqual(namesOf(await server.points(own.id, 1)), ['a.f']);
    });

    it('that are too many are 413, upon which Telegraf halves the batch', async () => {
      const { id } = await device();
      const lines = Array.from({ length: 5001 }, (_, i) => `a,host=${id} f=1 ${i}`).join('\n');
      const much = await send(
        '/api/v2/write?precision=ms',
        'text/plain',
        lines,
        `Token ${server.keys.writer}`,
      );
      assert.deepEqual(problemOf(much), [413, 'too-many-items']);
    });
  });

  describe('as SenML, CBOR and CloudEvents', () => {
    const telemetry = '/api/v1/telemetry';

    it('are taken in each form', async () => {
      const { id } = await device();
      const writer = `Bearer ${server.keys.writer}`;
      const pack = [
        { bn: `${id}:`, bt: at / 1000, bv: 20, n: 'temperature', u: 'Cel', v: 1.5 },
        { n: 'label', vs: 'x' },
        { n: 'humidity', t: 1, s: 3 },
      ];
      const senml = await send(telemetry, 'application/senml+json', JSON.stringify(pack), writer);
      assert.deepEqual([senml.status, senml.json.accepted, senml.json.rejected], [202, 2, 0]);
      const labelled = [
        new Map<number, unknown>([
          [-2, `${id}/`],
          [-3, at / 1000],
          [0, 'cbor-senml'],
          [4, true],
        ]),
      ];
      assert.equal((await send(telemetry, 'application/senml+cbor', encode(labelled), writer)).status, 202);
      const reading = { deviceId: id, timestamp: iso, metrics: { cbor: 7, nothing: null } };
      assert.equal((await send(telemetry, 'application/cbor', encode(reading), writer)).status, 202);
      const event = {
        specversion: '1.0',
        id: '1',
        source: 's',
        type: 't',
        subject: id,
        time: iso,
        data: { event: 1 },
      };
      assert.equal(
        (await send(telemetry, 'application/cloudevents+json', JSON.stringify(event), writer)).status,
        202,
      );
      const batch = JSON.stringify([
        { ...event, data: { batch: 2 } },
        { ...event, specversion: '0.3' },
      ]);
      const half = await send(telemetry, 'application/cloudevents-batch+json', batch, writer);
      assert.deepEqual([half.json.accepted, half.json.errors[0].path], [1, '/1/specversion']);
      const headers = {
        'ce-specversion': '1.0',
        'ce-id': '2',
        'ce-source': 's',
        'ce-type': 't',
        'ce-subject': id,
        'ce-time': iso,
      };
      assert.equal((await send(telemetry, 'application/json', '{"binary":3}', writer, headers)).status, 202);
      const points = await server.points(id, 8);
      assert.deepEqual(points.map(([name, value]) => [name, value]).sort(), [
        ['batch', 2],
        ['binary', 3],
        ['cbor', 7],
        ['cbor-senml', true],
        ['event', 1],
        ['humidity.sum', 3],
        ['label', 'x'],
        ['temperature', 21.5],
      ]);
    });

    it('are refused whole where the form says so', async () => {
      const { token } = await device();
      const refused = async (pack: unknown) =>
        problemOf(await send(telemetry, 'application/senml+json', JSON.stringify(pack), `Bearer ${token}`));
      assert.deepEqual(await refused([{ n: 'a', v: 1, must_: 2 }]), [400, 'invalid-request']);
      assert.deepEqual(await refused([{ bver: 11, n: 'a', v: 1 }]), [400, 'invalid-request']);
      assert.deepEqual(await refused({}), [400, 'invalid-request']);
      assert.deepEqual(await refused([{ n: 'other/a', v: 1 }]), [403, 'not-this-device']);
    });
  });

  describe('as to Hono', () => {
    it('are taken from a device and through a gateway', async () => {
      const { id, token } = await device();
      const own = await send('/telemetry', 'application/json', '{"own":1}', basic(`${id}@tenant`, token), {
        'qos-level': '1',
      });
      assert.equal(own.status, 202);
      const put = (device: string, body: string, more: Call['headers'] = {}) =>
        server.call('PUT', `/telemetry/tenant/${device}`, {
          body,
          headers: {
            'Content-Type': 'application/json',
            Authorization: basic('gateway@tenant', server.keys.writer),
            ...more,
          },
        });
      assert.equal((await put(id, '{"gateway":2}')).status, 202);
      assert.deepEqual(problemOf(await put('never', '{"gateway":2}')), [404, 'device-not-registered']);
      assert.deepEqual(problemOf(await put(id, '')), [400, 'invalid-request']);
      assert.deepEqual(problemOf(await put(id, '{"a":1}', { 'qos-level': '2' })), [400, 'invalid-request']);
      assert.deepEqual(namesOf(await server.points(id, 2)), ['gateway', 'own']);
    });
  });

  describe('as OTLP', () => {
    const request = (id: string) => ({
      resourceMetrics: [
        {
          resource: { attributes: [{ key: 'host.name', value: { stringValue: id } }] },
          scopeMetrics: [
            {
              metrics: [
                {
                  name: 'load',
                  gauge: {
                    dataPoints: [
                      {
                        timeUnixNano: `${at}000000`,
                        asDouble: 0.5,
                        attributes: [{ key: 'cpu', value: { intValue: '3' } }],
                      },
                    ],
                  },
                },
                { name: 'requests', sum: { dataPoints: [{ timeUnixNano: `${at}000000`, asInt: '12' }] } },
                {
                  name: 'seconds',
                  histogram: { dataPoints: [{ timeUnixNano: `${at}000000`, count: '2', sum: 3.5, min: 1 }] },
                },
                {
                  name: 'old',
                  summary: { dataPoints: [{ timeUnixNano: `${at}000000`, count: '2', sum: 3.5 }] },
                },
              ],
            },
          ],
        },
      ],
    });

    it('are taken as protobuf and as JSON, a rejected part told as such', async () => {
      const [one, two] = [await device(), await device()];
      const auth = `Bearer ${server.keys.writer}`;
      const bytes = messageBytes('ExportMetricsServiceRequest', request(one.id));
      const response = await fetch(`${server.url}/v1/metrics`, {
        method: 'POST',
        body: new Uint8Array(gzipSync(bytes)),
        headers: {
          Authorization: auth,
          'Content-Type': 'application/x-protobuf',
          'Content-Encoding': 'gzip',
        },
      });
      assert.deepEqual(
        [response.status, response.headers.get('Content-Type')],
        [200, 'application/x-protobuf'],
      );
      const told = messageOf('ExportMetricsServiceResponse', new Uint8Array(await response.arrayBuffer()));
      const { rejectedDataPoints, errorMessage } = told.partialSuccess as Record<string, string>;
      assert.equal(rejectedDataPoints, '1');
      assert.match(errorMessage ?? '', /old is a summary/);
      const json = await send('/v1/metrics', 'application/json', JSON.stringify(request(two.id)), auth);
      assert.deepEqual([json.status, json.json.partialSuccess.rejectedDataPoints], [200, '1']);
      for (const { id } of [one, two])
        assert.deepEqual(namesOf(await server.points(id, 5)), [
          'load:3',
          'requests',
          'seconds.count',
          'seconds.min',
          'seconds.sum',
        ]);
    });

    it('that are none are a Status in their form, and empty ones succeed', async () => {
      const auth = `Bearer ${server.keys.writer}`;
      const bad = await fetch(`${server.url}/v1/metrics`, {
        method: 'POST',
        body: Uint8Array.of(10, 200),
        headers: { Authorization: auth, 'Content-Type': 'application/x-protobuf' },
      });
      assert.equal(bad.status, 400);
      assert.equal(messageOf('Status', new Uint8Array(await bad.arrayBuffer())).code, 3);
      assert.deepEqual((await send('/v1/metrics', 'application/json', '{', auth)).json.code, 3);
      const empty = await send('/v1/metrics', 'application/json', '{}', auth);
      assert.deepEqual([empty.status, empty.json], [200, {}]);
    });
  });

  describe('as remote write', () => {
    const write = (timeseries: object[], more: Call['headers'] = {}, type = 'application/x-protobuf') =>
      send(
        '/api/v1/prometheus/write',
        type,
        snappy.compress(new Uint8Array(messageBytes('WriteRequest', { timeseries }))),
        `Bearer ${server.keys.writer}`,
        { 'Content-Encoding': 'snappy', 'X-Prometheus-Remote-Write-Version': '0.1.0', ...more },
      );
    const series = (id: string, name: string, value: number, labels: object[] = []) => ({
      labels: [{ name: '__name__', value: name }, { name: 'instance', value: id }, ...labels],
      samples: [{ value, timestamp: at }],
    });

    it('are taken, stale markers left out', async () => {
      const { id } = await device();
      const reply = await write([series(id, 'up', 1, [{ name: 'job', value: 'node' }])]);
      assert.deepEqual([reply.status, ...counts(reply)], [204, '1', '0']);
      assert.deepEqual(namesOf(await server.points(id, 1)), ['up:node']);
      assert.equal((await write([series(id, 'gone', Number.NaN)])).status, 400);
      const message = messageBytes('WriteRequest', { timeseries: [series(id, 'gone', Number.NaN)] });
      const at = message.indexOf(Buffer.from('000000000000f87f', 'hex'));
      message.set(Buffer.from('020000000000f07f', 'hex'), at);
      const stale = await send(
        '/api/v1/prometheus/write',
        'application/x-protobuf',
        snappy.compress(new Uint8Array(message)),
        `Bearer ${server.keys.writer}`,
      );
      assert.deepEqual([stale.status, ...counts(stale)], [204, '0', '0']);
    });

    it('are answered 400 where one is bad, though the others are stored, and 415 in version 2', async () => {
      const { id } = await device();
      const half = await write([series(id, 'good', 1), series(id, 'bad', Number.POSITIVE_INFINITY)]);
      assert.deepEqual(problemOf(half), [400, 'samples-rejected']);
      assert.deepEqual(counts(half), ['1', '1']);
      assert.deepEqual(namesOf(await server.points(id, 1)), ['good']);
      const two = await write([], {}, 'application/x-protobuf;proto=io.prometheus.write.v2.Request');
      assert.deepEqual(problemOf(two), [415, 'unsupported-media-type']);
    });
  });

  it('are refused to keys that may not write, in every form', async () => {
    for (const path of ['/api/v2/write', '/write', '/v1/metrics', '/api/v1/prometheus/write', '/telemetry']) {
      const reply = await send(path, 'application/x-protobuf', '', `Bearer ${server.keys.reader}`);
      assert.deepEqual(problemOf(reply), [403, 'scope-missing'], path);
    }
  });
});
