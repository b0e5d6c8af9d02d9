import type { Reading } from '../../domain/telemetry.ts';

export type RefusedReading = { readonly index: number; readonly reason: string };

/** Where the readings of a history go: a running server, the stores themselves, or nowhere. */
export type ReadingSink = {
  /** What it is, for people. */
  readonly name: string;
  /** Registers those that are not registered yet; resolves with how many those were. */
  register(devices: readonly NewDevice[]): Promise<number>;
  /** Resolves once all that were not refused are durable; `index` is the place in `readings`. */
  send(readings: readonly Reading[]): Promise<readonly RefusedReading[]>;
  /**
   * Resolves once all that was sent is in the read models, with how many readings came too late for what is kept of
   * their past, `undefined` when that is unknown. On a server these may be those of others too.
   */
  settle(): Promise<number | undefined>;
};

export type NewDevice = { readonly deviceId: string; readonly name: string; readonly type: string };

/** Takes everything and keeps the first readings and the range of their times, as they would be stored. */
export class DryRunSink implements ReadingSink {
  readonly name = 'nothing: a dry run';
  readonly first: Reading[] = [];
  earliest = Number.POSITIVE_INFINITY;
  latest = Number.NEGATIVE_INFINITY;

  async register(): Promise<number> {
    return 0;
  }

  async send(readings: readonly Reading[]): Promise<readonly RefusedReading[]> {
    this.first.push(...readings.slice(0, readingsShown - this.first.length));
    for (const { timestamp } of readings) {
      this.earliest = Math.min(this.earliest, timestamp);
      this.latest = Math.max(this.latest, timestamp);
    }
    return [];
  }

  async settle(): Promise<undefined> {}
}

const readingsShown = 5;
