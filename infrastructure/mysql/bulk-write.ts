import { Readable } from 'node:stream';
import {
  type Connection,
  escapeId,
  escape as literal,
  type ResultSetHeader,
  type RowDataPacket,
} from 'mysql2';
import type { Rows, SqlValue, WriteMode } from '../sql/sql.ts';
import { execute, query } from './statements.ts';

export type BulkWrite = {
  readonly mode: WriteMode;
  readonly table: string;
  readonly columns: readonly string[];
  readonly rows: Rows;
};

/** Characters of a statement or of a chunk of a file: far below any server's `max_allowed_packet`. */
const chunkLength = 512 * 1024;

/** Rows of a prepared statement: one size only, for a server keeps each statement of each connection. */
const preparedRows = 250;

const identifier = (name: string): string => escapeId(name, true);
const columnList = ({ columns }: BulkWrite): string => `(${columns.map(identifier).join(',')})`;
const head = (write: BulkWrite): string =>
  `${write.mode === 'replace' ? 'REPLACE' : 'INSERT'} INTO ${identifier(write.table)} ${columnList(write)} VALUES `;

/** Follows the rows. */
const tail = ({ mode, columns }: BulkWrite): string =>
  mode === 'add'
    ? ` ON DUPLICATE KEY UPDATE ${columns
        .slice(2)
        .map(identifier)
        .map((name) => `${name} = ${name} + VALUES(${name})`)
        .join(', ')}`
    : '';

/**
 * Multi-row statements; a key that is taken, or a value that does not fit, is the server's error. Prepared where there
 * are rows enough, which takes the server two thirds of the time.
 */
export async function insertRows(connection: Connection, write: BulkWrite, timeout: number): Promise<void> {
  const { columns, rows } = write;
  const one = `(${columns.map(() => '?').join(',')})`;
  const prepared = head(write) + Array(preparedRows).fill(one).join(',') + tail(write);
  let block: (readonly SqlValue[])[] = [];
  for (const row of rows) {
    block.push(row);
    if (block.length < preparedRows) continue;
    const values = block.flatMap((row) => row.map((value) => (value === null ? null : `${value}`)));
    const length = values.reduce((sum, value) => sum + (value?.length ?? 0), 0);
    if (length < chunkLength) await execute(connection, { sql: prepared, values, timeout });
    else await insertText(connection, { ...write, rows: block }, timeout);
    block = [];
  }
  await insertText(connection, { ...write, rows: block }, timeout);
}

async function insertText(connection: Connection, write: BulkWrite, timeout: number): Promise<void> {
  const row = (values: readonly SqlValue[]) => `(${values.map((value) => literal(value)).join(',')})`;
  for (const values of chunks(write.rows, row, ','))
    await query(connection, { sql: head(write) + values + tail(write), timeout });
}

/**
 * LOAD DATA LOCAL of rows in memory: the connection may read a "file" for this one statement only, and gets these
 * rows whatever file the server names. LOCAL turns errors into warnings and skips rows whose key is taken, so the
 * counts decide; rows may then have been written all the same, and the transaction has to be rolled back.
 */
export async function loadRows(connection: Connection, write: BulkWrite, timeout: number): Promise<void> {
  const { mode, table, rows } = write;
  const { info, warningStatus } = (await query(connection, {
    sql: `LOAD DATA LOCAL INFILE 'rows' ${mode === 'replace' ? 'REPLACE' : ''} INTO TABLE ${identifier(table)}
      CHARACTER SET utf8mb4 FIELDS TERMINATED BY '\\t' ENCLOSED BY '' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n'
      ${columnList(write)}`,
    timeout,
    infileStreamFactory: () => Readable.from(file(rows), { objectMode: false }),
  })) as ResultSetHeader;
  const [records, , skipped] = info.match(/\d+/g)?.map(Number) ?? [];
  if (records === rows.length && skipped === 0 && warningStatus === 0) return;
  const [warning] = (await query(connection, { sql: 'SHOW WARNINGS LIMIT 1', timeout })) as RowDataPacket[];
  const message = `${mode} of ${rows.length} rows into ${table}: ${warning?.Message ?? 'not all taken'} (${info})`;
  throw Object.assign(new Error(message), { errno: warning?.Code ?? takenKey, sqlState: valueRefused });
}

/** Rows are skipped without a warning where their key is taken. */
const takenKey = 1062;
/** What would have been an error of the values is a warning with the same number. */
const valueRefused = '22000';

function* file(rows: Rows): Generator<Buffer> {
  for (const chunk of chunks(rows, line, '')) yield Buffer.from(chunk);
}

function line(row: readonly SqlValue[]): string {
  let text = field(row[0] as SqlValue);
  for (let i = 1; i < row.length; i += 1) text += `\t${field(row[i] as SqlValue)}`;
  return `${text}\n`;
}

function field(value: SqlValue): string {
  if (typeof value !== 'string') return value === null ? '\\N' : `${value}`;
  return special.test(value) ? value.replace(specials, (char) => escapes[char] as string) : value;
}

const special = /[\\\t\n\0]/;
const specials = new RegExp(special, 'g');
const escapes: Record<string, string> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\0': '\\0' };

/** The rows joined by `separator`, in chunks that end with the row that makes them long enough. */
function* chunks(
  rows: Rows,
  text: (row: readonly SqlValue[]) => string,
  separator: string,
): Generator<string> {
  let chunk = '';
  for (const row of rows) {
    chunk += chunk ? separator + text(row) : text(row);
    if (chunk.length < chunkLength) continue;
    yield chunk;
    chunk = '';
  }
  if (chunk) yield chunk;
}
