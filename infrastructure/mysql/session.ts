import type { Connection, QueryOptions, ResultSetHeader } from 'mysql2';
import { UnfitValue } from '../../application/ports/read-models.ts';
import type { Sql, SqlReader, SqlValue } from '../sql/sql.ts';
import { type BulkWrite, insertRows, loadRows } from './bulk-write.ts';
import { faultOf } from './error-codes.ts';
import { query, type Result, refusesLocalInfile, rowChunks } from './statements.ts';

/** From that many rows on LOAD DATA is faster than a statement with the rows in its text. */
const loadFrom = 50;

/** `UnfitValue` where the server refuses a value; that statement alone was taken back. */
const explained = (error: unknown): unknown =>
  faultOf(error) === 'value' ? new UnfitValue((error as Error).message, { cause: error }) : error;

/** What the sessions of a database learn of their server. */
export type Server = { localInfile: boolean };

/**
 * Statements on one connection, most often those of one transaction. After a failure that may have taken back or
 * half done what went before, every further call throws that failure: the transaction can only be rolled back.
 */
export class MysqlSession implements Sql, SqlReader {
  readonly dialect = 'mysql';
  readonly #connection: Connection;
  readonly #server: Server;
  readonly #timeout: number;
  #streaming = false;
  #failure: unknown;

  constructor(connection: Connection, server: Server, timeout: number) {
    this.#connection = connection;
    this.#server = server;
    this.#timeout = timeout;
  }

  /** Why this session cannot be reused, `undefined` while it can. */
  get failure(): unknown {
    return this.#failure;
  }

  async all<Row>(text: string, params: readonly SqlValue[] = []): Promise<Row[]> {
    return (await this.#query(text, params)) as Row[];
  }

  async rows<Row extends readonly unknown[]>(text: string, params: readonly SqlValue[] = []): Promise<Row[]> {
    return (await this.#query(text, params, { rowsAsArray: true })) as unknown as Row[];
  }

  async run(text: string, params: readonly SqlValue[] = []): Promise<number> {
    return ((await this.#query(text, params)) as ResultSetHeader).affectedRows;
  }

  async *stream<Row extends readonly unknown[]>(
    text: string,
    params: readonly SqlValue[] = [],
  ): AsyncGenerator<Row[]> {
    this.#assertUsable();
    this.#streaming = true;
    try {
      yield* rowChunks<Row>(this.#connection, { sql: text, values: [...params] }, 'drain');
    } catch (error) {
      throw this.#noted(error);
    } finally {
      this.#streaming = false;
    }
  }

  async write(
    mode: BulkWrite['mode'],
    table: string,
    columns: readonly string[],
    rows: BulkWrite['rows'],
  ): Promise<void> {
    if (rows.length === 0) return;
    this.#assertUsable();
    const write = { mode, table, columns, rows };
    try {
      if (mode !== 'add' && this.#server.localInfile && rows.length >= loadFrom) await this.#load(write);
      else await insertRows(this.#connection, write, this.#timeout);
    } catch (thrown) {
      const error = explained(thrown);
      this.#failure ??= error;
      throw error;
    }
  }

  async #load(write: BulkWrite): Promise<void> {
    try {
      await loadRows(this.#connection, write, this.#timeout);
    } catch (error) {
      if (!refusesLocalInfile(error)) throw error;
      this.#server.localInfile = false;
      await insertRows(this.#connection, write, this.#timeout);
    }
  }

  async #query(
    text: string,
    params: readonly SqlValue[],
    options: Omit<QueryOptions, 'sql'> = {},
  ): Promise<Result> {
    this.#assertUsable();
    try {
      return await query(this.#connection, {
        ...options,
        sql: text,
        values: [...params],
        timeout: this.#timeout,
      });
    } catch (error) {
      throw this.#noted(error);
    }
  }

  #noted(thrown: unknown): unknown {
    const error = explained(thrown);
    if (faultOf(error) !== 'none') this.#failure ??= error;
    return error;
  }

  #assertUsable(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#streaming)
      throw new Error(
        'A transaction has one connection: read its stream to the end before the next statement',
      );
  }
}
