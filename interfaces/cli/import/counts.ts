/** Why a line of a file did not become a reading. */
export type RefusedLine = {
  readonly file: string;
  readonly line: number;
  readonly column?: string;
  readonly reason: string;
};

/** What became of the lines of one import so far: each is counted once, as accepted, refused or empty. */
export type Tally = {
  readonly files: FileTally[];
  readonly devices: Set<string>;
  registered: number;
  /** The first of them. */
  readonly refusals: RefusedLine[];
};

export type FileTally = {
  readonly file: string;
  accepted: number;
  refused: number;
  /** Lines without a value in any column that was asked for. */
  empty: number;
  /** Columns of text that nobody asked for. */
  leftOut: readonly string[];
};

export type Totals = {
  readonly lines: number;
  readonly accepted: number;
  readonly refused: number;
  readonly empty: number;
};

export const newTally = (): Tally => ({ files: [], devices: new Set(), registered: 0, refusals: [] });

export function newFileTally(file: string): FileTally {
  return { file, accepted: 0, refused: 0, empty: 0, leftOut: [] };
}

export function totals(files: readonly FileTally[]): Totals {
  const sum = (field: 'accepted' | 'refused' | 'empty') =>
    files.reduce((total, file) => total + file[field], 0);
  const [accepted, refused, empty] = [sum('accepted'), sum('refused'), sum('empty')];
  return { lines: accepted + refused + empty, accepted, refused, empty };
}
