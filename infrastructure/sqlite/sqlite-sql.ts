import { setTimeout as pause } from 'node:timers/promises';
import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import type { Sql, SqlDatabase, SqlValue } from '../sql/sql.ts';
import { SqliteConnection } from './sqlite-connection.ts';
import { openForReading, openSqliteFile, type SqliteFile } from './sqlite-file.ts';

/**
 * Not `FULL`: rows and the checkpoint they reach to are one transaction, so what a power failure takes back is
 * consumed from the log again. The tables themselves are the business of `infrastructure/sql/schema.ts`.
 */
const readModelsFile = (path: string): SqliteFile => ({
  path,
  synchronous: 'NORMAL',
  // Rows of a device stand together and change together: larger pages are fewer to write.
  pageBytes: 8192,
  checkpointBytes: 80 * 1024 * 1024,
  cache: 65_536,
  migrations: [],
});

/**
 * Milliseconds between two tries to begin a transaction while another thread or process has one, and for how long to
 * try. SQLite's own waiting would block this thread, and sleep through the moments in which the file is free.
 */
const beginRetry = { every: 2, within: 30_000 };

/** Connections kept for the next stream or snapshot; more are opened when more are read at once. */
const idleConnections = 4;

/**
 * A SqlDatabase in one file. One connection writes, in one transaction at a time; others read what is committed,
 * and never wait for it. Inside a transaction's work only its own handle may write: any other waits for its end.
 */
export class SqliteSql implements SqlDatabase {
  readonly dialect = 'sqlite';
  readonly #path: string;
  readonly #writer: SqliteConnection | undefined;
  readonly #reader: SqliteConnection;
  readonly #idle: SqliteConnection[] = [];
  #lastTurn: Promise<unknown> = Promise.resolve();
  #closed = false;

  /** `readOnly` needs a file that is there already. Throws `StartupError`. */
  constructor(path: string, { readOnly = false }: { readonly readOnly?: boolean } = {}) {
    this.#path = path;
    if (!readOnly) this.#writer = writerOf(path);
    this.#reader = this.#connect();
  }

  async all<Row>(text: string, params?: readonly SqlValue[]): Promise<Row[]> {
    return this.#reader.all<Row>(text, params);
  }

  async rows<Row extends readonly unknown[]>(text: string, params?: readonly SqlValue[]): Promise<Row[]> {
    return this.#reader.rows<Row>(text, params);
  }

  run(text: string, params?: readonly SqlValue[]): Promise<number> {
    return this.transaction((tx) => tx.run(text, params));
  }

  /** On a connection of its own: beside its snapshot, other queries on that connection would not see newer rows. */
  async *stream<Row extends readonly unknown[]>(
    text: string,
    params?: readonly SqlValue[],
  ): AsyncGenerator<Row[], void> {
    const connection = this.#borrow();
    try {
      yield* connection.stream<Row>(text, params);
    } finally {
      this.#giveBack(connection);
    }
  }

  write(...args: Parameters<Sql['write']>): Promise<void> {
    return this.transaction((tx) => tx.write(...args));
  }

  transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new ReadModelsUnavailable(`${this.#path} is closed`));
    const writer = this.#writer;
    if (!writer) return Promise.reject(new Error(`${this.#path} was opened for reading only`));
    const turn = this.#lastTurn.then(() => transact(writer, work));
    this.#lastTurn = turn.catch(() => undefined);
    return turn;
  }

  async snapshot<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    const connection = this.#borrow();
    const { tx, end } = handleOf(connection);
    try {
      await connection.run('BEGIN');
      return await work(tx);
    } finally {
      end();
      connection.rollback();
      this.#giveBack(connection);
    }
  }

  /** Waits for transactions asked for before. Streams and snapshots still read end when they are left. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#lastTurn;
    for (const connection of [this.#writer, this.#reader, ...this.#idle]) connection?.close();
  }

  /** A connection for one who reads for longer than a call. */
  #borrow(): SqliteConnection {
    if (this.#closed) throw new ReadModelsUnavailable(`${this.#path} is closed`);
    return this.#idle.pop() ?? this.#connect();
  }

  #giveBack(connection: SqliteConnection): void {
    if (this.#closed || this.#idle.length >= idleConnections) connection.close();
    else this.#idle.push(connection);
  }

  #connect(): SqliteConnection {
    return new SqliteConnection(openForReading(this.#path), this.#path);
  }
}

function writerOf(path: string): SqliteConnection {
  const db = openSqliteFile(readModelsFile(path));
  db.exec('PRAGMA busy_timeout = 0');
  return new SqliteConnection(db, path);
}

async function transact<T>(writer: SqliteConnection, work: (tx: Sql) => Promise<T>): Promise<T> {
  for (const deadline = Date.now() + beginRetry.within; !writer.tryBegin(); ) {
    if (Date.now() > deadline) throw new ReadModelsUnavailable('Others keep writing to the read models');
    await pause(beginRetry.every);
  }
  const { tx, end } = handleOf(writer);
  try {
    const result = await work(tx);
    writer.commit();
    return result;
  } catch (error) {
    writer.rollback();
    throw error;
  } finally {
    end();
  }
}

/** `connection` for the time of one transaction: what is kept and used after `end` is refused. */
function handleOf(connection: SqliteConnection): { readonly tx: Sql; end(): void } {
  let over = false;
  const live = (): SqliteConnection => {
    if (over) throw new Error('This transaction is over');
    return connection;
  };
  return {
    tx: {
      dialect: connection.dialect,
      all: async (...args) => live().all(...args),
      rows: async (...args) => live().rows(...args),
      run: async (...args) => live().run(...args),
      stream: (...args) => live().stream(...args),
      write: async (...args) => live().write(...args),
    },
    end() {
      over = true;
    },
  };
}
