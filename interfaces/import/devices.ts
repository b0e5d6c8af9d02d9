import { isDeviceId } from '../../domain/telemetry.ts';
import { InvalidCell, type Row, shown } from './cells.ts';
import type { MappingPlan } from './mapping-plan.ts';

type Fields = Row['values'];

/** The device of a row, and what the file calls it where that is no id. Throws `InvalidCell`. */
export type DeviceReader = (
  values: Fields,
  at: { column: string },
) => { readonly deviceId: string; readonly deviceName?: string };

const must =
  'must be a device id: letters, digits and . _ : - , starting with a letter or digit, at most 128';

export function deviceReader(device: MappingPlan['device']): DeviceReader {
  if ('id' in device) return () => ({ deviceId: device.id });
  const { columns, prefix, slug } = device;
  const parts = (values: Fields, at: { column: string }) =>
    columns.map((column) => {
      at.column = column;
      return textOf(values[column]);
    });
  return slug ? ofNames(parts, prefix) : ofIds(parts, prefix);
}

type Parts = (values: Fields, at: { column: string }) => readonly string[];

function ofIds(partsOf: Parts, prefix: string): DeviceReader {
  return (values, at) => {
    const parts = partsOf(values, at);
    const deviceId = prefix + parts.join(':');
    if (isDeviceId(deviceId)) return { deviceId };
    throw new InvalidCell(parts.join(':'), `${must}; --device-slug makes ids of names`);
  };
}

/** Two names that make the same id are refused. */
function ofNames(partsOf: Parts, prefix: string): DeviceReader {
  const names = new Map<string, string>();
  return (values, at) => {
    const parts = partsOf(values, at);
    const deviceId = prefix + parts.map(slugOf).join(':');
    const deviceName = parts.join(' ');
    if (!isDeviceId(deviceId)) throw new InvalidCell(deviceName, 'has nothing to make a device id of');
    const other = names.get(deviceId) ?? deviceName;
    if (other !== deviceName)
      throw new InvalidCell(deviceName, `would be the device ${deviceId}, as ${shown(other)} is`);
    names.set(deviceId, deviceName);
    return deviceName === deviceId ? { deviceId } : { deviceId, deviceName };
  };
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value.trim();
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  throw new InvalidCell(value, must);
}

/** Letters without their accents, and `_` for whatever an id cannot have. */
const slugOf = (text: string): string =>
  text
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .replace(/[^A-Za-z0-9._:-]+/g, '_')
    .replace(/^[^A-Za-z0-9]+|_+$/g, '');
