import { ProtobufReader, protobufBytes, protobufVarint } from './protobuf.ts';
import { OversizedPayload } from './reading-set.ts';

const mostInList = 100_000;

type Part = Record<string, unknown>;

/** How the fields of a message are read, by number. A list stands for a field that may come again and again. */
type MessageForm = Readonly<
  Record<number, readonly [name: string, read: (reader: ProtobufReader) => unknown, isList?: true]>
>;

function read(form: MessageForm, reader: ProtobufReader): Part {
  const part: Part = {};
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    const known = form[field];
    if (!known) reader.skip();
    else {
      const [name, value, isList] = known;
      if (!isList) part[name] = value(reader);
      else {
        const list = (part[name] ?? []) as unknown[];
        if (list.length === mostInList) throw new OversizedPayload(mostInList, 'elements of a list');
        list.push(value(reader));
        part[name] = list;
      }
    }
  }
  return part;
}

const message = (form: MessageForm) => (reader: ProtobufReader) => read(form, reader.message());
const text = (reader: ProtobufReader) => reader.text();
const double = (reader: ProtobufReader) => reader.double();
const integer = (reader: ProtobufReader) => reader.int64();
const fixed = (reader: ProtobufReader) => reader.fixed64();
const signed = (reader: ProtobufReader) => BigInt.asIntN(64, reader.fixed64());
const flags = (reader: ProtobufReader) => Number(reader.int64());
const truth = (reader: ProtobufReader) => reader.int64() !== 0n;
const base64 = (reader: ProtobufReader) => reader.bytes().toString('base64');

/** Lists and maps as attributes are compared by their bytes and not decoded. */
const anyValue = message({
  1: ['stringValue', text],
  2: ['boolValue', truth],
  3: ['intValue', integer],
  4: ['doubleValue', double],
  5: ['arrayValue', base64],
  6: ['kvlistValue', base64],
  7: ['bytesValue', base64],
});
const keyValue = message({ 1: ['key', text], 2: ['value', anyValue] });

const numberPoint = message({
  3: ['timeUnixNano', fixed],
  4: ['asDouble', double],
  6: ['asInt', signed],
  7: ['attributes', keyValue, true],
  8: ['flags', flags],
});
const histogramPoint = message({
  3: ['timeUnixNano', fixed],
  4: ['count', fixed],
  5: ['sum', double],
  9: ['attributes', keyValue, true],
  10: ['flags', flags],
  11: ['min', double],
  12: ['max', double],
});
const empty = message({});
const points = (point: (reader: ProtobufReader) => Part) => message({ 1: ['dataPoints', point, true] });

const metric = message({
  1: ['name', text],
  5: ['gauge', points(numberPoint)],
  7: ['sum', points(numberPoint)],
  9: ['histogram', points(histogramPoint)],
  10: ['exponentialHistogram', points(empty)],
  11: ['summary', points(empty)],
});
const scopeMetrics = message({ 2: ['metrics', metric, true] });
const resource = message({ 1: ['attributes', keyValue, true] });
const resourceMetrics = message({ 1: ['resource', resource], 2: ['scopeMetrics', scopeMetrics, true] });
const request: MessageForm = { 1: ['resourceMetrics', resourceMetrics, true] };

/** An `ExportMetricsServiceRequest` of protobuf with the names that JSON has. Throws `MalformedPayload`. */
export const otlpRequestOf = (bytes: Uint8Array): unknown => read(request, new ProtobufReader(bytes));

/** An `ExportMetricsServiceResponse`; empty where nothing was rejected. */
export function otlpResponse(rejected: number, errorMessage: string): Buffer {
  if (rejected === 0) return Buffer.alloc(0);
  const partial = [protobufVarint(1, BigInt(rejected)), protobufBytes(2, Buffer.from(errorMessage))];
  return protobufBytes(1, Buffer.concat(partial));
}

/** A `google.rpc.Status`. */
export const rpcStatus = (code: number, detail: string): Buffer =>
  Buffer.concat([protobufVarint(1, BigInt(code)), protobufBytes(2, Buffer.from(detail))]);
