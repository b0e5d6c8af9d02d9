import { deviceIdIn, sameLabels } from '../../domain/device.ts';
import { type DiscardedEvents, deviceRowOf, foldState, loadDevice } from '../devices/device-stream.ts';
import { pause } from '../pause.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import { comparePositions, type EventSource, lastPositions, type Position } from '../ports/event-source.ts';
import {
  type EventStore,
  type RecordedEvent,
  StreamDeleted,
  StreamUnreadable,
} from '../ports/event-store.ts';
import { activeGeneration, type ProjectionControl } from '../ports/generations.ts';
import type { DeviceQueries } from '../ports/queries.ts';
import type { DeviceRow, ReadModels } from '../ports/read-models.ts';
import type { Ids } from '../ports/system.ts';
import { readLog } from '../rebuild/build-consumer.ts';

/** Which devices: one, so many chosen at random, or all, with those that only the event store knows. */
export type DeviceAuditQuery = { readonly deviceId: string } | { readonly sample: number } | 'all';

/**
 * `unreadable`: the stream cannot be folded. `no-stream`: the device is listed, its stream is not there. `not-listed`: the reverse.
 * `revision`: consumed events of the stream are not in the row, or it has others. `content`: the row says otherwise than
 * its stream.
 */
type DeviceDifference = {
  readonly deviceId: string;
  readonly kind: 'unreadable' | 'no-stream' | 'not-listed' | 'revision' | 'content';
  readonly detail: string;
};

export type DeviceAuditReport = {
  readonly checked: number;
  /** How many there are, and the first thousand of them. */
  readonly differenceCount: number;
  readonly differences: readonly DeviceDifference[];
};

export type DeviceAudit = (query: DeviceAuditQuery, signal: AbortSignal) => Promise<DeviceAuditReport>;

type DeviceAuditPorts = {
  readonly eventStore: EventStore;
  readonly source: EventSource<RecordedEvent>;
  readonly registry: EventRegistry;
  readonly discarded: DiscardedEvents;
  readonly devices: DeviceQueries;
  readonly readModels: Pick<ReadModels, 'checkpoint'>;
  readonly control: Pick<ProjectionControl, 'states'>;
  readonly ids: Pick<Ids, 'digest'>;
};

const maxReported = 1000;
const pageSize = 1000;
const readsAtOnce = 64;
/** What is being changed at this moment settles within a few of these looks. */
const looks = 12;
const betweenLooks = 250;
const partition = 0;

/** Compares rows of the device list with the streams that they come from. */
export const deviceAudit =
  (ports: DeviceAuditPorts, group: string): DeviceAudit =>
  async (query, signal) => {
    const ids = await chosen(query, ports, group, signal);
    let different = await differencesOf(ids, ports, signal);
    for (let look = 1; look < looks && different.some(mayPass); look += 1) {
      await pause(betweenLooks, signal);
      const lasting = different.filter((one) => !mayPass(one));
      const passing = different.filter(mayPass).map(({ deviceId }) => deviceId);
      different = [...lasting, ...(await differencesOf(passing, ports, signal))];
    }
    const differences = different.toSorted((a, b) => (a.deviceId < b.deviceId ? -1 : 1));
    return {
      checked: ids.length,
      differenceCount: differences.length,
      differences: differences.slice(0, maxReported),
    };
  };

const mayPass = ({ kind }: DeviceDifference): boolean => kind !== 'unreadable';

async function chosen(
  query: DeviceAuditQuery,
  { devices, source, ids: { digest } }: DeviceAuditPorts,
  group: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (query !== 'all' && 'deviceId' in query) return [query.deviceId];
  const most = query === 'all' ? Number.POSITIVE_INFINITY : query.sample;
  const ids: string[] = [];
  let seen = 0;
  for (let after: string | undefined = ''; after !== undefined; ) {
    const page = await devices.list({}, { limit: pageSize, after });
    signal.throwIfAborted();
    for (const { deviceId } of page) {
      seen += 1;
      // Each device has the same chance of being among them, however many there are; the group's name is the seed.
      if (ids.length < most) ids.push(deviceId);
      else {
        const place = Number.parseInt(digest(`${group} ${seen}`).slice(0, 12), 16) % seen;
        if (place < most) ids[place] = deviceId;
      }
    }
    after = page.length === pageSize ? page.at(-1)?.deviceId : undefined;
  }
  if (query !== 'all') return ids;
  const all = new Set(ids);
  await readLog(source, await lastPositions(source), { group, signal }, (events) => {
    for (const { stream } of events) all.add(deviceIdIn(stream));
  });
  return [...all];
}

async function differencesOf(
  ids: readonly string[],
  ports: DeviceAuditPorts,
  signal: AbortSignal,
): Promise<readonly DeviceDifference[]> {
  const found: DeviceDifference[] = [];
  for (let from = 0; from < ids.length; from += readsAtOnce) {
    signal.throwIfAborted();
    const some = ids.slice(from, from + readsAtOnce);
    // Before the rows: what has been consumed by now is in them.
    const live = await activeGeneration({ name: 'devices' }, ports.control);
    const consumed = await ports.readModels.checkpoint(live, partition);
    const rows = await ports.devices.find(some);
    const differences = await Promise.all(
      some.map((deviceId) => differenceOf(deviceId, rows.get(deviceId), consumed, ports)),
    );
    found.push(...differences.filter((one) => one !== undefined));
  }
  return found;
}

async function differenceOf(
  deviceId: string,
  row: DeviceRow | undefined,
  consumed: Position | null,
  { eventStore, registry, discarded }: DeviceAuditPorts,
): Promise<DeviceDifference | undefined> {
  let events: readonly RecordedEvent[] = [];
  try {
    ({ events } = await loadDevice(eventStore, registry, deviceId, discarded));
  } catch (error) {
    if (error instanceof StreamUnreadable) return { deviceId, kind: 'unreadable', detail: error.message };
    if (!(error instanceof StreamDeleted)) throw error;
  }
  const isConsumed = ({ position }: RecordedEvent) => comparePositions(position, consumed) <= 0;
  if (!row) {
    const isListed = events.length === 0 || !events.some(isConsumed);
    const detail = `its stream has ${events.length} events, and it is not in the device list`;
    return isListed ? undefined : { deviceId, kind: 'not-listed', detail };
  }
  if (events.length === 0) return { deviceId, kind: 'no-stream', detail: 'it is listed and has no stream' };
  const applied = events.filter(({ revision }) => revision <= row.revision);
  const last = events.filter((event) => event.revision <= row.revision || isConsumed(event)).at(-1)?.revision;
  if (last !== row.revision)
    return {
      deviceId,
      kind: 'revision',
      detail: `it is listed at revision ${row.revision}, its stream is at ${last ?? events[0]?.revision}`,
    };
  const expected = deviceRowOf(deviceId, foldState(applied, registry), applied);
  const fields = expected ? differentFields(expected, row) : ['status'];
  return fields.length === 0
    ? undefined
    : { deviceId, kind: 'content', detail: `its stream says otherwise of ${fields.join(', ')}` };
}

const compared = ['status', 'name', 'type', 'registeredAt', 'updatedAt'] as const;

const differentFields = (expected: DeviceRow, row: DeviceRow): readonly string[] => [
  ...compared.filter((field) => expected[field] !== row[field]),
  ...(sameLabels(expected.labels, row.labels) ? [] : ['labels']),
];
