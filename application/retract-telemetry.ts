import { Rejection } from '../domain/decider.ts';
import type { Retraction } from '../domain/telemetry.ts';
import type { IngestContext } from './ingest-telemetry.ts';
import type { Clock } from './ports/clock.ts';
import type { DeviceDirectory } from './ports/device-directory.ts';
import type { EventRegistry } from './ports/event-registry.ts';
import type { Ids } from './ports/ids.ts';
import type { PartitionPosition } from './ports/position.ts';
import type { TelemetryLog } from './ports/telemetry-log.ts';

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
    if (!(await directory.find(new Set([deviceId]))).has(deviceId))
      throw new Rejection('DeviceNotRegistered', `Device ${deviceId} is not registered`);
    return log.publish({
      id: ids.fresh(),
      type: 'TelemetryRetracted',
      schemaVersion: registry.currentVersion('TelemetryRetracted'),
      receivedAt: clock.now(),
      ...context,
      events: [retraction],
    });
  };
