import type { RegisteredDevice } from '../../domain/device.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import type { RecordedEvent } from '../ports/event-store.ts';
import type { DeviceHistoryRow, FieldChange } from '../ports/read-models.ts';
import { type DeviceFact, describeDeviceEvent, evolveRegistered } from './devices.ts';
import { type Projection, versionOf } from './projection.ts';

/** Who changed what of a device, from what to what, when and why. */
export function deviceHistoryProjection(registry: EventRegistry): Projection<RecordedEvent, DeviceFact> {
  return {
    name: 'device_history',
    version: versionOf('device_history'),
    describe: describeDeviceEvent,
    decode: (recorded) => ({ recorded, event: registry.deviceEvent(recorded) }),
    open: () => ({
      async apply(facts, { history }) {
        const ids = [...new Set(facts.map(({ event }) => event.data.deviceId))];
        const newest = new Map(await history.latest(ids));
        let rows: DeviceHistoryRow[] = [];
        const erased = new Set<string>();
        for (const fact of facts) {
          const { deviceId } = fact.event.data;
          if (fact.event.type === 'DeviceErased') {
            // As if nothing had come before: for who reads a log of which it has been removed, nothing has.
            erased.add(deviceId);
            newest.delete(deviceId);
            rows = rows.filter((row) => row.deviceId !== deviceId);
          }
          const row = historyRow(newest.get(fact.event.data.deviceId)?.state, fact);
          newest.set(row.deviceId, row);
          rows.push(row);
        }
        if (erased.size > 0) await history.remove([...erased]);
        await history.put(rows);
      },
      reset: () => {},
    }),
  };
}

function historyRow(before: RegisteredDevice | undefined, { recorded, event }: DeviceFact): DeviceHistoryRow {
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
