import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ReadModelsUnavailable } from '../../../application/ports/read-models.ts';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import type { Rows, Sql, SqlDatabase, SqlValue, WriteMode } from '../../../infrastructure/sql/sql.ts';
import { SqliteConnection } from '../../../infrastructure/sqlite/connection.ts';
import type { Random } from '../random.ts';
import type { SimulatedProcess } from './process.ts';

/** How likely a transaction ends so. */
export type DatabaseFaults = { deadlock: number; commitLost: number; full: number };

export const noDatabaseFaults: DatabaseFaults = { deadlock: 0, commitLost: 0, full: 0 };

/** Memory as a folder where there is one; nothing in it is meant to outlive the process. */
const shared = process.platform === 'linux' ? '/dev/shm' : tmpdir();

/**
 * The database of the read models, as a server that many processes use: the real statements on real SQLite, with one
 * transaction at a time that writes. Others read what is committed. A deadlock or a lost answer to a commit runs the
 * work of a transaction again, as the port says.
 */
export class DatabaseServer {
  faults: DatabaseFaults = { ...noDatabaseFaults };
  readonly #random: Random;
  readonly #folder = mkdtempSync(join(shared, 'fieldlog-simulation-'));
  #writer: SqliteConnection;
  #reader: SqliteConnection;
  /** A transaction that writes is open. */
  #isWriting = false;
  /**
   * Has a transaction open that sees all that is committed: most reads then need no look at the file. The writer itself
   * while it has nothing else to do, since the pages that others have are as old as the last commit.
   */
  #current: SqliteConnection | undefined;
  #idle: SqliteConnection[] = [];
  #copies = 0;
  /** The end of the transaction that was begun last. */
  #turn: Promise<void> = Promise.resolve();

  constructor(random: Random) {
    this.#random = random;
    this.#writer = this.#open();
    this.#reader = this.#open();
  }

  connect(by: SimulatedProcess): SqlDatabase {
    const read = <T>(text: string, work: () => T) => by.call('database', text.slice(0, 60), work);
    const database: SqlDatabase = {
      dialect: 'sqlite',
      all: (text, params) => read(text, () => this.#currentReader().all(text, params)),
      rows: (text, params) => read(text, () => this.#currentReader().rows(text, params)),
      run: (text, params) => database.transaction((tx) => tx.run(text, params)),
      write: (...args) => database.transaction((tx) => tx.write(...args)),
      stream: (text, params) => this.#stream(by, text, params),
      transaction: (work) => this.#transaction(by, work),
      snapshot: async (work) => {
        const connection = this.#idle.pop() ?? this.#open();
        connection.run('BEGIN');
        try {
          return await work({
            dialect: 'sqlite',
            all: async (text, params) => connection.all(text, params),
            rows: async (text, params) => connection.rows(text, params),
            stream: (text, params) => connection.stream(text, params),
          });
        } finally {
          connection.rollback();
          this.#idle.push(connection);
        }
      },
      reclaim: async () => {},
      close: async () => {},
    };
    return database;
  }

  async migrate(by: SimulatedProcess): Promise<void> {
    await migrateReadModels(this.connect(by), Date.now());
  }

  /** A copy of what is committed, to be put back later. */
  copy(): string {
    this.#copies += 1;
    const path = join(this.#folder, `copy-${this.#copies}.db`);
    this.#leaveCurrent();
    this.#reader.run(`VACUUM INTO '${path}'`);
    return path;
  }

  /** Nothing may be using the database. */
  putBack(copy: string): void {
    this.#close();
    for (const end of ['', '-wal', '-shm'])
      rmSync(join(this.#folder, `read-models.db${end}`), { force: true });
    copyFileSync(copy, join(this.#folder, 'read-models.db'));
    this.#writer = this.#open();
    this.#reader = this.#open();
    this.#turn = Promise.resolve();
  }

  /** As a restore does that gives a log another identity: what was made from it was made from this one. */
  rename(log: string, to: string): void {
    this.#leaveCurrent();
    this.#writer.run('UPDATE checkpoints SET log_id = ? WHERE log_id = ?', [to, log]);
  }

  end(): void {
    this.#close();
    rmSync(this.#folder, { recursive: true });
  }

  async *#stream<Row extends readonly unknown[]>(
    by: SimulatedProcess,
    text: string,
    params?: readonly SqlValue[],
  ): AsyncGenerator<Row[], void> {
    await by.call('database', text.slice(0, 60), () => undefined);
    const connection = this.#idle.pop() ?? this.#open();
    try {
      yield* connection.stream<Row>(text, params);
    } finally {
      this.#idle.push(connection);
    }
  }

  async #transaction<T>(by: SimulatedProcess, work: (tx: Sql) => Promise<T>): Promise<T> {
    for (;;) {
      const before = this.#turn;
      const turn = Promise.withResolvers<void>();
      this.#turn = turn.promise;
      await before;
      const connection = this.#writer;
      let isOpen = true;
      const end = (how: 'commit' | 'rollback') => {
        if (!isOpen) return;
        isOpen = false;
        forget();
        this.#leaveCurrent();
        this.#isWriting = false;
        if (how === 'commit') connection.commit();
        else connection.rollback();
        turn.resolve();
      };
      if (!by.isAlive) turn.resolve();
      if (!by.isAlive) await by.alive();
      // Nothing is awaited from here to the start: a crash between would leave the writer in a transaction for good.
      const forget = by.onCrash(() => end('rollback'));
      this.#leaveCurrent();
      this.#isWriting = true;
      connection.run('BEGIN IMMEDIATE');
      try {
        await by.call('database', 'begin', () => undefined);
        const { sql, assertWritten } = transactionOn(connection, by, () => isOpen);
        const result = await work(sql);
        await by.alive();
        assertWritten();
        const fate = this.#fate();
        if (fate !== 'none') this.#note(by, fate);
        if (fate === 'full') throw new ReadModelsUnavailable('the disk of the database is full');
        if (fate === 'deadlock') {
          end('rollback');
          continue;
        }
        await by.call('database', 'commit', () => end('commit'));
        if (fate === 'commitLost') continue;
        return result;
      } finally {
        end('rollback');
      }
    }
  }

  #currentReader(): SqliteConnection {
    if (!this.#current) {
      this.#current = this.#isWriting ? this.#reader : this.#writer;
      this.#current.run('BEGIN');
    }
    return this.#current;
  }

  #leaveCurrent(): void {
    this.#current?.rollback();
    this.#current = undefined;
  }

  #fate(): 'none' | keyof DatabaseFaults {
    for (const fate of ['deadlock', 'commitLost', 'full'] as const)
      if (this.faults[fate] > 0 && this.#random.chance(this.faults[fate])) return fate;
    return 'none';
  }

  #note(by: SimulatedProcess, fate: string): void {
    by.network.timeline.add(by.name, `FAULT ${fate} of a transaction`);
    by.network.timeline.count(`fault: ${fate}, database`);
  }

  #open(): SqliteConnection {
    const path = join(this.#folder, 'read-models.db');
    const db = new DatabaseSync(path, { timeout: 0 });
    db.exec(
      'PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 10000; PRAGMA temp_store = MEMORY',
    );
    return new SqliteConnection(db, path);
  }

  #close(): void {
    for (const connection of [this.#writer, this.#reader, ...this.#idle]) connection.close();
    this.#idle = [];
    this.#current = undefined;
    this.#isWriting = false;
  }
}

/** A transaction in which rows could not be written does not commit, whether or not its work minds. */
type OpenTransaction = { readonly sql: Sql; assertWritten(): void };

function transactionOn(
  connection: SqliteConnection,
  by: SimulatedProcess,
  isOpen: () => boolean,
): OpenTransaction {
  let failed: { readonly error: unknown } | undefined;
  // Nothing is awaited between the look at the process and the statement.
  const live = async <T>(statement: () => T): Promise<T> => {
    if (!by.isAlive) await by.alive();
    if (!isOpen()) throw new Error('This transaction is over');
    return statement();
  };
  const sql: Sql = {
    dialect: 'sqlite',
    all: (text, params) => live(() => connection.all(text, params)),
    rows: (text, params) => live(() => connection.rows(text, params)),
    run: (text, params) => live(() => connection.run(text, params)),
    write: (mode, table, columns, rows) =>
      live(() => {
        try {
          insert(connection, mode, table, columns, rows);
        } catch (error) {
          failed ??= { error };
          throw error;
        }
      }),
  };
  return {
    sql,
    assertWritten() {
      if (failed) throw failed.error;
    },
  };
}

function insert(
  connection: SqliteConnection,
  mode: WriteMode,
  table: string,
  columns: readonly string[],
  rows: Rows,
): void {
  const into = `${mode === 'replace' ? 'REPLACE' : 'INSERT'} INTO ${table} (${columns.join(', ')})`;
  const sums = columns.slice(2).map((name) => `${name} = ${name} + excluded.${name}`);
  const values = [...rows].flat();
  const then = mode === 'add' ? ` ON CONFLICT DO UPDATE SET ${sums.join(', ')}` : '';
  if (values.length > 0) connection.insertRows({ into, then, width: columns.length, values });
}
