/** One record of a file. `line` is where it ends in CSV and where it begins in JSON, from 1. */
export type Row = { readonly line: number; readonly values: Readonly<Record<string, unknown>> };

/** A record that cannot be read at all. */
export type BrokenRow = { readonly line: number; readonly fault: string };

/** What a file holds. `header` is told before the first row comes, `undefined` where rows name their own fields. */
export type Rows = {
  readonly header: readonly string[] | undefined;
  readonly rows: AsyncIterable<Row | BrokenRow>;
};

/** A record greater than this is refused, and memory stays flat over a file that is one endless line. */
export const greatestRecord = 1_048_576;

export const isBroken = (row: Row | BrokenRow): row is BrokenRow => 'fault' in row;
