import type { ColumnReport } from './columns.ts';

/** Why a line of a file did not become a reading. */
export type RefusedLine = {
  readonly file: string;
  readonly line: number;
  readonly column?: string;
  readonly reason: string;
  /** The earlier line that says something else of the same device, time and metric. */
  readonly conflictsWith?: { readonly file: string; readonly line: number };
};

/** What became of the lines of one import so far: each is counted once, as accepted, refused or empty. */
export type ImportCounts = {
  readonly files: FileCounts[];
  readonly devices: Set<string>;
  registered: number;
  /** The first of them. */
  readonly refusals: RefusedLine[];
};

export type FileCounts = {
  readonly file: string;
  readonly columns: readonly ColumnReport[];
  readonly notes: readonly string[];
  accepted: number;
  refused: number;
  /** Lines without a value in any column that was asked for. */
  empty: number;
  /** What the accepted lines made: several lines of one device and time are one. */
  readings: number;
  /** Accepted lines that say only what lines before said. */
  repeated: number;
  /** Refused lines that contradict a line before. */
  conflicts: number;
  /** Accepted lines that contradict a line before, which was asked for. */
  overwriting: number;
};

const summed = [
  'accepted',
  'refused',
  'empty',
  'readings',
  'repeated',
  'conflicts',
  'overwriting',
] as const satisfies readonly (keyof FileCounts)[];

export type Totals = Readonly<Record<(typeof summed)[number] | 'lines', number>>;

export const newCounts = (): ImportCounts => ({ files: [], devices: new Set(), registered: 0, refusals: [] });

export function newFileCounts(
  file: string,
  columns: readonly ColumnReport[],
  notes: readonly string[],
): FileCounts {
  const none = { accepted: 0, refused: 0, empty: 0, readings: 0, repeated: 0, conflicts: 0, overwriting: 0 };
  return { file, columns, notes, ...none };
}

export function totals(files: readonly FileCounts[]): Totals {
  const sum = (field: (typeof summed)[number]) => files.reduce((total, file) => total + file[field], 0);
  const counts = Object.fromEntries(summed.map((field) => [field, sum(field)])) as Omit<Totals, 'lines'>;
  return { lines: counts.accepted + counts.refused + counts.empty, ...counts };
}

/** Columns that hold something and are not imported, although nobody said so. */
export const leftOut = ({ columns }: Pick<FileCounts, 'columns'>): readonly ColumnReport[] =>
  columns.filter(({ is }) => is === 'left out');
