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

/**
 * What an error says of the transaction it came up in: `rolled-back`, the server has ended it and taken it back;
 * `lost`, the connection is unusable and the outcome of its last statement, a COMMIT included, is unknown;
 * `none`, the statement was wrong or refused.
 */
export type TransactionFault = 'rolled-back' | 'lost' | 'none';

const faults: ReadonlyMap<number, TransactionFault> = new Map([
  [1205, 'rolled-back'], // lock wait timeout
  [1213, 'rolled-back'], // deadlock
  [3101, 'rolled-back'], // MySQL's group replication: another member's transaction came first
  [1047, 'lost'], // a Galera node that is not in the cluster
  [1053, 'lost'], // shutdown in progress
  [1290, 'lost'], // read-only: what was the primary before a failover
  [1836, 'lost'], // the same, from a server put into read-only mode
  [1317, 'lost'], // statement interrupted, as a shutdown does
  [1927, 'lost'], // MariaDB: connection killed
  [3169, 'lost'], // MySQL: session killed
  [4031, 'lost'], // MySQL: disconnected for being idle
  [1969, 'lost'], // MariaDB: longer than max_statement_time
  [3024, 'lost'], // MySQL: longer than max_execution_time
  [3989, 'lost'], // MySQL: the database is read-only
  [3100, 'lost'], // MySQL's group replication: the group did not take the transaction
  [3781, 'lost'], // the same: a new primary did not catch up in time
  [3782, 'lost'], // the same: it was shut down meanwhile
  [3783, 'lost'], // the same: it failed meanwhile
  [3797, 'lost'], // the same: no consistency before the transaction
  [3798, 'lost'], // the same: no consistency after the transaction before
  [4094, 'lost'], // the same: the primary is being changed
]);

/** `fatal` is how the driver marks every error that ended a connection, and we one that has to be ended. */
export function faultOf(error: unknown): TransactionFault {
  if (!(error instanceof Error)) return 'none';
  const { errno, fatal } = error as { errno?: number; fatal?: boolean };
  if (fatal) return 'lost';
  return faults.get(errno ?? 0) ?? 'none';
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
