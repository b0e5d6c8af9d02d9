import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import type { Rows, Sql, SqlValue } from '../sql/sql.ts';
import { revocable } from './connection.ts';
import { deserializeError, WorkerChannel } from './worker-channel.ts';
import type { Outcome, WriterOrder } from './writer-worker.ts';

/** Few enough for the thread to begin early, and enough for a message to cost nothing beside its rows. */
const rowsAtOnce = 500;

/**
 * The one connection of a file of read models that writes. Its thread stores rows while this one makes the next: the
 * work of a transaction begins as soon as the one before it has been told to commit.
 */
export class SqliteWriter {
  readonly #thread: WorkerChannel<WriterOrder, Outcome>;
  #lastTurn: Promise<void> = Promise.resolve();

  constructor(path: string) {
    this.#thread = new WorkerChannel(
      new URL('./writer-worker.ts', import.meta.url),
      path,
      (cause) => new ReadModelsUnavailable('The thread that writes the read models ended', { cause }),
    );
  }

  get hasEnded(): boolean {
    return this.#thread.hasEnded;
  }

  transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T> {
    const turn = Promise.withResolvers<void>();
    const result = this.#lastTurn.then(() => this.#transact(work, turn.resolve));
    this.#lastTurn = turn.promise;
    return result;
  }

  /** Waits for transactions asked for before. */
  async close(): Promise<void> {
    await this.#lastTurn;
    await this.#thread.end();
  }

  async #transact<T>(work: (tx: Sql) => Promise<T>, over: () => void): Promise<T> {
    this.#thread.tell({ do: 'begin' });
    const { live, end } = revocable(this);
    const ended = (how: 'commit' | 'rollback'): Promise<void> => {
      end();
      const answer = this.#ask<void>({ do: how });
      over();
      return answer;
    };
    let result: T;
    try {
      result = await work({
        dialect: 'sqlite',
        all: async (text, params = []) => live().#ask({ do: 'all', text, params }),
        rows: async (text, params = []) => live().#ask({ do: 'rows', text, params }),
        run: async (text, params = []) => live().#ask({ do: 'run', text, params }),
        write: async (...args) => live().#write(...args),
      });
    } catch (error) {
      await ended('rollback');
      throw error;
    }
    await ended('commit');
    return result;
  }

  #write(mode: 'insert' | 'replace', table: string, columns: readonly string[], rows: Rows): void {
    const into = `${mode === 'insert' ? 'INSERT' : 'REPLACE'} INTO ${table} (${columns.join(', ')})`;
    const width = columns.length;
    let values: SqlValue[] = [];
    for (const row of rows) {
      for (const value of row) values.push(value);
      if (values.length < rowsAtOnce * width) continue;
      this.#thread.tell({ do: 'write', into, width, values });
      values = [];
    }
    if (values.length > 0) this.#thread.tell({ do: 'write', into, width, values });
  }

  async #ask<T>(order: WriterOrder): Promise<T> {
    const outcome = await this.#thread.ask(order);
    if ('done' in outcome) return outcome.done as T;
    throw deserializeError(outcome, ReadModelsUnavailable);
  }
}
