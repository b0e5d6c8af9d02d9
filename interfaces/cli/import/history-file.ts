import type { ColumnOptions } from './columns.ts';
import { type InputFormat, ofFile, openInput } from './input-file.ts';
import { type RowMapping, rowMapping } from './row-mapping.ts';
import { type BrokenRow, isBroken, type Row } from './rows.ts';
import type { TimeReader } from './timestamps.ts';

/** A file of records and what they mean. */
export type HistoryFile = {
  readonly name: string;
  /** Bytes; `undefined` for standard input. */
  readonly size: number | undefined;
  bytesRead(): number;
  readonly rows: AsyncIterable<Row | BrokenRow>;
  readonly mapping: RowMapping;
};

export type HistoryOptions = {
  readonly format: InputFormat;
  /** What follows from the file's name when absent. */
  readonly delimiter: string | undefined;
  readonly columns: ColumnOptions;
  readonly time: TimeReader;
};

/** Rows by whose cells it is decided what a column holds. */
const sampleSize = 1000;

/** Throws `UsageError` when the file cannot be read, or its columns do not say enough. */
export async function openHistory(
  path: string,
  { format, delimiter, columns, time }: HistoryOptions,
  signal: AbortSignal,
): Promise<HistoryFile> {
  const { name, size, bytesRead, header, rows } = await openInput(path, format, delimiter, signal);
  const rest = rows[Symbol.asyncIterator]();
  const sample = await firstOf(rest, sampleSize);
  const whole = sample.filter((row): row is Row => !isBroken(row));
  const mapping = ofFile(name, () => rowMapping(header, whole, columns, time));
  return { name, size, bytesRead, rows: joined(sample, rest), mapping };
}

async function firstOf<Item>(items: AsyncIterator<Item>, count: number): Promise<Item[]> {
  const first: Item[] = [];
  while (first.length < count) {
    const next = await items.next();
    if (next.done) break;
    first.push(next.value);
  }
  return first;
}

async function* joined<Item>(first: readonly Item[], rest: AsyncIterator<Item>): AsyncGenerator<Item> {
  try {
    yield* first;
    for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}
