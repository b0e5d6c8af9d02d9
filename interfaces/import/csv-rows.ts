import { once } from 'node:events';
import { type CastingContext, type CsvError, type Info, parse } from 'csv-parse';
import type { MetricValue } from '../../domain/telemetry.ts';
import { isExact } from '../exact-json.ts';
import {
  type BrokenRow,
  greatestRecord,
  type InputRows,
  isDecimal,
  type Row,
  type RowChunks,
} from './cells.ts';
import { isNameless } from './columns.ts';
import { type CsvDialect, type CsvOptions, csvDialect } from './csv-dialect.ts';
import { UnusableInput } from './unusable-input.ts';

type Cell = string | MetricValue | bigint | null;
type Cells = { readonly line: number; readonly cells: readonly Cell[] };
type Records = Generator<Cells | BrokenRow, void>;

/** Enough to find out how a file is written. */
const startLength = 65_536;

/** Delimited text under a line of column names. Throws `UnusableInput` when there is no such line. */
export async function csvRows(text: AsyncIterable<string>, options: CsvOptions): Promise<InputRows> {
  const { start, whole } = await peeked(text, startLength);
  const dialect = csvDialect(start, options);
  const table = new CsvTable(dialect);
  const chunks = csvRecords(whole, dialect);
  const commaIsFree = dialect.delimiter !== ',';
  let first: readonly (Row | BrokenRow)[] = [];
  while (table.header === undefined) {
    const next = await chunks.next();
    if (next.done) throw new UnusableInput('there is no line of column names');
    first = [...table.rows(next.value)];
  }
  return { header: table.header, commaIsFree, notes: dialect.notes, rows: rows() };

  async function* rows(): RowChunks {
    try {
      yield first;
      first = [];
      for await (const records of chunks) yield table.rows(records);
    } finally {
      await chunks.return();
    }
  }
}

/** At least so many characters of the text, or all, without taking them from what follows. */
export async function peeked(
  text: AsyncIterable<string>,
  length: number,
): Promise<{ readonly start: string; readonly whole: AsyncGenerator<string> }> {
  const chunks = text[Symbol.asyncIterator]();
  let start = '';
  for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
    start += next.value;
    if (start.length >= length) break;
  }
  return { start, whole: rejoined() };

  async function* rejoined(): AsyncGenerator<string> {
    try {
      yield start;
      for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value;
    } finally {
      await chunks.return?.();
    }
  }
}

/** The columns that records are of, which in annotated CSV change from table to table. */
class CsvTable {
  #names: readonly string[] | undefined;
  #toSkip: number;
  readonly #isAnnotated: boolean;
  #headerFollows = true;

  constructor({ skipRows, isAnnotated }: CsvDialect) {
    this.#toSkip = skipRows;
    this.#isAnnotated = isAnnotated;
  }

  /** Of the first table, once its line was read. */
  get header(): readonly string[] | undefined {
    return this.#names;
  }

  /** Throws `UnusableInput` when the line of column names is none. */
  *rows(records: Iterable<Cells | BrokenRow>): Generator<Row | BrokenRow> {
    for (const record of records) {
      if ('fault' in record) {
        if (!this.#names) throw new UnusableInput(`the line of column names ${record.fault}`);
        yield record;
      } else if (this.#isAnnotated && isAnnotation(record.cells)) this.#headerFollows = true;
      else if (this.#headerFollows || !this.#names) {
        this.#names = columnNames(record.cells);
        this.#headerFollows = false;
      } else if (this.#toSkip > 0) this.#toSkip -= 1;
      else yield namedRow(record, this.#names);
    }
  }
}

const isAnnotation = ([first]: readonly Cell[]): boolean => String(first).startsWith('#');

/** Each column has a name of its own: `#3` is the third that has none, `temp#2` the second called temp. */
function columnNames(cells: readonly Cell[]): readonly string[] {
  const seen = new Map<string, number>();
  return cells.map((cell, i) => {
    const name = String(cell).trim() || `#${i + 1}`;
    const times = (seen.get(name) ?? 0) + 1;
    seen.set(name, times);
    return times === 1 ? name : `${name}#${times}`;
  });
}

/** Cells beyond the last name are left out where they are empty, and missing ones are empty where they have no name. */
function namedRow({ line, cells }: Cells, names: readonly string[]): Row | BrokenRow {
  const extra =
    cells.length > names.length && cells.slice(names.length).some((cell) => String(cell ?? '').trim() !== '');
  const missing = names.slice(cells.length).some((name) => !isNameless(name));
  if (extra || missing)
    return { line, fault: `has ${cells.length} cells for ${names.length} columns`, cells };
  return { line, values: Object.fromEntries(names.map((name, i) => [name, cells[i]])) };
}

/** Control characters of Fieldlog's own export, which writes them as `\u001b`, and a backslash before such a text as `\u005c`. */
const unescaped = (text: string): string =>
  text.replaceAll(/\\u(00(?:[01][0-9a-f]|5c|7f|[89][0-9a-f]))/g, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  );

/** Records as they are written. What cannot be one ends them: a quote that is never closed holds all that follows. */
async function* csvRecords(text: AsyncIterable<string>, dialect: CsvDialect): AsyncGenerator<Records, void> {
  const { delimiter, lineEnds, skip, comment, exportedValue } = dialect;
  let last: BrokenRow | undefined;
  const parser = parse({
    delimiter,
    record_delimiter: [...lineEnds],
    comment: comment ?? null,
    comment_no_infix: true,
    info: true,
    relax_column_count: true,
    // Else one stray quote would swallow the lines up to the next one.
    relax_quotes: true,
    skip_empty_lines: true,
    skip_records_with_error: true,
    max_record_size: greatestRecord,
    ...(exportedValue !== undefined && {
      cast: (text: string, { index, quoting }: CastingContext) =>
        index !== exportedValue ? text : quoting ? unescaped(text) : exported(text),
    }),
  });
  parser.on('skip', ({ code, message }: CsvError) => {
    // One without end is complained of at every further character.
    last ??= { line: skip + parser.info.lines, fault: faults[code as keyof typeof faults] ?? message };
  });
  try {
    for await (const chunk of withoutLines(text, skip, lineEnds.at(-1) ?? '\n')) {
      // It is parsed at once, and all of its records can be read before more is written.
      parser.write(chunk);
      yield records();
      if (last) return;
    }
    const ended = once(parser, 'readable');
    parser.end();
    await ended;
    yield records();
  } finally {
    parser.destroy();
  }

  function* records(): Records {
    for (let found = parser.read(); found !== null; found = parser.read()) {
      const { info, record } = found as { readonly info: Info; readonly record: Cell[] };
      const line = skip + info.lines;
      if (last && line >= last.line) break;
      yield { line, cells: record };
    }
    if (last) yield last;
  }
}

/** A value without quotes, as exports write it. */
function exported(text: string): Cell {
  if (text === '') return null;
  if (text === 'true' || text === 'false') return text === 'true';
  if (!isDecimal(text)) return text;
  const number = Number(text);
  return isExact(text, number) ? number : BigInt(text);
}

const unclosed = 'a quote that was opened before is never closed, so nothing after it was read';
const faults = {
  CSV_QUOTE_NOT_CLOSED: `ends the file, but ${unclosed}`,
  CSV_MAX_RECORD_SIZE: `ends a record of more than ${greatestRecord} characters; perhaps ${unclosed}`,
} as const;

async function* withoutLines(
  text: AsyncIterable<string>,
  count: number,
  lineEnd: string,
): AsyncGenerator<string> {
  let left = count;
  for await (const chunk of text) {
    let at = 0;
    while (left > 0 && at !== -1) {
      const end = chunk.indexOf(lineEnd, at);
      at = end === -1 ? -1 : end + 1;
      if (at !== -1) left -= 1;
    }
    if (at !== -1) yield chunk.slice(at);
  }
}
