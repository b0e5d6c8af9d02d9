import { deviceStream } from '../../domain/device.ts';
import { type DeviceRetention, retentionTargets } from '../../domain/retention.ts';
import { pause } from '../pause.ts';
import { type DeviceDirectory, havingStatus } from '../ports/device-directory.ts';
import { type EventEraser, type EventStore, StreamDeleted } from '../ports/event-store.ts';
import type { ProjectionControl } from '../ports/generations.ts';
import type { GenerationId, TrimOrder } from '../ports/read-models.ts';
import type {
  ErasedDevices,
  PendingErasure,
  RemovedCounts,
  RetentionRecords,
  RetentionTables,
  Sweep,
} from '../ports/retention.ts';
import type { CurrentRetention } from './policy.ts';

type SweepPorts = {
  readonly records: RetentionRecords;
  readonly tables: RetentionTables;
  readonly directory: Pick<DeviceDirectory, 'find'>;
  readonly retention: CurrentRetention;
};

const rowsAtOnce = 1000;
const devicesAtOnce = 100;
/** Of the time, so much is left to others: a step is followed by a pause of so many times its length. */
const rest = 3;

export const zeroCounts: RemovedCounts = { points: 0, '1m': 0, '1h': 0, '1d': 0, trimmed: 0 };
export const initialSweep: Sweep = {
  sweptTo: null,
  target: null,
  after: '',
  removed: zeroCounts,
  endedAt: null,
};

/**
 * Removes the expired data of the next page of devices, and saves the progress of the sweep.
 * Killed at any moment, it removes the same devices' again and finds nothing there.
 */
export async function sweepPage(
  generation: GenerationId,
  sweep: Sweep & { readonly target: number },
  ports: SweepPorts,
  now: () => number,
  signal: AbortSignal,
): Promise<Sweep> {
  const { sweptTo, target, after, removed } = sweep;
  const devices = await ports.tables.devices(generation, after, devicesAtOnce);
  const removedNow = await sweepDevices(
    generation,
    devices,
    () => ({ before: sweptTo, target }),
    ports,
    signal,
  );
  const last = devices.at(-1);
  const total = addCounts(removed, removedNow);
  const ended = last === undefined || devices.length < devicesAtOnce;
  const next: Sweep = ended
    ? { sweptTo: target, target: null, after: '', removed: total, endedAt: now() }
    : { ...sweep, after: last, removed: total };
  await ports.records.saveSweep(generation, next);
  return next;
}

/** `momentsOf` gives the moments each device was swept to and is swept to now; `undefined` skips it. */
export async function sweepDevices(
  generation: GenerationId,
  deviceIds: readonly string[],
  momentsOf: (deviceId: string) => { readonly before: number | null; readonly target: number } | undefined,
  { tables, directory, retention }: SweepPorts,
  signal: AbortSignal,
): Promise<RemovedCounts> {
  await retention.refresh();
  const known = await directory.find(new Set(deviceIds));
  let removed = zeroCounts;
  for (const deviceId of deviceIds) {
    const deviceRetention = retention.forDevice(known.get(deviceId)?.types ?? []);
    const moments = momentsOf(deviceId);
    if (!deviceRetention || !moments) continue;
    const { before, target } = moments;
    removed = addCounts(
      removed,
      await sweepDevice(generation, deviceId, deviceRetention, before, target, tables, signal),
    );
  }
  return removed;
}

async function sweepDevice(
  generation: GenerationId,
  deviceId: string,
  deviceRetention: DeviceRetention,
  before: number | null,
  target: number,
  tables: RetentionTables,
  signal: AbortSignal,
): Promise<RemovedCounts> {
  const removed = { ...zeroCounts };
  for (const order of trimOrders(deviceId, deviceRetention, before, target)) {
    const { kind, to } = order;
    // An erased device may still have readings on their way.
    const shared = to > deviceRetention.oldest(kind, target) || to === Number.POSITIVE_INFINITY;
    for (let next: number | null = order.from; next !== null; ) {
      signal.throwIfAborted();
      const started = performance.now();
      const step = await tables.trim(generation, { ...order, from: next, shared });
      removed[kind] += step.removed;
      removed.trimmed += step.trimmed;
      next = step.next;
      if (step.removed + step.trimmed > 0)
        await pause(Math.ceil((performance.now() - started) * rest), signal);
    }
  }
  return removed;
}

/** What a sweep of one device to the moment `target` looks at that was swept to `before`. */
export const trimOrders = (
  deviceId: string,
  retention: DeviceRetention,
  before: number | null,
  target: number,
): readonly TrimOrder[] =>
  retentionTargets.flatMap((kind) => {
    const horizonOf = (metric: string) => retention.horizon(kind, metric, target);
    return retention
      .horizonRanges(kind, before, target)
      .map((range) => ({ kind, deviceId, ...range, horizonOf, limit: rowsAtOnce }));
  });

const addCounts = (a: RemovedCounts, b: RemovedCounts): RemovedCounts => ({
  points: a.points + b.points,
  '1m': a['1m'] + b['1m'],
  '1h': a['1h'] + b['1h'],
  '1d': a['1d'] + b['1d'],
  trimmed: a.trimmed + b.trimmed,
});

export type ErasingPorts = SweepPorts & {
  readonly erased: ErasedDevices;
  readonly eraser: Pick<EventEraser, 'eraseBefore'>;
  readonly eventStore: Pick<EventStore, 'read'>;
  /** Somebody may delete a device's stream in the store itself. */
  readonly mayBeDeleted: boolean;
};

/**
 * Removes of erased devices what a generation of telemetry has of them, also of those whose erasure was complete: what is
 * built from the log has their readings again.
 */
export async function sweepErased(
  generation: GenerationId,
  ports: ErasingPorts,
  now: () => number,
  signal: AbortSignal,
): Promise<void> {
  for (const deviceId of await ports.erased.withTelemetry(generation))
    await removeTelemetry(generation, deviceId, ports, now, signal);
}

/** Whether there was anything. */
async function sweepErasedDevice(
  generation: GenerationId,
  deviceId: string,
  ports: ErasingPorts,
  now: () => number,
  signal: AbortSignal,
): Promise<boolean> {
  if (!(await ports.erased.hasTelemetry(generation, deviceId))) return false;
  await removeTelemetry(generation, deviceId, ports, now, signal);
  return true;
}

async function removeTelemetry(
  generation: GenerationId,
  deviceId: string,
  ports: ErasingPorts,
  now: () => number,
  signal: AbortSignal,
): Promise<void> {
  await sweepDevices(generation, [deviceId], () => ({ before: null, target: now() }), ports, signal);
  await ports.erased.removeRest(generation, deviceId, now());
}

/** The same of devices whose streams were deleted, which looks at every device that has telemetry. */
export async function sweepDeleted(
  generation: GenerationId,
  ports: ErasingPorts,
  now: () => number,
  signal: AbortSignal,
): Promise<void> {
  for (const deviceId of await deletedDevices(generation, ports)) {
    await sweepDevices(generation, [deviceId], () => ({ before: null, target: now() }), ports, signal);
    await ports.erased.removeDeleted(generation, deviceId);
    await ports.erased.removeRest(generation, deviceId, now());
  }
}

/** Those of which a generation has something although somebody has deleted their streams. */
async function deletedDevices(
  generation: GenerationId,
  { erased, directory, mayBeDeleted }: Pick<ErasingPorts, 'erased' | 'directory' | 'mayBeDeleted'>,
): Promise<readonly string[]> {
  if (!mayBeDeleted) return [];
  const unlisted = await erased.unlisted(generation);
  if (unlisted.length === 0) return [];
  return [...(await havingStatus(['deleted'], new Set(unlisted), directory))];
}

/** So long after an erasure its readings are likely to be on their way into the tables still. */
const onTheirWay = 3_600_000;

/**
 * Completes erasures, whatever became of the process that began them: in the event store, in every generation that is not
 * being built, and in generations of the device projections that no projector consumes into. One of which nothing was
 * left an hour after it is complete; with `all` those are looked at too, for a projector that was far behind may have
 * stored something since.
 */
export async function sweepErasedEverywhere(
  control: ProjectionControl,
  ports: ErasingPorts,
  now: () => number,
  signal: AbortSignal,
  which: 'pending' | 'all',
): Promise<void> {
  const { erased } = ports;
  const pending = await erased.pending();
  const states = await control.states();
  const telemetry = states.find(({ projection }) => projection === 'telemetry')?.generations ?? [];
  const swept = telemetry.filter(({ status }) => status !== 'building');
  const hasRetired = states.some(({ generations }) => generations.length > 1);
  if (which === 'all') for (const generation of swept) await sweepErased(generation, ports, now, signal);
  const finished: string[] = [];
  for (const erasure of pending) {
    const { deviceId, erasedAt } = erasure;
    signal.throwIfAborted();
    if (!erasure.isTruncated && !(await truncate(erasure, ports, now()))) continue;
    let found = false;
    for (const generation of swept)
      found = (await sweepErasedDevice(generation, deviceId, ports, now, signal)) || found;
    if (hasRetired) await erased.removeRetired(deviceId);
    // What is being built may have of it what came before.
    if (!found && swept.length === telemetry.length && now() - erasedAt > onTheirWay) finished.push(deviceId);
  }
  await erased.finish(finished, now());
  const detection = states.find(({ projection }) => projection === 'detection');
  // Also of one that is being built: it may have been interrupted before the erasure.
  for (const { projection, generation } of detection?.generations ?? [])
    for (const deviceId of await ports.erased.watched({ projection, generation }))
      await ports.erased.removeDeleted({ projection, generation }, deviceId);
}

/**
 * The stream, which the call that erased the device has truncated unless it was cut short. Not of a device that is not
 * erased there: the store was put back to an earlier copy, and what it has must not be lost. Whether it is truncated.
 */
async function truncate(
  erasure: PendingErasure,
  { erased, eraser, eventStore }: Pick<ErasingPorts, 'erased' | 'eraser' | 'eventStore'>,
  now: number,
): Promise<boolean> {
  const stream = deviceStream(erasure.deviceId);
  try {
    const events = await eventStore.read(stream);
    if (events.find(({ revision }) => revision === erasure.revision)?.type !== 'DeviceErased') return false;
    await eraser.eraseBefore(stream, erasure.revision);
  } catch (error) {
    // Then there is nothing left of it.
    if (!(error instanceof StreamDeleted)) throw error;
  }
  await erased.truncated(erasure, now);
  return true;
}

/** The same of deleted devices. */
export async function sweepDeletedEverywhere(
  control: ProjectionControl,
  ports: ErasingPorts,
  now: () => number,
  signal: AbortSignal,
): Promise<void> {
  for (const { projection, active, generations } of await control.states())
    for (const { generation, status } of generations) {
      const id = { projection, generation };
      const isBuilding = status === 'building';
      if (projection === 'telemetry' && !isBuilding) await sweepDeleted(id, ports, now, signal);
      // Projectors of devices remove them from the active generation and a build by the event; detection follows readings.
      if (projection === 'detection' || (projection !== 'telemetry' && generation !== active && !isBuilding))
        for (const deviceId of await deletedDevices(id, ports))
          await ports.erased.removeDeleted(id, deviceId);
    }
}

const previewBatchSize = 100;

/**
 * How many rows a sweep would remove at the moment `at`. Rows that would only lose a metric count as trimmed: as
 * many as lie in the range in which some metrics have expired. Throws `ReadModelsUnavailable`.
 */
export async function retentionPreview(
  generation: GenerationId,
  retention: Pick<CurrentRetention, 'forDevice'>,
  {
    tables,
    directory,
  }: { readonly tables: RetentionTables; readonly directory: Pick<DeviceDirectory, 'find'> },
  at: number,
  signal: AbortSignal,
): Promise<RemovedCounts> {
  let found = zeroCounts;
  for (let after = ''; ; ) {
    const devices = await tables.devices(generation, after, previewBatchSize);
    const known = await directory.find(new Set(devices));
    for (const deviceId of devices) {
      signal.throwIfAborted();
      const deviceRetention = retention.forDevice(known.get(deviceId)?.types ?? []);
      if (!deviceRetention) continue;
      const counts = { ...zeroCounts };
      for (const kind of retentionTargets) {
        const oldest = deviceRetention.oldest(kind, at);
        counts[kind] += await tables.count(generation, {
          kind,
          deviceId,
          from: Number.NEGATIVE_INFINITY,
          to: oldest,
        });
        const range = { kind, deviceId, from: oldest, to: deviceRetention.newest(kind, at) };
        if (range.to > range.from) counts.trimmed += await tables.count(generation, range);
      }
      found = addCounts(found, counts);
    }
    const last = devices.at(-1);
    if (last === undefined) return found;
    after = last;
  }
}
