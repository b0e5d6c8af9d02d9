import { parseIsoTime } from '../iso-time.ts';
import { isMembers, jsonOf } from './json-payload.ts';
import { addReading } from './own-shape.ts';
import { type DecodeContext, type Decoded, MalformedPayload, ReadingSet } from './reading-set.ts';

/** An event as CloudEvents 1.0 has it, its data parsed. */
type CloudEvent = Readonly<Record<string, unknown>>;

/** One event, or an array of them, as `application/cloudevents+json` and `-batch+json`. Throws `MalformedPayload` or `OversizedPayload`. */
export function decodeCloudEvents(bytes: Uint8Array, context: DecodeContext): Decoded {
  const value = jsonOf(bytes);
  return cloudEventReadings(Array.isArray(value) ? value : [value], context);
}

/** One event whose attributes are headers, `ce-id` and so on, and whose data are the body. */
export function decodeBinaryCloudEvent(
  bytes: Uint8Array,
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
  context: DecodeContext,
): Decoded {
  const attributes = Object.entries(headers)
    .filter(([name]) => name.startsWith('ce-'))
    .map(([name, value]) => [name.slice(3), typeof value === 'string' ? decodedAttribute(value) : value]);
  return cloudEventReadings([{ ...Object.fromEntries(attributes), data: jsonOf(bytes) }], context);
}

function decodedAttribute(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * The data are a reading, or the metrics alone. The device is that of the data, else of the context, else the
 * `subject`, else the `source`; the time that of the data, else `time`.
 */
function cloudEventReadings(events: readonly unknown[], context: DecodeContext): Decoded {
  const set = new ReadingSet(context.limits);
  for (const [index, event] of events.entries()) {
    const path = `/${index}`;
    if (!isMembers(event)) set.reject(index, path, 'must be an event');
    else addEvent(set, event, index, context);
  }
  return set.decoded();
}

function addEvent(set: ReadingSet, event: CloudEvent, index: number, context: DecodeContext): void {
  const path = `/${index}`;
  const { specversion, id, source, type, subject, time } = event;
  if (specversion !== '1.0') return void set.reject(index, `${path}/specversion`, 'must be 1.0');
  for (const [name, value] of Object.entries({ id, source, type }))
    if (typeof value !== 'string' || value === '')
      return void set.reject(index, `${path}/${name}`, 'must be text that is not empty');
  const milliseconds = time === undefined ? undefined : typeof time === 'string' ? parseIsoTime(time) : NaN;
  if (time !== undefined && !Number.isInteger(milliseconds))
    return void set.reject(index, `${path}/time`, 'must be a time such as 2026-03-29T01:00:00Z');
  const data = dataOf(event);
  const reading = isMembers(data) && !isMembers(data.metrics) ? { metrics: data } : data;
  addReading(set, reading, {
    index,
    path: `${path}/data`,
    device: context.device ?? subject ?? source,
    time: milliseconds === undefined ? undefined : { milliseconds, rest: '' },
  });
}

function dataOf({ data, data_base64: encoded }: CloudEvent): unknown {
  if (data !== undefined || typeof encoded !== 'string') return data;
  try {
    return jsonOf(Buffer.from(encoded, 'base64'));
  } catch (error) {
    if (error instanceof MalformedPayload) return undefined;
    throw error;
  }
}
