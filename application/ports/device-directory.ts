import type { DeviceStatus } from '../../domain/device.ts';
import type { TypePeriods } from '../../domain/retention.ts';

/** What ingest and the projection of telemetry have to know of a device. */
export type DirectoryEntry = {
  readonly status: DeviceStatus;
  readonly tokenHash?: string;
  readonly types: TypePeriods;
};

/** Every registered device, as far as the event store knows at this moment. */
export interface DeviceDirectory {
  /** What is remembered of a device, at once; nothing is said by its absence. */
  peek(deviceId: string): DirectoryEntry | undefined;

  /** The entries of those ids that are registered; the others are absent. Throws `EventStoreUnavailable`. */
  find(deviceIds: ReadonlySet<string>): Promise<ReadonlyMap<string, DirectoryEntry>>;
}
