import { Readable } from 'node:stream';
import { type CsvError, type Info, parse } from 'csv-parse';
import { UsageError } from '../exit-codes.ts';
import { type BrokenRow, greatestRecord, type Row, type Rows } from './cells.ts';

type Cells = { readonly line: number; readonly cells: readonly string[] };

/** Delimited text under a line of column names. Throws `UsageError` when there is no such line. */
export async function csvRows(text: AsyncIterable<string>, delimiter: string): Promise<Rows> {
  const records = csvRecords(text, delimiter);
  const { value: first } = await records.next();
  if (!first) throw new UsageError('there is no line of column names');
  if ('fault' in first) throw new UsageError(`the line of column names ${first.fault}`);
  const header = first.cells.map((name) => name.trim());
  const twice = header.find((name, i) => header.indexOf(name) !== i);
  if (twice !== undefined) throw new UsageError(`two columns are named "${twice}"`);
  return { header, rows: namedRows(records, header) };
}

async function* namedRows(
  records: AsyncIterable<Cells | BrokenRow>,
  header: readonly string[],
): AsyncGenerator<Row | BrokenRow> {
  for await (const record of records) {
    if ('fault' in record) yield record;
    else if (record.cells.length === header.length)
      yield {
        line: record.line,
        values: Object.fromEntries(header.map((name, i) => [name, record.cells[i]])),
      };
    else yield { line: record.line, fault: `has ${record.cells.length} cells for ${header.length} columns` };
  }
}

/** Records as they are written. What cannot be one ends them: a quote that is never closed holds all that follows. */
async function* csvRecords(
  text: AsyncIterable<string>,
  delimiter: string,
): AsyncGenerator<Cells | BrokenRow, undefined> {
  let last: BrokenRow | undefined;
  const parser = parse({
    delimiter,
    info: true,
    relax_column_count: true,
    // Else one stray quote would swallow the lines up to the next one.
    relax_quotes: true,
    skip_empty_lines: true,
    skip_records_with_error: true,
    max_record_size: greatestRecord,
  });
  const source = Readable.from(text);
  source.on('error', (error) => parser.destroy(error));
  source.pipe(parser);
  parser.on('skip', ({ code, message }: CsvError) => {
    // One without end is complained of at every further character.
    if (last) return;
    last = { line: parser.info.lines, fault: faults[code as keyof typeof faults] ?? message };
    source.unpipe(parser).destroy();
    parser.end();
  });
  try {
    for await (const { info, record } of parser as AsyncIterable<{ info: Info; record: string[] }>) {
      if (last && info.lines >= last.line) break;
      yield { line: info.lines, cells: record };
    }
    if (last) yield last;
  } finally {
    source.destroy();
  }
}

const unclosed = 'a quote that was opened before is never closed, so nothing after it was read';
const faults = {
  CSV_QUOTE_NOT_CLOSED: `ends the file, but ${unclosed}`,
  CSV_MAX_RECORD_SIZE: `ends a record of more than ${greatestRecord} characters; perhaps ${unclosed}`,
} as const;
