import { z } from 'zod';
import {
  type EventRegistry,
  MalformedEvent,
  UnknownEventType,
} from '../../application/ports/event-registry.ts';
import type { DeviceEvent } from '../../domain/device.ts';
import {
  isDeviceId,
  isMetricName,
  isReading,
  isTimestamp,
  type TelemetryEvent,
} from '../../domain/telemetry.ts';
import { plainData } from './plain-data.ts';

/**
 * Every event shape ever written, by type, oldest version first. To change a shape, add a version with its schema
 * and, to the one before it, an `upcast` that makes the new shape of the old; then grow nothing else. Stored
 * events are never rewritten.
 */
export type Shape = {
  readonly accepts: (data: unknown) => unknown;
  readonly upcast?: (data: unknown) => unknown;
};
export type Shapes = readonly [Shape, ...Shape[]];
export type EventShapes = Readonly<Record<DeviceEvent['type'] | TelemetryEvent['type'], Shapes>>;

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
  // The check of every single reading: by hand, since a schema costs several times as much.
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
};

export const eventRegistry: EventRegistry = registryOf(eventShapes);

export function registryOf(shapes: EventShapes): EventRegistry {
  return {
    currentVersion: (type) => shapes[type].length,
    deviceEvent: ({ type, data, metadata }) =>
      ({ type, data: newest(type, metadata?.schemaVersion, data) }) as DeviceEvent,
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

function malformed(what: string): never {
  throw new MalformedEvent(`The event's data ${what}`);
}
