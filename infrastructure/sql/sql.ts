export type SqlValue = string | number | bigint | null;

/** Rows to write, each as the values of its columns; iterable more than once. */
export interface Rows extends Iterable<readonly SqlValue[]> {
  readonly length: number;
}

/** The values of a row are made when its turn comes: those of all rows at once would cost the memory of all. */
export const rowsOf = <Row>(rows: readonly Row[], valuesOf: (row: Row) => readonly SqlValue[]): Rows => ({
  length: rows.length,
  *[Symbol.iterator]() {
    for (const row of rows) yield valuesOf(row);
  },
});

/**
 * The little that both engines of the read models can do alike. Statements are plain SQL that MySQL, MariaDB and
 * SQLite all run, with `?` for parameters; where they differ, `dialect` decides. Every call throws
 * `ReadModelsUnavailable` when the engine cannot be reached.
 */
export interface SqlQueries {
  readonly dialect: 'sqlite' | 'mysql';

  all<Row>(text: string, params?: readonly SqlValue[]): Promise<Row[]>;

  /** Each row as the array of its columns: half the work where rows are many. */
  rows<Row extends readonly unknown[]>(text: string, params?: readonly SqlValue[]): Promise<Row[]>;
}

export interface SqlReader extends SqlQueries {
  /** Rows as arrays of their columns, in chunks; a few chunks at most are in memory. */
  stream<Row extends readonly unknown[]>(text: string, params?: readonly SqlValue[]): AsyncIterable<Row[]>;
}

export type WriteMode = 'insert' | 'replace' | 'add';

/** Statements, most often those of one transaction. They take effect in the order of the calls. */
export interface Sql extends SqlQueries {
  /** Answers with the number of rows changed. */
  run(text: string, params?: readonly SqlValue[]): Promise<number>;

  /**
   * The engine's fastest way to write many rows. `insert` is for keys known to be new; `replace` overwrites whole rows;
   * `add` is for a key of two columns, which come first: where it is there, the numbers of the others are added to it.
   * Inside a transaction it may resolve before they are written: an error in them is then thrown by the next
   * statement, or else by the transaction, which does not commit.
   */
  write(mode: WriteMode, table: string, columns: readonly string[], rows: Rows): Promise<void>;
}

export interface SqlDatabase extends SqlReader, Sql {
  /**
   * Runs `work` in one transaction, alone on its connection; rolls back when it throws. When the engine ends the
   * transaction for a deadlock or loses the connection, `work` runs again from the start: even when what was lost was
   * the answer to a commit, so it must find out from what it reads whether it was done.
   */
  transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T>;

  /** Runs `work` on a view of the data that no commit changes while it lasts. */
  snapshot<T>(work: (sql: SqlReader) => Promise<T>): Promise<T>;

  /** Gives the file system back what dropped tables took, where the engine does not do so by itself. */
  reclaim(): Promise<void>;

  /** Gives up what is held for writing, which the next transaction makes anew; absent where nothing is. */
  rest?(): Promise<void>;

  close(): Promise<void>;
}

/** As many parameters as every engine takes in one statement. */
const parametersAtOnce = 500;

export function* chunks<T>(items: readonly T[], size = parametersAtOnce): Generator<readonly T[]> {
  for (let from = 0; from < items.length; from += size) yield items.slice(from, from + size);
}

export async function inChunks<T, Row>(
  items: readonly T[],
  read: (some: readonly T[]) => Promise<Row[]>,
  size = parametersAtOnce,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const some of chunks(items, size)) rows.push(...(await read(some)));
  return rows;
}

export const placeholders = (items: readonly unknown[], one = '?'): string => items.map(() => one).join(',');

/** No engine has infinities for whole numbers. */
export const clampToInteger = (time: number): number =>
  Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, time));
