import type { Metrics } from '../../../../domain/telemetry.ts';
import type { ImportReport } from '../../../../interfaces/import/report.ts';

/** A file, how it is imported, and what must come of it. */
export type Case = {
  readonly title: string;
  readonly file: string;
  readonly args?: readonly string[];
  /** By time as `2026-01-01T00:00` with seconds and what is finer only where they are not zero. */
  readonly readings?: readonly (readonly [time: string, metrics: Metrics, deviceId?: string])[];
  readonly code?: 0 | 1;
  readonly refused?: readonly (readonly [line: number, reason: RegExp])[];
  readonly leftOut?: readonly string[];
  readonly notes?: readonly RegExp[];
  readonly counts?: Partial<ImportReport>;
};

/** A file that makes no sense as it is, and what says so. */
export type Refused = {
  readonly title: string;
  readonly file: string;
  readonly args?: readonly string[];
  readonly says: RegExp;
};

/** A temperature a minute, from the first of 2026 on. */
export const minutes = (...values: readonly (Metrics[string] | undefined)[]) =>
  values.flatMap((value, i): [string, Metrics][] =>
    value === undefined ? [] : [[`2026-01-01T00:${String(i).padStart(2, '0')}`, { temperature: value }]],
  );
