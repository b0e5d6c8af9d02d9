import type { z } from 'zod';
import { isDeviceId } from '../../domain/telemetry.ts';

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
 * Tells a device event's data that is nothing but the fields of its schema, each as it should be: the schema, which
 * makes a copy and takes several times as long, would answer with the same. Of all other data the schema decides.
 */
export function plainData({ shape }: z.ZodObject<{ readonly [Name in Field]?: z.ZodType }>): Check {
  const fields = (Object.keys(shape) as Field[]).map((name) => ({
    name,
    check: checks[name],
    isOptional: shape[name]?.isOptional() === true,
  }));
  return (data) => {
    if (!isObject(data)) return false;
    let known = 0;
    for (const { name, check, isOptional } of fields) {
      const value = data[name];
      if (value === undefined && isOptional) continue;
      if (!check(value)) return false;
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
