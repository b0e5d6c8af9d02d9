import { setImmediate as turn } from 'node:timers/promises';
import type { Connection, QueryError, QueryOptions, ResultSetHeader, RowDataPacket } from 'mysql2';

/** The rows of a statement that has any, else the counts of what it did. */
export type Result = RowDataPacket[] | ResultSetHeader;

type Statement = QueryOptions & {
  /** Milliseconds for an answer; without it in time the connection counts as lost, and has to be discarded. */
  readonly timeout: number;
};

/** One statement, its parameters written into the text: lengths of lists vary too much to prepare statements. */
export const query = (connection: Connection, statement: Statement): Promise<Result> =>
  settled(statement, (options, done) => connection.query(options, done));

/** One statement that the server keeps prepared; for texts that come again and again. */
export const execute = (connection: Connection, statement: Statement): Promise<Result> =>
  settled(statement, (options, done) => connection.execute(options, done));

type Done = (error: QueryError | null, result: Result & RowDataPacket[]) => void;

function settled(
  { timeout, ...options }: Statement,
  start: (options: QueryOptions, done: Done) => void,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    // Not the driver's own: when a connection is lost, its timer runs on and keeps the process from ending.
    const timer = setTimeout(() => {
      reject(Object.assign(new Error(`no answer within ${timeout} ms`), { fatal: true }));
    }, timeout);
    start(options, (error, result) => {
      clearTimeout(timer);
      if (error) reject(shortened(error));
      else resolve(result);
    });
  });
}

/** The driver attaches the statement, which can be megabytes of rows, and loggers print what is attached. */
function shortened(error: Error): Error {
  const { sql } = error as { sql?: string };
  return sql && sql.length > 500 ? Object.assign(error, { sql: `${sql.slice(0, 500)}…` }) : error;
}

/** Whether the server or the account may not run LOAD DATA LOCAL, in the words of MariaDB, MySQL and old releases. */
export const refusesLocalInfile = (error: unknown): boolean =>
  error instanceof Error && [4166, 3948, 1148].includes((error as { errno?: number }).errno ?? 0);

const chunkSize = 1000;
const chunksHeld = 2;

/**
 * A result's rows as arrays of their columns, in chunks, while it arrives; the socket is not read while two chunks
 * wait. When the caller leaves early, `abandon` says what becomes of the rest: with `drain` it is read and dropped,
 * so that the connection stays usable; any other function has to end the connection.
 */
export async function* rowChunks<Row extends readonly unknown[]>(
  connection: Connection,
  options: QueryOptions,
  abandon: 'drain' | (() => void),
): AsyncGenerator<Row[]> {
  const waiting: Row[][] = [];
  let filling: Row[] = [];
  let ended = false;
  let failure: Error | undefined;
  let dropping = false;
  let wake = () => {};

  const end = (error?: Error) => {
    failure ??= error;
    ended = true;
    wake();
  };
  // A broken connection emits an error on the connection only: the driver forgets statements that read by events.
  connection.on('error', end);
  const statement = connection.query({ ...options, rowsAsArray: true });
  statement.on('error', end);
  statement.on('end', () => end());
  statement.on('result', (row) => {
    if (dropping || filling.push(row as unknown as Row) < chunkSize) return;
    waiting.push(filling);
    filling = [];
    if (waiting.length >= chunksHeld) connection.pause();
    wake();
  });

  try {
    for (;;) {
      if (waiting.length === 0 && !ended) await new Promise<void>((resolve) => (wake = resolve));
      const chunk = waiting.shift();
      if (chunk) {
        if (!ended) connection.resume();
        yield chunk;
        // The next may have come with this one, and others have work to do in between.
        await turn();
      } else if (ended) {
        if (failure) throw shortened(failure);
        if (filling.length > 0) yield filling;
        return;
      }
    }
  } finally {
    if (!ended && abandon === 'drain') {
      dropping = true;
      connection.resume();
      while (!ended) await new Promise<void>((resolve) => (wake = resolve));
    } else if (!ended && abandon !== 'drain') abandon();
    connection.off('error', end);
  }
}
