import { isDeviceId } from '../../domain/telemetry/reading.ts';

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === 'string';
const checks = {
  deviceId: isDeviceId,
  name: isText,
  type: isText,
  labels: isLabels,
  reason: isText,
  tokenHash: (value: unknown) => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value),
} satisfies Record<string, Check>;

type Field = keyof typeof checks;

/**
 * Tells a device event's data that is nothing but these fields, each as it should be: its schema, which makes a copy
 * and takes several times as long, would answer with the same. Of all other data the schema decides.
 */
export function plainData(required: readonly Field[], optional: readonly Field[] = []): Check {
  return (data) => {
    if (!isObject(data)) return false;
    for (const field of required) if (!checks[field](data[field])) return false;
    let known = required.length;
    for (const field of optional) {
      if (data[field] === undefined) continue;
      if (!checks[field](data[field])) return false;
      known += 1;
    }
    return Object.keys(data).length === known;
  };
}

function isLabels(value: unknown): boolean {
  if (!isObject(value)) return false;
  for (const label of Object.keys(value))
    if (label === '__proto__' || typeof value[label] !== 'string') return false;
  return true;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
