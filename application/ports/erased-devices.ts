import type { Generation } from './read-models.ts';

/** The read models' remains of devices that were erased. Every call throws `ReadModelsUnavailable`. */
export interface ErasedDevices {
  /** Those that the active generation of devices knows to be erased, in order of id. */
  list(): Promise<readonly string[]>;
  /** Whether a generation of the telemetry projection has anything of a device but what the ledger counts. */
  hasTelemetry(of: Generation, deviceId: string): Promise<boolean>;
  /**
   * Removes a device's newest values from a generation of the telemetry projection; of its dead letters, in every
   * generation, it leaves what the ledger and a rebuild have to know, and gives up those that wait.
   */
  removeRest(of: Generation, deviceId: string, now: number): Promise<void>;
  /** Removes what other generations than the active ones know of a device from before it was erased. */
  removeRetired(deviceId: string): Promise<void>;
}
