import { type DeviceEvent, deviceDecider, deviceIdIn, type RegisteredDevice } from '../../domain/device.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import { type RecordedEvent, streamDeletedType } from '../ports/event-store.ts';
import type { DeviceHistoryRow, DeviceRow, FieldChange } from '../ports/read-models.ts';
import { type EventDescription, type PartitionProjection, type Projection, versionOf } from './projection.ts';

/** The store's own word that somebody deleted the stream of a device. */
type DeviceStreamDeleted = {
  readonly type: typeof streamDeletedType;
  readonly data: { readonly deviceId: string };
};

/** A checked event of a device with what the store says of it. */
type DecodedDeviceEvent = {
  readonly recorded: RecordedEvent;
  readonly event: DeviceEvent | DeviceStreamDeleted;
};

const decodedWith =
  (registry: EventRegistry) =>
  (recorded: RecordedEvent): DecodedDeviceEvent => {
    if (recorded.type !== streamDeletedType) return { recorded, event: registry.deviceEvent(recorded) };
    const deviceId = deviceIdIn(recorded.stream);
    return { recorded, event: { type: streamDeletedType, data: { deviceId } } };
  };

/** More would be looked up again: enough for a rebuild to meet most devices only once. */
const mostKept = 50_000;

/** Each device as it is now. `kept`: devices that it remembers, 50,000 at most. */
export function devicesProjection(
  registry: EventRegistry,
  kept = mostKept,
): Projection<RecordedEvent, DecodedDeviceEvent> {
  return {
    name: 'devices',
    version: versionOf('devices'),
    describe: describeDeviceEvent,
    decode: decodedWith(registry),
    forPartition: () => devicesWorker(Math.min(kept, mostKept)),
  };
}

function devicesWorker(kept: number): PartitionProjection<RecordedEvent, DecodedDeviceEvent> {
  const known = new Map<string, DeviceRow>();
  return {
    async apply(facts, { devices }) {
      const factsOf = byDevice(facts);
      // Before the first event of a stream there is no row to look for.
      const missing = [...factsOf].filter(([id, [first]]) => !known.has(id) && first.recorded.revision > 0);
      for (const [id, row] of await devices.find(missing.map(([id]) => id))) known.set(id, row);
      const after = [...factsOf].map(([id, some]) => [id, rowAfter(known.get(id), some)] as const);
      const deleted = after.filter(([, row]) => !row).map(([id]) => id);
      if (deleted.length > 0) await devices.remove(deleted);
      for (const id of deleted) known.delete(id);
      const rows = after.flatMap(([, row]) => row ?? []);
      await devices.put(rows, known);
      for (const row of rows) {
        known.delete(row.deviceId);
        known.set(row.deviceId, row);
      }
      for (const id of known.keys()) {
        if (known.size <= kept) break;
        known.delete(id);
      }
    },
    invalidate: () => known.clear(),
  };
}

/** Facts of one device, in order. */
type Facts = [DecodedDeviceEvent, ...DecodedDeviceEvent[]];

function byDevice(facts: readonly DecodedDeviceEvent[]): ReadonlyMap<string, Facts> {
  const factsOf = new Map<string, Facts>();
  for (const fact of facts) {
    const { deviceId } = fact.event.data;
    const before = factsOf.get(deviceId);
    if (before) before.push(fact);
    else factsOf.set(deviceId, [fact]);
  }
  return factsOf;
}

/** Nothing after a deletion of the stream, unless it was registered anew. */
function rowAfter(row: DeviceRow | undefined, facts: Facts): DeviceRow | undefined {
  const deletion = facts.findLastIndex(({ event }) => event.type === streamDeletedType);
  if (deletion >= 0) {
    const [first, ...others] = facts.slice(deletion + 1);
    return first && rowAfter(undefined, [first, ...others]);
  }
  let device: RegisteredDevice | undefined = row;
  for (const { event } of facts) device = evolveRegistered(device, event as DeviceEvent);
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

/** An erased device has the time of its erasure instead. */
function registeredAt(row: DeviceRow | undefined, facts: Facts): string {
  const erased = facts.findLast(({ event }) => event.type === 'DeviceErased');
  return erased?.recorded.metadata.recordedAt ?? row?.registeredAt ?? facts[0].recorded.metadata.recordedAt;
}

/** The device after the event; throws when the event comes before its registration. */
function evolveRegistered(before: RegisteredDevice | undefined, event: DeviceEvent): RegisteredDevice {
  const after = deviceDecider.evolve(before ?? deviceDecider.initial, event);
  if (after.status === 'unregistered') throw new Error(`${event.type} leaves the device unregistered`);
  const { status, name, type, labels } = after;
  return { status, name, type, labels };
}

const describeDeviceEvent = ({ id, type, stream, metadata }: RecordedEvent): EventDescription => ({
  id,
  type,
  stream,
  correlationId: metadata?.$correlationId ?? '',
});

/** Who changed what of a device, from what to what, when and why. */
export function deviceHistoryProjection(
  registry: EventRegistry,
): Projection<RecordedEvent, DecodedDeviceEvent> {
  return {
    name: 'device_history',
    version: versionOf('device_history'),
    describe: describeDeviceEvent,
    decode: decodedWith(registry),
    forPartition: () => ({
      async apply(facts, { history }) {
        const ids = [...new Set(facts.map(({ event }) => event.data.deviceId))];
        const newest = new Map(await history.latest(ids));
        let rows: DeviceHistoryRow[] = [];
        const erased = new Set<string>();
        for (const fact of facts) {
          const { deviceId } = fact.event.data;
          if (fact.event.type === 'DeviceErased' || fact.event.type === streamDeletedType) {
            // As if nothing had come before: for who reads a log of which it has been removed, nothing has.
            erased.add(deviceId);
            newest.delete(deviceId);
            rows = rows.filter((row) => row.deviceId !== deviceId);
          }
          if (fact.event.type === streamDeletedType) continue;
          const row = historyRow(newest.get(deviceId)?.state, fact.event, fact.recorded);
          newest.set(row.deviceId, row);
          rows.push(row);
        }
        if (erased.size > 0) await history.remove([...erased]);
        await history.put(rows);
      },
      invalidate: () => {},
    }),
  };
}

function historyRow(
  before: RegisteredDevice | undefined,
  event: DeviceEvent,
  recorded: RecordedEvent,
): DeviceHistoryRow {
  const { metadata } = recorded;
  const state = evolveRegistered(before, event);
  return {
    deviceId: event.data.deviceId,
    revision: recorded.revision,
    event: event.type,
    changes: changesBetween(before, state),
    reason: 'reason' in event.data ? event.data.reason : null,
    actor: metadata.actor,
    at: metadata.recordedAt,
    correlationId: metadata.$correlationId,
    causationId: metadata.$causationId,
    eventId: recorded.id,
    state,
  };
}

function changesBetween(
  before: RegisteredDevice | undefined,
  after: RegisteredDevice,
): readonly FieldChange[] {
  return (['name', 'type', 'labels', 'status'] as const)
    .map((field) => ({ field, from: before?.[field] ?? null, to: after[field] }))
    .filter(({ from, to }) => JSON.stringify(from) !== JSON.stringify(to));
}
