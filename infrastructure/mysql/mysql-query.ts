import type { Connection, QueryError, QueryOptions, ResultSetHeader, RowDataPacket } from 'mysql2';

/** The rows of a statement that has any, else the counts of what it did. */
export type Result = RowDataPacket[] | ResultSetHeader;

/** One statement, its parameters written into the text: lengths of lists vary too much to prepare statements. */
export const query = (connection: Connection, options: QueryOptions): Promise<Result> =>
  settled((done) => connection.query(options, done));

/** One statement that the server keeps prepared; for texts that come again and again. */
export const execute = (connection: Connection, options: QueryOptions): Promise<Result> =>
  settled((done) => connection.execute(options, done));

type Done = (error: QueryError | null, result: Result & RowDataPacket[]) => void;

function settled(start: (done: Done) => void): Promise<Result> {
  return new Promise((resolve, reject) => {
    start((error, result) => {
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
