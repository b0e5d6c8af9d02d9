import type { Reading } from './reading.ts';

/** Takes back what a device said of a time range; the readings themselves stay in the log. */
export type Retraction = {
  readonly deviceId: string;
  /** Every metric when absent. */
  readonly metric?: string;
  /** Epoch milliseconds, inclusive. */
  readonly from: number;
  /** Epoch milliseconds, exclusive. */
  readonly to: number;
  readonly reason: string;
};

// Type names and field names below are stored for ever. Add; never rename.
export type TelemetryEvent =
  | { readonly type: 'TelemetryRecorded'; readonly data: Reading }
  | { readonly type: 'TelemetryRetracted'; readonly data: Retraction };
