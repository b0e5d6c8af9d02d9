import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { SqlValue } from '../sql/sql.ts';
import { isBusy, readModelsError } from './errors.ts';

/** Rows of a stream between two turns of the event loop: some milliseconds of work. */
const chunkRows = 1000;

/** Cache size of prepared statements; parameter lists of any length would otherwise grow it without end. */
const statementsKept = 200;

/** More gain nothing. */
const rowsInStatement = 50;

export type RowsToInsert = {
  /** An INSERT or REPLACE up to its VALUES. */
  readonly into: string;
  /** What follows the values. */
  readonly then: string;
  /** Columns of a row. */
  readonly width: number;
  /** Of all rows, one row after the other. */
  readonly values: readonly SqlValue[];
};

/** One connection to a read models file, with a cache of prepared statements. */
export class SqliteConnection {
  readonly #db: DatabaseSync;
  readonly #path: string;
  /** By their texts, which are long: a key made of one would be hashed anew each time. */
  readonly #statements = {
    objects: new Map<string, StatementSync>(),
    arrays: new Map<string, StatementSync>(),
  };

  constructor(db: DatabaseSync, path: string) {
    this.#db = db;
    this.#path = path;
  }

  all<Row>(text: string, params: readonly SqlValue[] = []): Row[] {
    return this.#withStorageErrors(() => this.#statement(text).all(...params) as Row[]);
  }

  rows<Row extends readonly unknown[]>(text: string, params: readonly SqlValue[] = []): Row[] {
    return this.#withStorageErrors(() => this.#statement(text, 'arrays').all(...params) as unknown as Row[]);
  }

  run(text: string, params: readonly SqlValue[] = []): number {
    return this.#withStorageErrors(() => Number(this.#statement(text).run(...params).changes));
  }

  /** Holds a snapshot of the file until it is read to the end or left. */
  async *stream<Row extends readonly unknown[]>(
    text: string,
    params: readonly SqlValue[] = [],
  ): AsyncGenerator<Row[], void> {
    // Not a cached statement: another stream may be reading the same one.
    const rows = this.#withStorageErrors(() => {
      const statement = this.#db.prepare(text);
      statement.setReturnArrays(true);
      return statement.iterate(...params) as unknown as Iterator<Row>;
    });
    try {
      for (;;) {
        const chunk = this.#withStorageErrors(() => nextRows(rows, chunkRows));
        if (chunk.length > 0) yield chunk;
        if (chunk.length < chunkRows) return;
        await nextTurn();
      }
    } finally {
      rows.return?.();
    }
  }

  /** The values of the rows follow one another. */
  insertRows({ into, then, width, values }: RowsToInsert): void {
    this.#withStorageErrors(() => {
      const row = `(${Array(width).fill('?').join()})`;
      let at = 0;
      for (const rows of [rowsInStatement, 1]) {
        const taken = rows * width;
        if (values.length - at < taken) continue;
        const statement = this.#statement(`${into} VALUES ${Array(rows).fill(row).join()}${then}`);
        for (; values.length - at >= taken; at += taken) statement.run(...values.slice(at, at + taken));
      }
    });
  }

  /** Answers with whether the file was free to be written to. */
  tryBegin(): boolean {
    return this.#withStorageErrors(() => {
      try {
        this.#statement('BEGIN IMMEDIATE').run();
        return true;
      } catch (error) {
        if (isBusy(error)) return false;
        throw error;
      }
    });
  }

  commit(): void {
    this.#withStorageErrors(() => this.#statement('COMMIT').run());
  }

  /** Does nothing when SQLite has already given the transaction up, as it does when the disk is full. */
  rollback(): void {
    if (this.#db.isTransaction) this.#withStorageErrors(() => this.#statement('ROLLBACK').run());
  }

  close(): void {
    this.#db.close();
  }

  #statement(text: string, rowsAs: 'objects' | 'arrays' = 'objects'): StatementSync {
    const statements = this.#statements[rowsAs];
    let statement = statements.get(text);
    if (statement) statements.delete(text);
    else {
      statement = this.#db.prepare(text);
      statement.setReturnArrays(rowsAs === 'arrays');
    }
    statements.set(text, statement);
    if (statements.size > statementsKept) statements.delete(statements.keys().next().value as string);
    return statement;
  }

  #withStorageErrors<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw readModelsError(error, this.#path);
    }
  }
}

/** Unlike `Iterator.prototype.take`, leaves the rest to be read. */
function nextRows<Row>(rows: Iterator<Row>, atMost: number): Row[] {
  const chunk: Row[] = [];
  while (chunk.length < atMost) {
    const next = rows.next();
    if (next.done) break;
    chunk.push(next.value);
  }
  return chunk;
}

/** `connection` for one transaction: any use after `end` is refused. */
export function revocable<Connection>(connection: Connection): { live(): Connection; end(): void } {
  let over = false;
  return {
    live() {
      if (over) throw new Error('This transaction is over');
      return connection;
    },
    end() {
      over = true;
    },
  };
}
