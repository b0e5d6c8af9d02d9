import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import type { Rows, Sql, SqlValue } from '../sql/sql.ts';
import { AnsweringThread } from './answering-thread.ts';
import type { Outcome, WriterOrder } from './sqlite-writer-thread.ts';

/** Few enough for the thread to begin early, and enough for a message to cost nothing beside its rows. */
const rowsAtOnce = 500;

/** The one connection of a file of read models that writes. Its thread stores rows while this one makes the next. */
export class SqliteWriter implements Sql {
  readonly dialect = 'sqlite';
  readonly #thread: AnsweringThread<WriterOrder, Outcome>;

  constructor(path: string) {
    this.#thread = new AnsweringThread(
      new URL('./sqlite-writer-thread.ts', import.meta.url),
      path,
      (cause) => new ReadModelsUnavailable('The thread that writes the read models ended', { cause }),
    );
  }

  get hasEnded(): boolean {
    return this.#thread.hasEnded;
  }

  all<Row>(text: string, params: readonly SqlValue[] = []): Promise<Row[]> {
    return this.#do({ do: 'all', text, params });
  }

  rows<Row extends readonly unknown[]>(text: string, params: readonly SqlValue[] = []): Promise<Row[]> {
    return this.#do({ do: 'rows', text, params });
  }

  run(text: string, params: readonly SqlValue[] = []): Promise<number> {
    return this.#do({ do: 'run', text, params });
  }

  /** Resolves once the rows are on their way. */
  async write(
    mode: 'insert' | 'replace',
    table: string,
    columns: readonly string[],
    rows: Rows,
  ): Promise<void> {
    const text = `${mode === 'insert' ? 'INSERT' : 'REPLACE'} INTO ${table} (${columns.join(', ')})
      VALUES (${columns.map(() => '?').join(', ')})`;
    const width = columns.length;
    let values: SqlValue[] = [];
    for (const row of rows) {
      for (const value of row) values.push(value);
      if (values.length < rowsAtOnce * width) continue;
      this.#thread.tell({ do: 'write', text, width, values });
      values = [];
    }
    if (values.length > 0) this.#thread.tell({ do: 'write', text, width, values });
  }

  /** Answers with whether the file was free to be written to. */
  tryBegin(): Promise<boolean> {
    return this.#do({ do: 'tryBegin' });
  }

  commit(): Promise<void> {
    return this.#do({ do: 'commit' });
  }

  rollback(): Promise<void> {
    return this.#do({ do: 'rollback' });
  }

  close(): Promise<void> {
    return this.#thread.end();
  }

  async #do<T>(order: WriterOrder): Promise<T> {
    const outcome = await this.#thread.ask(order);
    if ('done' in outcome) return outcome.done as T;
    throw 'unavailable' in outcome ? new ReadModelsUnavailable(outcome.unavailable) : outcome.failed;
  }
}
