import { isExportOfPoints } from './columns.ts';

/** How delimited text is written, as far as the caller says it. */
export type CsvOptions = {
  readonly delimiter: string | undefined;
  /** Lines before the column names. */
  readonly skip: number;
  /** Rows after the column names, such as one of units. */
  readonly skipRows: number;
  /** Lines that begin with it are left out. */
  readonly comment: string | undefined;
};

export type CsvDialect = Omit<CsvOptions, 'delimiter'> & {
  readonly delimiter: string;
  readonly lineEnds: readonly string[];
  /** Annotated CSV of InfluxDB: tables follow each other, each under lines that begin with `#` and a header of its own. */
  readonly isAnnotated: boolean;
  /** The place of the values in Fieldlog's own export, where text that looks like a number is quoted. */
  readonly exportedValue: number | undefined;
  /** What was found out and not asked for, for people. */
  readonly notes: readonly string[];
};

/** In the order they are preferred where several fit: a comma may also be a decimal point. */
const delimiters = ['\t', ';', '|', ','] as const;
const names: Readonly<Record<string, string>> = { '\t': 'tab' };
const linesCompared = 20;

/** Settles what `options` leave open by the first characters of a file, byte order mark taken off. */
export function csvDialect(start: string, options: CsvOptions): CsvDialect {
  const lineEnds = /\n/.test(start) || !start.includes('\r') ? ['\r\n', '\n'] : ['\r'];
  const lines = start.split(lineEnds[0] === '\r' ? '\r' : /\r?\n/);
  const dialect = { ...options, lineEnds, isAnnotated: false, exportedValue: undefined };

  const separator = /^sep=(.)$/i.exec(lines[0] ?? '')?.[1];
  if (separator !== undefined && options.skip === 0)
    return { ...dialect, skip: 1, delimiter: options.delimiter ?? separator, notes: [] };
  const delimiter = options.delimiter ?? guessed(lines.slice(options.skip).filter(isRecord(options.comment)));
  const notes =
    delimiter === ',' || options.delimiter !== undefined
      ? []
      : [`columns are separated by ${names[delimiter] ?? `"${delimiter}"`}`];
  if (options.skip === 0 && /^"?TOA5"?,/.test(start))
    return {
      ...dialect,
      skip: 1,
      skipRows: options.skipRows + 2,
      delimiter,
      notes: [...notes, 'TOA5: the lines of station, units and processing are left out'],
    };
  if (options.comment === undefined && /^\s*#(datatype|group|default)\b/.test(start))
    return { ...dialect, delimiter, isAnnotated: true, notes: [...notes, 'annotated CSV of InfluxDB'] };
  const header = (lines[options.skip] ?? '').split(delimiter);
  return {
    ...dialect,
    delimiter,
    exportedValue: isExportOfPoints(header) ? header.indexOf('value') : undefined,
    notes,
  };
}

const isRecord = (comment: string | undefined) => (line: string) =>
  line.trim() !== '' && (comment === undefined || !line.startsWith(comment));

/** The character that separates as many cells in the first lines as in the line of column names. */
function guessed(lines: readonly string[]): string {
  const [header = '', ...rows] = lines.slice(0, linesCompared + 1);
  // The last line may have been cut off.
  const compared = rows.length > 1 ? rows.slice(0, -1) : rows;
  const fitting = delimiters
    .map((char) => {
      const columns = countOutsideQuotes(header, char);
      const alike = compared.filter((row) => countOutsideQuotes(row, char) >= columns).length;
      return { char, columns, fits: columns > 0 && 2 * alike >= compared.length };
    })
    .filter(({ fits }) => fits);
  return fitting[0]?.char ?? ',';
}

function countOutsideQuotes(line: string, char: string): number {
  let count = 0;
  let quoted = false;
  for (const one of line)
    if (one === '"') quoted = !quoted;
    else if (one === char && !quoted) count += 1;
  return count;
}
