import { isTimestamp } from '../../../domain/telemetry.ts';
import { parseExactJson } from '../../exact-json.ts';
import { parseIsoTime } from '../iso-time.ts';
import { timestampFault } from '../value-faults.ts';
import { cborOf, plainOf } from './cbor-payload.ts';
import { isMembers, jsonOf, textOf } from './json-payload.ts';
import {
  type DecodeContext,
  type Decoded,
  metricNameOf,
  ReadingSet,
  type SampleTime,
} from './reading-set.ts';
import { thingsBoardReadings } from './thingsboard.ts';

/** The readings of `POST /api/v1/telemetry` as CBOR: a map or an array of maps. Throws `MalformedPayload` or `OversizedPayload`. */
export const decodeCbor = (bytes: Uint8Array, context: DecodeContext): Decoded =>
  readingsOf(plainOf(cborOf(bytes)), context);

/** The same as JSON. */
export const decodeJson = (bytes: Uint8Array, context: DecodeContext): Decoded =>
  readingsOf(jsonOf(bytes), context);

/**
 * `{deviceId, timestamp, metrics}`, or an array of them; the device may be left out where the context has one. What has
 * no `metrics` is values by name.
 */
function readingsOf(value: unknown, context: DecodeContext): Decoded {
  const items = Array.isArray(value) ? value : [value];
  if (!items.some((item) => isMembers(item) && isMembers(item.metrics)) && context.device !== undefined)
    return thingsBoardReadings(value, context);
  const set = new ReadingSet(context.limits);
  for (const [index, item] of items.entries())
    addReading(set, item, { index, path: Array.isArray(value) ? `/${index}` : '', device: context.device });
  return set.decoded();
}

/** Where a reading stands, and what its sender says of it elsewhere than in itself. */
type ReadingAt = {
  readonly index: number;
  readonly path: string;
  readonly device: unknown;
  readonly time?: SampleTime | undefined;
};

const members = new Set(['deviceId', 'timestamp', 'metrics']);

export function addReading(set: ReadingSet, item: unknown, at: ReadingAt): void {
  const { index, path } = at;
  if (!isMembers(item) || !isMembers(item.metrics))
    return void set.reject(index, path, 'must have metrics, values by name, beside deviceId and timestamp');
  const other = Object.keys(item).find((name) => !members.has(name));
  if (other !== undefined) return void set.reject(index, `${path}/${other}`, 'must not be there');
  const time = item.timestamp === undefined ? at.time : timeOf(item.timestamp);
  if (typeof time === 'string') return void set.reject(index, `${path}/timestamp`, time);
  const present = Object.entries(item.metrics).filter(([, value]) => value !== null);
  if (present.length === 0)
    return void set.reject(index, `${path}/metrics`, 'must have a value that is not null');
  for (const [name, value] of present) {
    const sample = { index, path: `${path}/metrics/${name}`, device: item.deviceId ?? at.device, time };
    set.add(sample, name, value);
  }
}

/** What is wrong with the time, as text, when it is none. */
function timeOf(given: unknown): SampleTime | string {
  const milliseconds = typeof given === 'string' ? parseIsoTime(given) : Number(given);
  const fault = timestampFault(typeof given === 'bigint' ? Number(given) : given, false);
  if (fault !== undefined || milliseconds === undefined || !isTimestamp(milliseconds))
    return fault ?? 'must be a time';
  const rest = typeof given === 'string' ? (/\.\d{3}(\d*[1-9])/.exec(given)?.[1] ?? '') : '';
  return { milliseconds, rest };
}

/**
 * A value by itself, as what publishes one topic for each quantity sends it: Home Assistant, Shelly, Homie. A number or
 * truth value as JSON writes it; all else is text, such as `on`. The device is that of the context. Throws
 * `MalformedPayload`.
 */
export function decodeValue(metric: string, bytes: Uint8Array, context: DecodeContext): Decoded {
  const text = textOf(bytes).trim();
  const set = new ReadingSet(context.limits);
  const at = { index: 0, path: '', device: context.device, time: undefined };
  if (text === '' || /^[[{"]/.test(text)) set.reject(0, '', 'must be a number, true, false or a plain text');
  else set.add(at, metricNameOf([metric]), scalarOf(text));
  return set.decoded();
}

const numberForm = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

const scalarOf = (text: string): unknown =>
  numberForm.test(text) || text === 'true' || text === 'false' ? parseExactJson(text) : text;
