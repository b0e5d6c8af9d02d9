import { type DeviceEvent, deviceDecider, type RegisteredDevice } from '../../domain/device/device.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import type { RecordedEvent } from '../ports/event-store.ts';
import type { DeviceRow } from '../ports/read-models.ts';
import { type EventDescription, type Projection, type ProjectionWorker, versionOf } from './projection.ts';

/** A checked event of a device with what the store says of it. */
export type DeviceFact = { readonly recorded: RecordedEvent; readonly event: DeviceEvent };

/** Each device as it is now. */
export function devicesProjection(registry: EventRegistry): Projection<RecordedEvent, DeviceFact> {
  return {
    name: 'devices',
    version: versionOf('devices'),
    describe: describeDeviceEvent,
    decode: (recorded) => ({ recorded, event: registry.deviceEvent(recorded) }),
    open: devicesWorker,
  };
}

/** More would be looked up again: enough for a rebuild to meet most devices only once. */
const devicesKept = 50_000;

function devicesWorker(): ProjectionWorker<RecordedEvent, DeviceFact> {
  const known = new Map<string, DeviceRow>();
  return {
    async apply(facts, { devices }) {
      const ids = new Set(facts.map(({ event }) => event.data.deviceId));
      for (const [id, row] of await devices.find([...ids].filter((id) => !known.has(id)))) known.set(id, row);
      const rows = new Map<string, DeviceRow>();
      for (const fact of facts) {
        const { deviceId } = fact.event.data;
        rows.set(deviceId, next(rows.get(deviceId) ?? known.get(deviceId), fact));
      }
      await devices.put([...rows.values()], known);
      for (const [id, row] of rows) {
        known.delete(id);
        known.set(id, row);
      }
      for (const id of known.keys()) {
        if (known.size <= devicesKept) break;
        known.delete(id);
      }
    },
    reset: () => known.clear(),
  };
}

function next(row: DeviceRow | undefined, { recorded, event }: DeviceFact): DeviceRow {
  const at = recorded.metadata.recordedAt;
  return {
    ...evolveRegistered(row, event),
    deviceId: event.data.deviceId,
    revision: recorded.revision,
    registeredAt: row?.registeredAt ?? at,
    updatedAt: at,
  };
}

/** The device after the event; throws when the event comes before its registration. */
export function evolveRegistered(before: RegisteredDevice | undefined, event: DeviceEvent): RegisteredDevice {
  const after = deviceDecider.evolve(before ?? deviceDecider.initial, event);
  if (after.status === 'unregistered') throw new Error(`${event.type} leaves the device unregistered`);
  const { status, name, type, labels } = after;
  return { status, name, type, labels };
}

export const describeDeviceEvent = ({ id, type, stream, metadata }: RecordedEvent): EventDescription => ({
  id,
  type,
  stream,
  correlationId: metadata?.$correlationId ?? '',
});
