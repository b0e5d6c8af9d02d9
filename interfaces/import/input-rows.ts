import type { InputFormat, InputRows } from './cells.ts';
import type { CsvOptions } from './csv-dialect.ts';
import { csvRows, peeked } from './csv-rows.ts';
import { decoded, decompressed, isParquet } from './decoding.ts';
import type { InputFile } from './input-file.ts';
import { jsonRows, ndjsonRows } from './json-rows.ts';
import { UnusableInput } from './unusable-input.ts';

/** How a file is written, as far as the caller says it. */
export type InputOptions = {
  readonly format: InputFormat;
  readonly encoding: string | undefined;
  readonly csv: CsvOptions;
  /** Member names that lead to the array of records in JSON. */
  readonly records: readonly string[];
  /** How much is taken of a file that may be anybody's; without limits when absent. */
  readonly limits?: { readonly inflatedBytes: number; readonly groupCells: number };
};

/** The records of a file, from its beginning; ends early when `signal` is aborted. Throws `UnusableInput`. */
export async function inputRowsOf(
  input: InputFile,
  options: InputOptions,
  signal: AbortSignal,
): Promise<InputRows> {
  const { format, encoding, records, limits } = options;
  if (format === 'parquet' || (format === 'auto' && isParquet(Buffer.from(await input.slice(0, 4)))))
    return parquet(input, signal, limits?.groupCells);
  const bytes = await decompressed(input.chunks(signal), limits?.inflatedBytes);
  const { text, notes } = await decoded(bytes.bytes, encoding);
  const { start, whole } = await peeked(text, startLength);
  if (start.trim() === '') throw new UnusableInput('there is nothing in it');
  const rows = await ofText(whole, format === 'auto' ? formatOf(start, records) : format, options, input);
  return { ...rows, notes: [...bytes.notes, ...notes, ...rows.notes] };
}

async function parquet(
  input: InputFile,
  signal: AbortSignal,
  mostCells: number | undefined,
): Promise<InputRows> {
  const { parquetRows } = await import('./parquet-rows.ts');
  return parquetRows(
    { byteLength: input.size, slice: (start, end = input.size) => input.slice(start, end) },
    signal,
    mostCells,
  );
}

async function ofText(
  text: AsyncGenerator<string>,
  format: InputFormat,
  { csv, records }: InputOptions,
  { path }: InputFile,
): Promise<InputRows> {
  if (format === 'csv') {
    const delimiter = csv.delimiter ?? (/\.(tsv|tab)(\.(gz|zst))?$/i.test(path) ? '\t' : undefined);
    return csvRows(text, { ...csv, delimiter });
  }
  const rows = format === 'json' ? jsonRows(text, records) : ndjsonRows(text);
  return { header: undefined, commaIsFree: false, notes: [], rows };
}

/** Enough to find out what a file holds. */
const startLength = 65_536;

/** No line of column names starts like JSON. Where most lines are values of their own, each line is one. */
function formatOf(start: string, records: readonly string[]): InputFormat {
  if (!/^\s*[[{]/.test(start)) return 'csv';
  if (records.length > 0 || /^\s*\[/.test(start)) return 'json';
  const lines = start.trim().split('\n');
  // The last one may have been cut off.
  const whole = lines.length > 1 && start.length >= startLength ? lines.slice(0, -1) : lines;
  const filled = whole.filter((line) => line.trim() !== '');
  return isValue(filled[0] ?? '') || 2 * filled.filter(isValue).length > filled.length || filled.length === 1
    ? 'ndjson'
    : 'json';
}

function isValue(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return /^\s*\{.*\}\s*\{.*\}\s*$/.test(line);
  }
}
