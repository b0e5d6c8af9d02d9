import { z } from 'zod';
import { type EventRegistry, MalformedEvent, UnknownEventType } from '../application/ports/event-registry.ts';
import type { AlarmEvent } from '../domain/detection/alarm.ts';
import type { HookEvent } from '../domain/detection/hook.ts';
import type { RuleEvent } from '../domain/detection/rule.ts';
import type { DeviceEvent } from '../domain/device.ts';
import type { LiveQueryEvent } from '../domain/live-query.ts';
import {
  isDeviceId,
  isMetricName,
  isReading,
  isTimestamp,
  type TelemetryEvent,
} from '../domain/telemetry.ts';
import { alarmSchemas, hookSchemas, ruleSchemas } from './detection-schemas.ts';

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
 * Recognizes a device event's data that is nothing but the fields of its schema, each as it should be: the schema, which
 * makes a copy and takes several times as long, would answer with the same. Of all other data the schema decides.
 */
function plainData({ shape }: z.ZodObject<{ readonly [Name in Field]?: z.ZodType }>): Check {
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

/**
 * Every event shape ever written, by type, oldest version first. To change a shape, add a version with its schema
 * and, to the one before it, an `upcast` that makes the new shape of the old; then grow nothing else. Stored
 * events are never rewritten.
 */
type Shape = {
  readonly accepts: (data: unknown) => unknown;
  readonly upcast?: (data: unknown) => unknown;
};
type Shapes = readonly [Shape, ...Shape[]];
export type EventShapes = Readonly<
  Record<(DeviceEvent | TelemetryEvent | RuleEvent | AlarmEvent | HookEvent | LiveQueryEvent)['type'], Shapes>
>;

const deviceId = z.string().refine(isDeviceId, 'is not a device id');
const labels = z.record(z.string(), z.string());
const details = { name: z.string(), type: z.string(), labels };

export const eventShapes: EventShapes = {
  DeviceRegistered: [deviceShape(z.object({ deviceId, ...details }))],
  DeviceDetailsChanged: [
    deviceShape(z.object({ deviceId, ...details }).partial({ name: true, type: true, labels: true })),
  ],
  DeviceSuspended: [deviceShape(z.object({ deviceId, reason: z.string() }))],
  DeviceReinstated: [deviceShape(z.object({ deviceId }))],
  DeviceDecommissioned: [deviceShape(z.object({ deviceId, reason: z.string() }))],
  DeviceTokenIssued: [deviceShape(z.object({ deviceId, tokenHash: z.string().regex(/^[0-9a-f]{64}$/) }))],
  DeviceErased: [deviceShape(z.object({ deviceId, type: z.string(), reason: z.string() }))],
  // Written out, since it checks every reading and a schema costs several times as much.
  TelemetryRecorded: [{ accepts: (data) => (isReading(data) ? data : malformed('is not a reading')) }],
  TelemetryRetracted: [
    shape(
      z.object({
        deviceId,
        metric: z.string().refine(isMetricName, 'is not a metric name').optional(),
        from: z.number().refine(isTimestamp, 'is not a time'),
        to: z.number().refine(isTimestamp, 'is not a time'),
        reason: z.string(),
      }),
    ),
  ],
  SilenceNoticed: [shape(alarmSchemas.silence)],
  AlarmClearRequested: [shape(alarmSchemas.clearing)],
  RuleCreated: [shape(ruleSchemas.defined)],
  RuleChanged: [shape(ruleSchemas.defined)],
  RuleEnabled: [shape(ruleSchemas.other)],
  RuleDisabled: [shape(ruleSchemas.other)],
  RuleRemoved: [shape(ruleSchemas.other)],
  AlarmRaised: [shape(alarmSchemas.raised)],
  AlarmEscalated: [shape(alarmSchemas.changed)],
  AlarmCleared: [shape(alarmSchemas.changed)],
  AlarmAcknowledged: [shape(alarmSchemas.acknowledged)],
  AlarmSilenced: [shape(alarmSchemas.silenced)],
  HookCreated: [shape(hookSchemas.defined)],
  HookChanged: [shape(hookSchemas.defined)],
  HookEnabled: [shape(hookSchemas.other)],
  HookDisabled: [shape(hookSchemas.other)],
  HookRemoved: [shape(hookSchemas.other)],
  LiveQuerySaved: [
    shape(
      z.object({
        name: z.string(),
        parameters: z.record(z.string(), z.union([z.string(), z.array(z.string())])),
      }),
    ),
  ],
  LiveQueryRemoved: [shape(z.object({ name: z.string() }))],
};

export const eventRegistry: EventRegistry = registryOf(eventShapes);

export function registryOf(shapes: EventShapes): EventRegistry {
  return {
    currentVersion: (type) => shapes[type].length,
    deviceEvent: ({ type, data, metadata }) =>
      ({ type, data: newest(type, metadata?.schemaVersion, data) }) as DeviceEvent,
    ruleEvent: ({ type, data, metadata }) =>
      ({ type, data: newest(type, metadata?.schemaVersion, data) }) as RuleEvent,
    alarmEvent: ({ type, data, metadata }) =>
      ({ type, data: newest(type, metadata?.schemaVersion, data) }) as AlarmEvent,
    hookEvent: ({ type, data, metadata }) =>
      ({ type, data: newest(type, metadata?.schemaVersion, data) }) as HookEvent,
    liveQueryEvent: ({ type, data, metadata }) =>
      ({ type, data: newest(type, metadata?.schemaVersion, data) }) as LiveQueryEvent,
    telemetryEvent: ({ type, schemaVersion, data }) =>
      ({ type, data: newest(type, schemaVersion, data) }) as TelemetryEvent,
  };

  function newest(type: string, version: number, data: unknown): unknown {
    const known = Object.hasOwn(shapes, type) ? shapes[type as keyof EventShapes] : [];
    const found = known[version - 1];
    if (!found) throw new UnknownEventType(type, version);
    let value = found.accepts(data);
    for (let older = version; older < known.length; older += 1) value = known[older - 1]?.upcast?.(value);
    return value;
  }
}

export function shape(schema: z.ZodType): Shape {
  return {
    accepts(data) {
      const result = schema.safeParse(data);
      return result.success ? result.data : malformed(z.prettifyError(result.error));
    },
  };
}

/** The same, and plain data is not copied: a rebuild reads device events by the million. */
function deviceShape(schema: Parameters<typeof plainData>[0]): Shape {
  const isPlain = plainData(schema);
  const { accepts } = shape(schema);
  return { accepts: (data) => (isPlain(data) ? data : accepts(data)) };
}

function malformed(name: string): never {
  throw new MalformedEvent(`The event's data ${name}`);
}
