import { Readable } from 'node:stream';
import { type CsvError, type Info, parse } from 'csv-parse';
import { UsageError } from '../exit-codes.ts';
import { type BrokenRow, greatestRecord, type Row, type Rows } from './rows.ts';

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

/** Records as they are written; those that break the rules of quoting come as broken ones, in their place. */
async function* csvRecords(
  text: AsyncIterable<string>,
  delimiter: string,
): AsyncGenerator<Cells | BrokenRow, undefined> {
  const broken: BrokenRow[] = [];
  let lastBroken = 0;
  let endless: number | undefined;
  const parser = parse({
    delimiter,
    info: true,
    relax_column_count: true,
    skip_empty_lines: true,
    skip_records_with_error: true,
    max_record_size: greatestRecord,
  });
  const source = Readable.from(text);
  source.on('error', (error) => parser.destroy(error));
  source.pipe(parser);
  parser.on('skip', ({ code, message }: CsvError) => {
    const { lines: line } = parser.info;
    // One line can be complained of many times; one without end is complained of at every further character.
    if (endless !== undefined || line === lastBroken) return;
    lastBroken = line;
    broken.push({ line, fault: faults[code as keyof typeof faults] ?? message });
    if (code !== 'CSV_MAX_RECORD_SIZE') return;
    endless = line;
    source.unpipe(parser).destroy();
    parser.end();
  });
  try {
    for await (const { info, record } of parser as AsyncIterable<{ info: Info; record: string[] }>) {
      // The parser is ahead of what has been taken from it.
      while (broken[0] && broken[0].line < info.lines) yield broken.shift() as BrokenRow;
      if (endless !== undefined && info.lines >= endless) break;
      yield { line: info.lines, cells: record };
    }
    yield* broken;
  } finally {
    source.destroy();
  }
}

const faults = {
  CSV_INVALID_CLOSING_QUOTE: 'has text after a closing quote',
  CSV_NON_TRIMABLE_CHAR_AFTER_CLOSING_QUOTE: 'has text after a closing quote',
  INVALID_OPENING_QUOTE: 'has a quote inside text that is not quoted',
  CSV_QUOTE_NOT_CLOSED: 'ends the file inside a quote that was opened before and never closed',
  CSV_MAX_RECORD_SIZE: `makes a record of more than ${greatestRecord} characters, perhaps after a quote that is never closed: nothing after it was read`,
} as const;
