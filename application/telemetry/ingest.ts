import { Rejection } from '../../domain/decider.ts';
import type { Metrics, Reading, Retraction } from '../../domain/telemetry.ts';
import { type DeviceDirectory, type DirectoryEntry, isRegistered } from '../ports/device-directory.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import type { PartitionPosition } from '../ports/event-source.ts';
import type { Clock, Ids } from '../ports/system.ts';
import type { TelemetryLog } from '../ports/telemetry-log.ts';

/** A well-formed reading as it was sent; `index` is its place in the request. */
export type SubmittedReading = {
  readonly index: number;
  readonly deviceId: string;
  /** Epoch milliseconds; the time of arrival when absent. */
  readonly timestamp?: number | undefined;
  readonly metrics: Metrics;
};

export type RefusalReason = 'unknown-device' | 'device-suspended' | 'device-decommissioned';

export type Refusal = { readonly index: number; readonly reason: RefusalReason; readonly deviceId: string };

export type IngestResult = {
  readonly accepted: number;
  readonly refused: readonly Refusal[];
  /** The last position written in each partition; empty when nothing was accepted. */
  readonly positions: readonly PartitionPosition[];
};

type IngestContext = {
  readonly correlationId: string;
  readonly actor: string;
  readonly traceparent?: string;
};

/**
 * Checks each reading's device and publishes those that may send, all as one publication. Resolves when they are
 * durable. `json` is the readings as a JSON array, if they came as one that says exactly what `readings` say: it
 * is then stored as it came, unless a device is refused. Throws `TelemetryLogUnavailable` or `EventStoreUnavailable` with nothing accepted.
 */
export type IngestTelemetry = (
  readings: readonly SubmittedReading[],
  context: IngestContext,
  json?: string,
) => Promise<IngestResult>;

const refusalOf: Record<Exclude<DirectoryEntry['status'], 'active'>, RefusalReason> = {
  suspended: 'device-suspended',
  decommissioned: 'device-decommissioned',
  erased: 'device-decommissioned',
  deleted: 'unknown-device',
};

export function ingestTelemetry(
  directory: DeviceDirectory,
  log: TelemetryLog,
  registry: EventRegistry,
  ids: Ids,
  clock: Clock,
): IngestTelemetry {
  const arrivalTime = arrivalTimes();

  return async (readings, context, json) => {
    const entries = readings.map(({ deviceId }) => directory.peek(deviceId));
    // Not even a promise is waited for where all are remembered, as they nearly always are.
    const others = entries.includes(undefined) ? await findOthers(readings, entries) : undefined;
    const receivedAt = clock.now();
    const events: Reading[] = [];
    const refused: Refusal[] = [];
    for (const [i, { index, deviceId, timestamp, metrics }] of readings.entries()) {
      const status = (entries[i] ?? others?.get(deviceId))?.status;
      if (status === 'active')
        events.push(
          timestamp === undefined
            ? { deviceId, timestamp: arrivalTime(deviceId, receivedAt), metrics, untimed: true }
            : { deviceId, timestamp, metrics },
        );
      else refused.push({ index, deviceId, reason: status ? refusalOf[status] : 'unknown-device' });
    }
    if (events.length === 0) return { accepted: 0, refused, positions: [] };

    const positions = await log.publish({
      id: ids.uuidV7(),
      type: 'TelemetryRecorded',
      schemaVersion: registry.currentVersion('TelemetryRecorded'),
      receivedAt,
      ...context,
      events,
      ...(json !== undefined && refused.length === 0 && { eventsJson: json }),
    });
    return { accepted: events.length, refused, positions };
  };

  function findOthers(
    readings: readonly SubmittedReading[],
    entries: readonly (DirectoryEntry | undefined)[],
  ): ReturnType<DeviceDirectory['find']> {
    return directory.find(new Set(readings.filter((_, i) => !entries[i]).map(({ deviceId }) => deviceId)));
  }
}

/**
 * Times of arrival that differ for each reading of a device: two that came within one millisecond must not look
 * like one point measured twice. Forgets, once a second, the devices whose last time has passed.
 */
function arrivalTimes(): (deviceId: string, now: number) => number {
  const lastOf = new Map<string, number>();
  let swept = 0;
  return (deviceId, now) => {
    if (now - swept >= 1000) {
      swept = now;
      for (const [id, last] of lastOf) if (last < now) lastOf.delete(id);
    }
    const time = Math.max(now, (lastOf.get(deviceId) ?? Number.NEGATIVE_INFINITY) + 1);
    lastOf.set(deviceId, time);
    return time;
  };
}

/**
 * Takes back what a device said of a time range. The readings stay in the log; points, newest values and rollups
 * follow once the projection has come to the answered position. Throws `Rejection` for a device that is not
 * registered, `TelemetryLogUnavailable` or `EventStoreUnavailable` with nothing taken back.
 */
export type RetractTelemetry = (
  retraction: Retraction,
  context: IngestContext,
) => Promise<readonly PartitionPosition[]>;

export const retractTelemetry =
  (
    directory: DeviceDirectory,
    log: TelemetryLog,
    registry: EventRegistry,
    ids: Ids,
    clock: Clock,
  ): RetractTelemetry =>
  async (retraction, context) => {
    const { deviceId } = retraction;
    // Whatever its status: what a device said before it was decommissioned may be as wrong.
    if (!(await isRegistered(directory, deviceId)))
      throw new Rejection('DeviceNotRegistered', `Device ${deviceId} is not registered`);
    return log.publish({
      id: ids.uuidV7(),
      type: 'TelemetryRetracted',
      schemaVersion: registry.currentVersion('TelemetryRetracted'),
      receivedAt: clock.now(),
      ...context,
      events: [retraction],
    });
  };
