import { isMembers, jsonOf } from './json-payload.ts';
import { otlpRequestOf } from './otlp-protobuf.ts';
import {
  type DecodeContext,
  type Decoded,
  MalformedPayload,
  metricNameOf,
  ReadingSet,
  type SampleTime,
  timeOfDigits,
} from './reading-set.ts';

type Part = Readonly<Record<string, unknown>>;

/** `ExportMetricsServiceRequest` as JSON. Throws `MalformedPayload` or `OversizedPayload`. */
export const decodeOtlpJson = (bytes: Uint8Array, context: DecodeContext): Decoded =>
  otlpReadings(jsonOf(bytes), context);

/** `ExportMetricsServiceRequest` as protobuf. */
export const decodeOtlpProtobuf = (bytes: Uint8Array, context: DecodeContext): Decoded =>
  otlpReadings(otlpRequestOf(bytes), context);

/**
 * Gauges and sums under their name, histograms as `.count`, `.sum`, `.min` and `.max`; behind it the values of the
 * point's attributes in order of their names. The device is the resource's `device.id`, else its
 * `service.instance.id`, else its `host.name`.
 */
function otlpReadings(request: unknown, context: DecodeContext): Decoded {
  if (!isMembers(request)) throw new MalformedPayload('It must be an ExportMetricsServiceRequest');
  const set = new ReadingSet(context.limits);
  let index = 0;
  for (const resource of partsOf(request.resourceMetrics)) {
    const device = deviceOf(resource, context);
    for (const scope of partsOf(resource.scopeMetrics))
      for (const metric of partsOf(scope.metrics)) index = addMetric(set, metric, device, index);
  }
  return set.decoded();
}

function partsOf(value: unknown): readonly Part[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || !value.every(isMembers))
    throw new MalformedPayload('It has something else where a list of objects must be');
  return value;
}

function deviceOf({ resource }: Part, context: DecodeContext): unknown {
  const attributes = attributesOf(isMembers(resource) ? resource.attributes : undefined);
  return (
    attributes.get('device.id') ??
    context.device ??
    attributes.get('service.instance.id') ??
    attributes.get('host.name')
  );
}

function attributesOf(attributes: unknown): ReadonlyMap<string, string> {
  return new Map(
    partsOf(attributes).map(({ key, value }) => [
      typeof key === 'string' ? key : '',
      attributeText(isMembers(value) ? value : {}),
    ]),
  );
}

function attributeText({ stringValue, boolValue, intValue, doubleValue, ...others }: Part): string {
  const plain = stringValue ?? boolValue ?? intValue ?? doubleValue;
  return plain === undefined
    ? JSON.stringify(others, (_, one) => (typeof one === 'bigint' ? String(one) : one))
    : String(plain);
}

const unsupported: Readonly<Record<string, string>> = {
  exponentialHistogram: 'is an exponential histogram, of which nothing is kept: send it as a histogram',
  summary: 'is a summary, of which nothing is kept: send it as a histogram',
};

/** Returns the index of the next data point. */
function addMetric(set: ReadingSet, metric: Part, device: unknown, from: number): number {
  const name = typeof metric.name === 'string' ? metric.name : '';
  const [kind, data] = Object.entries(metric).find(
    ([, value]) => isMembers(value) && 'dataPoints' in value,
  ) ?? ['', {}];
  let index = from;
  for (const point of partsOf((data as Part).dataPoints)) {
    const refusal =
      unsupported[kind] ??
      (['gauge', 'sum', 'histogram'].includes(kind) ? undefined : 'is of no kind that is known');
    if (refusal !== undefined) set.reject(index, `/${index}`, `${name} ${refusal}`);
    else if (!isWithoutValue(point)) addPoint(set, { name, kind, point, device, index });
    index += 1;
  }
  return index;
}

/** A flag says that there was nothing to measure: a series that ended. */
const isWithoutValue = ({ flags }: Part): boolean => typeof flags === 'number' && (flags & 1) === 1;

type PointOf = {
  readonly name: string;
  readonly kind: string;
  readonly point: Part;
  readonly device: unknown;
  readonly index: number;
};

function addPoint(set: ReadingSet, { name, kind, point, device, index }: PointOf): void {
  const path = `/${index}`;
  const time = timeOf(point.timeUnixNano);
  if (time === undefined)
    return void set.reject(index, path, `${name} has no timeUnixNano that is a whole number`);
  const attributes = [...attributesOf(point.attributes)].sort(([a], [b]) => (a < b ? -1 : 1));
  const suffix = attributes.map(([, value]) => value);
  const tagged = attributes.map(([key, value]) => `${key}=${value}`).join(',');
  const add = (of: string, value: unknown) =>
    set.add({ index, path, device, time, series: `${of},${tagged}` }, metricNameOf([of, ...suffix]), value);
  if (kind !== 'histogram') return void add(name, point.asDouble ?? numberOf(point.asInt));
  add(`${name}.count`, numberOf(point.count));
  for (const part of ['sum', 'min', 'max'] as const)
    if (point[part] !== undefined && point[part] !== null) add(`${name}.${part}`, point[part]);
}

/** Integers of 64 bits are text in JSON. What no double holds stays a bigint, which no metric may be. */
function numberOf(value: unknown): unknown {
  if (typeof value !== 'string' && typeof value !== 'bigint') return value;
  if (!/^-?\d{1,20}$/.test(String(value))) return undefined;
  const exact = BigInt(value);
  return BigInt(Number(exact)) === exact ? Number(exact) : exact;
}

function timeOf(nanoseconds: unknown): SampleTime | undefined {
  const digits = String(nanoseconds ?? '');
  return /^\d{1,20}$/.test(digits) ? timeOfDigits(digits, 6) : undefined;
}
