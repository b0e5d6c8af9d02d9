import type { Connection, QueryError, QueryOptions, ResultSetHeader, RowDataPacket } from 'mysql2';

/** The rows of a statement that has any, else the counts of what it did. */
export type Result = RowDataPacket[] | ResultSetHeader;

export type Statement = QueryOptions & {
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
export function shortened(error: Error): Error {
  const { sql } = error as { sql?: string };
  return sql && sql.length > 500 ? Object.assign(error, { sql: `${sql.slice(0, 500)}…` }) : error;
}
