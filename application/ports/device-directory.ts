import type { DeviceDetails, DeviceStatus } from '../../domain/device.ts';
import type { TypePeriods } from '../../domain/retention.ts';

/** What ingest and the projection of telemetry have to know of a device. */
export type DirectoryEntry = {
  /** `deleted`: somebody has deleted the device's stream in the store itself. */
  readonly status: DeviceStatus | 'deleted';
  readonly tokenHash?: string;
  readonly types: TypePeriods;
  /** As they are now; absent for a deleted stream. */
  readonly details?: Pick<DeviceDetails, 'type' | 'labels'>;
};

/** Every device that is or was registered, as far as the event store knows at this moment. */
export interface DeviceDirectory {
  /** What is remembered of a device, at once; nothing is said by its absence. */
  peek(deviceId: string): DirectoryEntry | undefined;

  /** The entries of those ids that are registered or deleted; the others are absent. Throws `EventStoreUnavailable`. */
  find(deviceIds: ReadonlySet<string>): Promise<ReadonlyMap<string, DirectoryEntry>>;
}

/** Those of them whose status is one of these. Throws `EventStoreUnavailable`. */
export async function havingStatus(
  statuses: readonly DirectoryEntry['status'][],
  deviceIds: ReadonlySet<string>,
  directory: Pick<DeviceDirectory, 'find'>,
): Promise<ReadonlySet<string>> {
  const known = await directory.find(deviceIds);
  return new Set([...deviceIds].filter((id) => statuses.some((status) => status === known.get(id)?.status)));
}

/** Whatever the device's status, unless its stream was deleted. Throws `EventStoreUnavailable`. */
export async function isRegistered(
  directory: Pick<DeviceDirectory, 'find'>,
  deviceId: string,
): Promise<boolean> {
  const entry = (await directory.find(new Set([deviceId]))).get(deviceId);
  return entry !== undefined && entry.status !== 'deleted';
}
