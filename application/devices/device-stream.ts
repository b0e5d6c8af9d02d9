import {
  type Device,
  type DeviceEvent,
  deviceDecider,
  deviceStream,
  erasedName,
} from '../../domain/device.ts';
import type { TypePeriods } from '../../domain/retention.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import type { Position } from '../ports/event-source.ts';
import {
  type EventStore,
  type ExpectedRevision,
  type RecordedEvent,
  StreamUnreadable,
} from '../ports/event-store.ts';
import type { DeviceRow } from '../ports/read-models.ts';

/** A moment of a stream: its newest event, a revision, or the last event recorded at or before a time (epoch ms). */
export type Moment = 'now' | { readonly revision: number } | { readonly time: number };

/** The device has not come to that revision. */
export class UnknownRevision extends Error {
  override readonly name = 'UnknownRevision';

  constructor(deviceId: string, newest: number) {
    super(`must be at most ${newest}, the newest revision of ${deviceId}`);
  }
}

export type DeviceHistory = {
  /**
   * The device at that moment and the position of the event that made it so; `undefined` when it was not
   * registered then. Always as new as the event store itself. Throws `EventStoreUnavailable` and, beyond its newest
   * revision, `UnknownRevision`.
   */
  deviceAt(
    deviceId: string,
    moment: Moment,
  ): Promise<{ readonly device: DeviceRow; readonly position: Position } | undefined>;
};

/** The positions of those events of a device's stream that an operator has discarded as not the device's. */
export type DiscardedEvents = (events: readonly RecordedEvent[]) => Promise<ReadonlySet<Position>>;

export const noneDiscarded: DiscardedEvents = async () => new Set();

/**
 * Streams as this process last read or changed them. They may be behind the store: what is decided by one is proven by
 * the revision that its append expects.
 */
export type RecentStreams = {
  get(deviceId: string): LoadedDevice | undefined;
  set(deviceId: string, device: LoadedDevice): void;
  delete(deviceId: string): void;
  /** What `read` finds, kept unless the stream changes meanwhile. */
  load(deviceId: string, read: () => Promise<LoadedDevice>): Promise<LoadedDevice>;
};

export function deviceHistory(
  eventStore: EventStore,
  registry: EventRegistry,
  discarded = noneDiscarded,
  recent?: RecentStreams,
): DeviceHistory {
  const read = (deviceId: string) => loadDevice(eventStore, registry, deviceId, discarded);
  return {
    async deviceAt(deviceId, moment) {
      const stream = await (recent?.load(deviceId, () => read(deviceId)) ?? read(deviceId));
      const { revision } = stream;
      if (
        typeof moment === 'object' &&
        'revision' in moment &&
        revision !== 'none' &&
        moment.revision > revision
      )
        throw new UnknownRevision(deviceId, revision);
      const events = until(stream.events, moment);
      const device = foldDevice(deviceId, events, registry);
      return device && { device, position: lastPosition(events) };
    },
  };
}

/** All that may still be known of a device: of one that was erased, what came since. */
export async function readDevice(
  eventStore: EventStore,
  deviceId: string,
): Promise<readonly RecordedEvent[]> {
  return sinceErasure(await eventStore.read(deviceStream(deviceId)));
}

/** A device's stream as it was read, without discarded events, and what it comes to. */
export type LoadedDevice = {
  readonly events: readonly RecordedEvent[];
  readonly state: Device;
  /** Of the stream's last event, whoever wrote it. */
  readonly revision: ExpectedRevision;
};

/**
 * Reads and folds a device's stream. An event that cannot be folded is passed over once its dead letter was discarded.
 * Throws `EventStoreUnavailable`, `StreamDeleted`, `StreamUnreadable`.
 */
export async function loadDevice(
  eventStore: EventStore,
  registry: EventRegistry,
  deviceId: string,
  discarded: DiscardedEvents,
): Promise<LoadedDevice> {
  const events = await readDevice(eventStore, deviceId);
  const revision = events.at(-1)?.revision ?? 'none';
  try {
    return { events, revision, state: foldState(events, registry) };
  } catch (error) {
    if (!(error instanceof StreamUnreadable)) throw error;
    const positions = await discarded(events);
    if (positions.size === 0) throw error;
    const left = events.filter(({ position }) => !positions.has(position));
    return { events: left, revision, state: foldState(left, registry) };
  }
}

/** All events of a device that was not erased; otherwise the erasure, and what follows it. */
export function sinceErasure(events: readonly RecordedEvent[]): readonly RecordedEvent[] {
  const erased = events.findLastIndex(({ type }) => type === ('DeviceErased' satisfies DeviceEvent['type']));
  return erased === -1 ? events : events.slice(erased);
}

/** `undefined` for a device that was never registered. */
export function foldDevice(
  deviceId: string,
  events: readonly RecordedEvent[],
  registry: EventRegistry,
): DeviceRow | undefined {
  return deviceRowOf(deviceId, foldState(events, registry), events);
}

/** The device that these events, folded, are; `undefined` when it was never registered. */
export function deviceRowOf(
  deviceId: string,
  device: Device,
  events: readonly RecordedEvent[],
): DeviceRow | undefined {
  const first = events[0];
  const last = events.at(-1);
  if (device.status === 'unregistered' || !first || !last) return undefined;
  const { status, name, type, labels } = device;
  return {
    status,
    name,
    type,
    labels,
    deviceId,
    revision: last.revision,
    registeredAt: first.metadata.recordedAt,
    updatedAt: last.metadata.recordedAt,
  };
}

/** The aggregate itself, with what only the application may know. Throws `StreamUnreadable`. */
export const foldState = (events: readonly RecordedEvent[], registry: EventRegistry): Device =>
  events.reduce<Device>((state, event) => {
    try {
      return deviceDecider.evolve(state, registry.deviceEvent(event));
    } catch (error) {
      throw new StreamUnreadable(event, error as Error);
    }
  }, deviceDecider.initial);

/**
 * The types the device has had, by when it was given them, and `null` while its data was erased: since its erasure, or
 * before its registration where its stream had been deleted and the id was registered anew.
 */
export function typesOf(events: readonly RecordedEvent[], registry: EventRegistry): TypePeriods {
  const isAnew = (events[0]?.revision ?? 0) > 0 && events[0]?.type === 'DeviceRegistered';
  const types: { since: number; type: string | null }[] = isAnew ? [...deletedTypes] : [];
  for (const recorded of events) {
    const event = registry.deviceEvent(recorded);
    const type = 'type' in event.data ? event.data.type : undefined;
    const since = Date.parse(recorded.metadata.recordedAt);
    if (type !== undefined && type !== types.at(-1)?.type) types.push({ since, type });
    if (event.type === 'DeviceErased') types.push({ since, type: null });
  }
  return types;
}

/** Of a device whose stream was deleted: whenever its readings came, they are no longer kept. */
export const deletedTypes: TypePeriods = [{ since: Number.MIN_SAFE_INTEGER, type: null }];

export function lastPosition(events: readonly RecordedEvent[]): Position {
  const last = events.at(-1);
  if (!last) throw new Error('An empty stream has no position');
  return last.position;
}

function until(events: readonly RecordedEvent[], moment: Moment): readonly RecordedEvent[] {
  if (moment === 'now') return events;
  if ('revision' in moment) return events.filter((event) => event.revision <= moment.revision);
  // All that came before it, whatever the clocks of the nodes said: a later event builds on those.
  return events.slice(
    0,
    events.findLastIndex((event) => Date.parse(event.metadata.recordedAt) <= moment.time) + 1,
  );
}

const blank: Readonly<Record<string, unknown>> = { name: erasedName, labels: {}, reason: erasedName };

/** The event without personal data, still valid by its schema. */
export function withoutPersonalData({
  data,
  metadata,
}: Pick<RecordedEvent, 'data' | 'metadata'>): Pick<RecordedEvent, 'data' | 'metadata'> {
  const { traceparent: _, ...remaining } = metadata;
  return {
    data: Object.fromEntries(
      Object.entries(data as object).map(([field, value]) => [field, field in blank ? blank[field] : value]),
    ),
    metadata: { ...remaining, actor: erasedName, commandDigest: erasedName },
  };
}
