import { ProtobufReader } from './protobuf.ts';
import {
  type DecodeContext,
  type Decoded,
  metricNameOf,
  OversizedPayload,
  ReadingSet,
} from './reading-set.ts';
import { inflateSnappy } from './snappy.ts';

/** A series has ended; not a value. */
const staleBits = 0x7ff0000000000002n;

type Sample = { bits: bigint; milliseconds: number };

/**
 * Prometheus remote write 1.0. The device is the label `device`, else `instance`; the metric is the name, and behind it
 * the values of all other labels in order of their names. Stale markers are left out. Throws `MalformedPayload` or
 * `OversizedPayload`.
 */
export function decodeRemoteWrite(block: Uint8Array, context: DecodeContext, mostBytes: number): Decoded {
  const set = new ReadingSet(context.limits);
  const request = new ProtobufReader(inflateSnappy(block, mostBytes));
  let index = 0;
  for (let field = request.next(); field !== 0; field = request.next()) {
    if (field !== 1) request.skip();
    else {
      if (index === context.limits.samples) throw new OversizedPayload(context.limits.samples, 'series');
      addSeries(set, request.message(), index, context);
      index += 1;
    }
  }
  return set.decoded();
}

function addSeries(set: ReadingSet, message: ProtobufReader, index: number, context: DecodeContext): void {
  const labels = new Map<string, string>();
  const samples: Sample[] = [];
  let histograms = 0;
  for (let field = message.next(); field !== 0; field = message.next()) {
    if (field === 1) addLabel(labels, message.message());
    else if (field === 2) samples.push(sampleOf(message.message()));
    else {
      if (field === 4) histograms += 1;
      message.skip();
    }
  }
  const named = labels.has('device') ? 'device' : 'instance';
  const names = labels.get('__name__') ?? '';
  const others = [...labels]
    .filter(([name]) => name !== '__name__' && name !== named)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const series = `${names}{${others.map(([name, value]) => `${name}=${value}`).join(',')}}`;
  const metric = metricNameOf([names, ...others.map(([, value]) => value)]);
  // With a device's credential, a scrape target is no statement of another device.
  const device = named === 'device' ? labels.get('device') : (context.device ?? labels.get('instance'));
  const path = `/${index}`;
  if (histograms > 0) set.reject(index, path, 'is a native histogram, of which nothing is kept');
  for (const { bits, milliseconds } of samples)
    if (bits !== staleBits)
      set.add({ index, path, device, time: { milliseconds, rest: '' }, series }, metric, doubleOf(bits));
}

function addLabel(labels: Map<string, string>, message: ProtobufReader): void {
  let name = '';
  let value = '';
  for (let field = message.next(); field !== 0; field = message.next()) {
    if (field === 1) name = message.text();
    else if (field === 2) value = message.text();
    else message.skip();
  }
  labels.set(name, value);
}

function sampleOf(message: ProtobufReader): Sample {
  const sample: Sample = { bits: 0n, milliseconds: 0 };
  for (let field = message.next(); field !== 0; field = message.next()) {
    if (field === 1) sample.bits = message.doubleBits();
    else if (field === 2) sample.milliseconds = Number(message.int64());
    else message.skip();
  }
  return sample;
}

function doubleOf(bits: bigint): number {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
}
