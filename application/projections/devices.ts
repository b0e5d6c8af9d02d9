import { type DeviceEvent, deviceDecider, type RegisteredDevice } from '../../domain/device.ts';
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
      const factsOf = byDevice(facts);
      // Before the first event of a stream there is no row to look for.
      const wanted = [...factsOf].filter(([id, [first]]) => !known.has(id) && first.recorded.revision > 0);
      for (const [id, row] of await devices.find(wanted.map(([id]) => id))) known.set(id, row);
      const rows = [...factsOf].map(([id, some]) => rowAfter(known.get(id), some));
      await devices.put(rows, known);
      for (const row of rows) {
        known.delete(row.deviceId);
        known.set(row.deviceId, row);
      }
      for (const id of known.keys()) {
        if (known.size <= devicesKept) break;
        known.delete(id);
      }
    },
    reset: () => known.clear(),
  };
}

/** Facts of one device, in order. */
type Facts = [DeviceFact, ...DeviceFact[]];

function byDevice(facts: readonly DeviceFact[]): ReadonlyMap<string, Facts> {
  const factsOf = new Map<string, Facts>();
  for (const fact of facts) {
    const { deviceId } = fact.event.data;
    const before = factsOf.get(deviceId);
    if (before) before.push(fact);
    else factsOf.set(deviceId, [fact]);
  }
  return factsOf;
}

function rowAfter(row: DeviceRow | undefined, facts: Facts): DeviceRow {
  let device: RegisteredDevice | undefined = row;
  for (const { event } of facts) device = evolveRegistered(device, event);
  const { recorded, event } = facts.at(-1) ?? facts[0];
  const { status, name, type, labels } = device as RegisteredDevice;
  return {
    status,
    name,
    type,
    labels,
    deviceId: event.data.deviceId,
    revision: recorded.revision,
    registeredAt: registeredAt(row, facts),
    updatedAt: recorded.metadata.recordedAt,
  };
}

/** Of a device that was erased it is not told any more: there stands when that was. */
function registeredAt(row: DeviceRow | undefined, facts: Facts): string {
  const erased = facts.findLast(({ event }) => event.type === 'DeviceErased');
  return erased?.recorded.metadata.recordedAt ?? row?.registeredAt ?? facts[0].recorded.metadata.recordedAt;
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
