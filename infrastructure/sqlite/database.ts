import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import type { Sql, SqlDatabase, SqlReader, SqlValue } from '../sql/sql.ts';
import { revocable, SqliteConnection } from './connection.ts';
import { type Creation, openForReading, openSqliteFile, readModelsFile } from './database-file.ts';
import { readModelsError } from './errors.ts';
import { stateOfReadModels } from './file-state.ts';
import { OpenFile } from './open-file.ts';
import { SqliteWriter } from './writer.ts';

type SqliteSqlOptions = Creation & {
  /** Needs a file that is there already. */
  readonly readOnly?: boolean;
  /** Bytes of pages that the connection which writes keeps in memory; 64 MiB when absent. */
  readonly writerCache?: number;
};

/** Pooled connections for streams and snapshots; more are opened when more are read at once. */
const idleConnections = 4;

/**
 * A SqlDatabase in one file. One connection writes, in a thread of its own and one transaction at a time; others read
 * what is committed, and never wait for it. Inside a transaction's work only its own handle may write: any other waits
 * for its end.
 */
export class SqliteSql implements SqlDatabase {
  readonly dialect = 'sqlite';
  readonly #path: string;
  readonly #readOnly: boolean;
  readonly #writerCache: number | undefined;
  /** From the first transaction on. */
  #writer: SqliteWriter | undefined;
  readonly #file: OpenFile;
  readonly #reader: SqliteConnection;
  readonly #idle: SqliteConnection[] = [];
  #closed = false;

  /** Throws `StartupError`. */
  constructor(path: string, { readOnly = false, create = true, writerCache }: SqliteSqlOptions = {}) {
    this.#path = path;
    this.#readOnly = readOnly;
    this.#writerCache = writerCache;
    if (!readOnly) openSqliteFile(readModelsFile(path), { create }).close();
    this.#reader = this.#connect();
    this.#file = new OpenFile(path, { state: stateOfReadModels });
  }

  async all<Row>(text: string, params?: readonly SqlValue[]): Promise<Row[]> {
    this.#assertInPlace();
    return this.#reader.all<Row>(text, params);
  }

  async rows<Row extends readonly unknown[]>(text: string, params?: readonly SqlValue[]): Promise<Row[]> {
    this.#assertInPlace();
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

  async transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T> {
    if (this.#closed) throw new ReadModelsUnavailable(`${this.#path} is closed`);
    this.#assertInPlace();
    if (this.#readOnly) throw new Error(`${this.#path} was opened for reading only`);
    return this.#startedWriter().transaction(work);
  }

  async snapshot<T>(work: (sql: SqlReader) => Promise<T>): Promise<T> {
    const connection = this.#borrow();
    const { live, end } = revocable(connection);
    try {
      connection.run('BEGIN');
      return await work({
        dialect: this.dialect,
        all: async (...args) => live().all(...args),
        rows: async (...args) => live().rows(...args),
        stream: (...args) => live().stream(...args),
      });
    } finally {
      end();
      connection.rollback();
      this.#giveBack(connection);
    }
  }

  async reclaim(): Promise<void> {
    await this.#startedWriter().reclaim();
  }

  /** Ends the thread that writes. */
  async rest(): Promise<void> {
    const writer = this.#writer;
    this.#writer = undefined;
    await writer?.close();
  }

  /**
   * Waits for transactions asked for before; what was written is in the file itself afterwards. Streams and snapshots
   * still read end when they are left.
   */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#writer?.close();
    for (const connection of [this.#reader, ...this.#idle]) connection.close();
  }

  #startedWriter(): SqliteWriter {
    if (!this.#writer || this.#writer.hasEnded)
      this.#writer = new SqliteWriter(this.#path, this.#writerCache);
    return this.#writer;
  }

  /** A connection for one who reads for longer than a call. */
  #borrow(): SqliteConnection {
    if (this.#closed) throw new ReadModelsUnavailable(`${this.#path} is closed`);
    this.#assertInPlace();
    return this.#idle.pop() ?? this.#connect();
  }

  #giveBack(connection: SqliteConnection): void {
    if (this.#closed || this.#idle.length >= idleConnections) connection.close();
    else this.#idle.push(connection);
  }

  #assertInPlace(): void {
    try {
      this.#file.assertInPlace();
    } catch (error) {
      throw readModelsError(error, this.#path);
    }
  }

  #connect(): SqliteConnection {
    return new SqliteConnection(openForReading(this.#path), this.#path);
  }
}
