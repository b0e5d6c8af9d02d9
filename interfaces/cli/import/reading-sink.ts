import type { Reading } from '../../../domain/telemetry.ts';
import type { NewDevice } from '../register-devices.ts';

export type RefusedReading = { readonly index: number; readonly reason: string };

/** Where the readings of a history go: a running server, or the stores themselves. */
export type ReadingSink = {
  /** What it is, for people. */
  readonly name: string;
  /** Registers those that are not registered yet; resolves with how many those were. */
  register(devices: readonly NewDevice[]): Promise<number>;
  /** Resolves once all that were not refused are durable; `index` is the place in `readings`. */
  send(readings: readonly Reading[]): Promise<readonly RefusedReading[]>;
  /** Resolves once all that was sent is in the read models. */
  settle(): Promise<void>;
};
