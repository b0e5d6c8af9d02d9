import type { Reading } from '../../domain/telemetry.ts';
import type { ColumnReport } from './columns.ts';
import { type ImportCounts, leftOut, type RefusedLine, type Totals, totals } from './counts.ts';
import type { DryRunSink } from './reading-sink.ts';

export type ImportReport = Totals & {
  readonly into: string;
  readonly files: readonly (Totals & {
    readonly file: string;
    /** Columns that hold something and were not imported. */
    readonly leftOut: readonly string[];
    readonly columns: readonly ColumnReport[];
    /** What was found out about the file and not asked for. */
    readonly notes: readonly string[];
  })[];
  readonly devices: number;
  readonly registered: number;
  /** The first of them. */
  readonly refusals: readonly RefusedLine[];
  /** Readings older than their points are kept: accepted, but in no table. `null` when that is unknown. */
  readonly late: number | null;
  readonly seconds: number;
  /** All files were read to their end and are in the read models. */
  readonly complete: boolean;
  /** Of a dry run: how the first readings would be stored, and the range of all times. */
  readonly dryRun?: DryRun;
};

export type DryRun = {
  readonly first: readonly (Omit<Reading, 'timestamp'> & { readonly timestamp: string })[];
  readonly earliest: string | null;
  readonly latest: string | null;
};

export function importReport(
  { files, devices, registered, refusals }: ImportCounts,
  into: string,
  milliseconds: number,
  complete: boolean,
  late: number | undefined,
): ImportReport {
  return {
    into,
    files: files.map((file) => ({
      file: file.file,
      ...totals([file]),
      leftOut: leftOut(file).map(({ column }) => column),
      columns: file.columns,
      notes: file.notes,
    })),
    ...totals(files),
    devices: devices.size,
    registered,
    refusals,
    late: late ?? null,
    seconds: Math.round(milliseconds) / 1000,
    complete,
  };
}

export function dryRunReport(report: ImportReport, { first, earliest, latest }: DryRunSink): ImportReport {
  const time = (at: number) => (Number.isFinite(at) ? new Date(at).toISOString() : null);
  const readings = first.map(({ deviceId, timestamp, metrics }) => ({
    deviceId,
    timestamp: new Date(timestamp).toISOString(),
    metrics,
  }));
  return { ...report, dryRun: { first: readings, earliest: time(earliest), latest: time(latest) } };
}

/** Whether everything that the files hold is where it was meant to be. */
export const isWhole = ({ refused, files, late }: ImportReport): boolean =>
  refused === 0 && files.every((file) => file.leftOut.length === 0) && (late ?? 0) === 0;
