import { isMembers, jsonOf } from './json-payload.ts';
import {
  type DecodeContext,
  type Decoded,
  MalformedPayload,
  ReadingSet,
  type SampleTime,
  valuesByName,
} from './reading-set.ts';

/**
 * What ThingsBoard takes from a device: values by name, `{"ts":ms,"values":{…}}`, or an array of either. The device is
 * that of the context. Throws `MalformedPayload` or `OversizedPayload`.
 */
export function decodeThingsBoard(bytes: Uint8Array, context: DecodeContext): Decoded {
  return thingsBoardReadings(jsonOf(bytes), context);
}

/** The same of what JSON or CBOR was parsed to. */
export function thingsBoardReadings(value: unknown, context: DecodeContext): Decoded {
  const set = new ReadingSet(context.limits);
  const items = Array.isArray(value) ? value : [value];
  for (const [index, item] of items.entries())
    addItem(set, item, { index, path: Array.isArray(value) ? `/${index}` : '', device: context.device });
  return set.decoded();
}

/** What a gateway sends: `{"Device A":[{"ts":ms,"values":{…}}]}`, each device by its id. */
export function decodeThingsBoardGateway(bytes: Uint8Array, context: DecodeContext): Decoded {
  const value = jsonOf(bytes);
  if (!isMembers(value))
    throw new MalformedPayload(
      'It must be an object of arrays by device, {"device":[{"ts":…,"values":{…}}]}',
    );
  const set = new ReadingSet(context.limits);
  let index = 0;
  for (const [device, items] of Object.entries(value))
    for (const [i, item] of (Array.isArray(items) ? items : [items]).entries()) {
      addItem(set, item, { index, path: `/${device}/${i}`, device });
      index += 1;
    }
  return set.decoded();
}

type ItemAt = { readonly index: number; readonly path: string; readonly device: string | undefined };

function addItem(set: ReadingSet, item: unknown, at: ItemAt): void {
  if (!isMembers(item)) return void set.reject(at.index, at.path, 'must be an object of values by name');
  const isTimed = 'ts' in item && isMembers(item.values);
  const values = isTimed ? (item.values as Readonly<Record<string, unknown>>) : item;
  const path = isTimed ? `${at.path}/values` : at.path;
  const time = isTimed ? timeOf(item.ts) : undefined;
  if (time === 'malformed')
    return void set.reject(at.index, `${at.path}/ts`, 'must be whole epoch milliseconds');
  let isEmpty = true;
  for (const [name, value] of valuesByName(values)) {
    isEmpty = false;
    set.add({ index: at.index, path: `${path}/${name}`, device: at.device, time }, name, value);
  }
  if (isEmpty) set.reject(at.index, path, 'must have a value that is not null');
}

function timeOf(ts: unknown): SampleTime | undefined | 'malformed' {
  if (ts === null || ts === undefined) return undefined;
  return Number.isInteger(ts) ? { milliseconds: ts as number, rest: '' } : 'malformed';
}
