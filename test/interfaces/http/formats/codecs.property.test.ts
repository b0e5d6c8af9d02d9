import assert from 'node:assert/strict';
import { Point } from '@influxdata/influxdb-client';
import { encode } from 'cborg';
import fc from 'fast-check';
import snappy from 'snappyjs';
import { decodeLines } from '../../../../interfaces/http/formats/line-protocol.ts';
import { decodeOtlpJson, decodeOtlpProtobuf } from '../../../../interfaces/http/formats/otlp-metrics.ts';
import { decodeCbor, decodeJson } from '../../../../interfaces/http/formats/own-shape.ts';
import { decodePayload, payloadTypes } from '../../../../interfaces/http/formats/payload.ts';
import {
  type Decoded,
  MalformedPayload,
  OversizedPayload,
} from '../../../../interfaces/http/formats/reading-set.ts';
import { decodeRemoteWrite } from '../../../../interfaces/http/formats/remote-write.ts';
import { decodeSenmlCbor, decodeSenmlJson } from '../../../../interfaces/http/formats/senml.ts';
import { inflateSnappy } from '../../../../interfaces/http/formats/snappy.ts';
import {
  decodeThingsBoard,
  decodeThingsBoardGateway,
} from '../../../../interfaces/http/formats/thingsboard.ts';
import { messageBytes } from '../../../support/metric-messages.ts';

const now = 1_790_000_000_000;
const context = { limits: { readings: 5000, samples: 50_000 }, now };
const ofDevice = { ...context, device: 'd-1' };

type Expected = Map<string, unknown>;
const keyOf = (device: string, timestamp: number | undefined, metric: string) =>
  `${device} ${timestamp} ${metric}`;

/** The last value of each metric at each time, as the read models have it. */
function pointsOf({ readings }: Decoded): Expected {
  const points: Expected = new Map();
  for (const { deviceId, timestamp, metrics } of readings)
    for (const [metric, value] of Object.entries(metrics))
      points.set(keyOf(deviceId, timestamp, metric), value);
  return points;
}

const device = fc.stringMatching(/^[a-z][a-z0-9._-]{0,10}$/);
const metric = fc.stringMatching(/^[a-z][a-z0-9_]{0,10}$/);
const number = fc.double({ noNaN: true, min: -1e300, max: 1e300 }).map((value) => (value === 0 ? 0 : value));
const text = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
  .filter((one) => !one.includes('\\'));
const value = fc.oneof(number, fc.boolean(), text);
const time = fc.integer({ min: 300_000_000_000, max: 4_000_000_000_000 });
const sample = fc.record({ device, metric, time, value });
const samples = fc.array(sample, { minLength: 1, maxLength: 40 });
const numbers = fc.array(fc.record({ device, metric, time, value: number }), { minLength: 1, maxLength: 40 });

function expected(
  all: readonly { device: string; metric: string; time: number; value: unknown }[],
): Expected {
  return new Map(all.map(({ device, metric, time, value }) => [keyOf(device, time, metric), value]));
}

function same(decoded: Decoded, points: Expected): void {
  assert.deepEqual(decoded.rejections, []);
  assert.deepEqual(pointsOf(decoded), points);
}

describe('What the reference library of a form encodes is decoded to the same', () => {
  it('line protocol of InfluxDB', () => {
    fc.assert(
      fc.property(samples, (all) => {
        const lines = all.map(({ device, metric, time, value }) => {
          const point = new Point('m x,y=').tag('host', device).timestamp(`${time}000000`);
          if (typeof value === 'number') point.floatField(metric, value);
          else if (typeof value === 'boolean') point.booleanField(metric, value);
          else point.stringField(metric, value);
          return point.toLineProtocol();
        });
        const renamed = all.map((one) => ({ ...one, metric: `m_x_y_.${one.metric}` }));
        same(decodeLines(Buffer.from(lines.join('\n')), context, { precision: 'ns' }), expected(renamed));
      }),
    );
  });

  it('CBOR, and JSON, of readings', () => {
    fc.assert(
      fc.property(samples, (all) => {
        const readings = all.map(({ device, metric, time, value }) => ({
          deviceId: device,
          timestamp: time,
          metrics: { [metric]: value },
        }));
        same(decodeCbor(encode(readings), context), expected(all));
        same(decodeJson(Buffer.from(JSON.stringify(readings)), context), expected(all));
      }),
    );
  });

  it('SenML as JSON and as CBOR, with base values', () => {
    fc.assert(
      fc.property(numbers, fc.integer({ min: -1000, max: 1000 }), (all, base) => {
        const seconds = 1_700_000_000;
        const whole = all.map((one) => ({ ...one, value: Math.trunc(one.value % 1e6) + 0 }));
        const records = whole.map(({ device, metric, time, value }) => ({
          bn: `${device}/`,
          bt: seconds,
          bv: base,
          n: metric,
          t: Math.trunc(time / 1000) - seconds,
          v: value - base,
        }));
        const points = expected(whole.map((one) => ({ ...one, time: Math.trunc(one.time / 1000) * 1000 })));
        same(decodeSenmlJson(Buffer.from(JSON.stringify(records)), context), points);
        const labelled = records.map(
          ({ bn, bt, bv, n, t, v }) =>
            new Map<number, unknown>([
              [-2, bn],
              [-3, bt],
              [-5, bv],
              [0, n],
              [6, t],
              [2, v],
            ]),
        );
        same(decodeSenmlCbor(encode(labelled), context), points);
      }),
    );
  });

  it('OTLP as protobuf and as JSON', () => {
    fc.assert(
      fc.property(numbers, (all) => {
        const resourceMetrics = all.map(({ device, metric, time, value }) => ({
          resource: { attributes: [{ key: 'device.id', value: { stringValue: device } }] },
          scopeMetrics: [
            {
              scope: { name: 's' },
              metrics: [
                { name: metric, gauge: { dataPoints: [{ timeUnixNano: `${time}000000`, asDouble: value }] } },
              ],
            },
          ],
        }));
        const request = { resourceMetrics };
        same(
          decodeOtlpProtobuf(messageBytes('ExportMetricsServiceRequest', request), context),
          expected(all),
        );
        same(decodeOtlpJson(Buffer.from(JSON.stringify(request)), context), expected(all));
      }),
    );
  });

  it('remote write of Prometheus', () => {
    fc.assert(
      fc.property(numbers, (all) => {
        const timeseries = all.map(({ device, metric, time, value }) => ({
          labels: [
            { name: '__name__', value: metric },
            { name: 'instance', value: device },
          ],
          samples: [{ value, timestamp: time }],
        }));
        const block = snappy.compress(messageBytes('WriteRequest', { timeseries }));
        same(decodeRemoteWrite(block, context, 1e6), expected(all));
      }),
    );
  });

  it('snappy', () => {
    const bytes = fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 200 }).map((parts) =>
      // Repeats, so that there is something to copy.
      Buffer.concat(parts.flatMap((part) => [part, ...parts.slice(0, 2)])),
    );
    fc.assert(
      fc.property(bytes, (plain) => {
        assert.deepEqual(inflateSnappy(snappy.compress(new Uint8Array(plain)), 1e7), plain);
      }),
    );
  });
});

const decoders: Readonly<Record<string, (bytes: Uint8Array) => Decoded>> = {
  ...Object.fromEntries(
    payloadTypes.map((type) => [type, (bytes: Uint8Array) => decodePayload(type, bytes, ofDevice)]),
  ),
  thingsBoard: (bytes) => decodeThingsBoard(bytes, ofDevice),
  gateway: (bytes) => decodeThingsBoardGateway(bytes, context),
  otlpProtobuf: (bytes) => decodeOtlpProtobuf(bytes, context),
  otlpJson: (bytes) => decodeOtlpJson(bytes, context),
  remoteWrite: (bytes) => decodeRemoteWrite(bytes, context, 1e6),
  remoteWriteInflated: (bytes) => decodeRemoteWrite(snappy.compress(bytes), context, 1e6),
};

/** Something of each form, for mutations to begin with. */
const seeds: readonly Uint8Array[] = [
  Buffer.from('cpu,host=a,cpu=cpu0 usage="a \\" b",x=1i,t=T 1700000000000000000\n# c\n\nm f=1'),
  Buffer.from('[{"bn":"d/","bt":1.7e9,"n":"t","u":"Cel","v":1},{"n":"x","vs":"s"}]'),
  Buffer.from('{"specversion":"1.0","id":"1","source":"d","type":"t","data":{"a":1}}'),
  Buffer.from(
    '{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"a","sum":{"dataPoints":[{"asInt":"1","timeUnixNano":"1700000000000000000"}]}}]}]}]}',
  ),
  encode([{ deviceId: 'a', timestamp: now, metrics: { a: 1.5, b: 'text', c: true } }]),
  messageBytes('ExportMetricsServiceRequest', {
    resourceMetrics: [
      {
        scopeMetrics: [
          { metrics: [{ name: 'a', gauge: { dataPoints: [{ timeUnixNano: '1', asInt: '-3' }] } }] },
        ],
      },
    ],
  }),
  messageBytes('WriteRequest', {
    timeseries: [{ labels: [{ name: 'a', value: 'b' }], samples: [{ value: 1, timestamp: -1 }] }],
  }),
  snappy.compress(Buffer.from('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbaaaaaaaaaaaaaaaa')),
];

const mutated = fc
  .record({
    seed: fc.constantFrom(...seeds),
    cut: fc.nat(200),
    changes: fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 6 }),
    more: fc.uint8Array({ maxLength: 8 }),
  })
  .map(({ seed, cut, changes, more }) => {
    const bytes = Buffer.concat([seed.subarray(0, Math.max(1, seed.length - (cut % 60))), more]);
    for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
    return new Uint8Array(bytes);
  });

describe('Any bytes', () => {
  for (const [name, decode] of Object.entries(decoders))
    it(`are readings and rejections, or end in the codec's own error: ${name}`, () => {
      fc.assert(
        fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), mutated), (bytes) => {
          try {
            const { readings, rejections } = decode(bytes);
            assert.ok(readings.every(({ metrics }) => Object.keys(metrics).length > 0));
            assert.ok(rejections.every(({ detail }) => detail !== ''));
          } catch (error) {
            assert.ok(error instanceof MalformedPayload || error instanceof OversizedPayload, String(error));
          }
        }),
        { numRuns: 300 },
      );
    });

  const million = 1_000_000;
  const bombs: Readonly<Record<string, Uint8Array>> = {
    'nested JSON': Buffer.from('['.repeat(million)),
    'many JSON values': Buffer.from(`[${'0,'.repeat(million)}0]`),
    'nested CBOR arrays': new Uint8Array(million).fill(0x81),
    'nested CBOR tags': new Uint8Array(million).fill(0xc1),
    'an endless CBOR array': Uint8Array.of(0x9b, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 1),
    'a CBOR text that is longer than all': Uint8Array.of(0x7b, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff),
    'many CBOR values': new Uint8Array(million).fill(0x80).with(0, 0x9f),
    'snappy of a gigabyte': Uint8Array.of(0x80, 0x94, 0xeb, 0xdc, 0x03, 0, 0),
    'snappy that repeats': Buffer.concat([
      Uint8Array.of(0xff, 0xff, 0xff, 7, 0, 1),
      Buffer.alloc(million, Uint8Array.of(0xfe, 1, 0)),
    ]),
    'lines of open quotation marks': Buffer.from('a b="\n'.repeat(4000)),
    'lines without an end': Buffer.from('a,'.repeat(million)),
    'many lines': Buffer.from('a b=1\n'.repeat(100_000)),
    'protobuf in protobuf': Buffer.alloc(million, Uint8Array.of(0x0a, 0x00)),
  };
  for (const [name, bomb] of Object.entries(bombs))
    it(`that are a bomb end soon: ${name}`, () => {
      for (const [decoder, decode] of Object.entries(decoders)) {
        if (decoder === 'remoteWriteInflated') continue;
        const began = performance.now();
        try {
          decode(bomb);
        } catch (error) {
          assert.ok(
            error instanceof MalformedPayload || error instanceof OversizedPayload,
            `${decoder}: ${error}`,
          );
        }
        // A quadratic decoder takes minutes for these.
        assert.ok(performance.now() - began < 5000, `${decoder} took ${performance.now() - began} ms`);
      }
    }).timeout(60_000);
});
