import { ReadModelsUnavailable, UnfitValue } from '../../application/ports/read-models.ts';
import type { Rows, Sql, SqlValue, WriteMode } from '../sql/sql.ts';
import { WorkerChannel } from '../worker-channel.ts';
import { revocable } from './connection.ts';
import type { WriterRequest, WrittenFile } from './writer-worker.ts';

/** Few enough for the thread to begin early, and enough for the cost of a message not to matter. */
const rowsInMessage = 500;

/**
 * The connection that writes to a file of read models. Its thread stores rows while this one makes the next: the work
 * of a transaction begins as soon as the previous one has been sent its commit.
 */
export class SqliteWriter {
  readonly #thread: WorkerChannel<WriterRequest, unknown>;
  /** Resolves when the transaction asked for last has sent its commit or rollback. */
  #previous: Promise<void> = Promise.resolve();

  /** `cache` in bytes, as `SqliteSql` has it. */
  constructor(path: string, cache?: number) {
    const file: WrittenFile = { path, cache };
    this.#thread = new WorkerChannel(new URL('./writer-worker.ts', import.meta.url), file, {
      errors: [ReadModelsUnavailable, UnfitValue],
      lost: (cause) => new ReadModelsUnavailable('The thread that writes the read models ended', { cause }),
    });
  }

  get hasEnded(): boolean {
    return this.#thread.hasEnded;
  }

  transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T> {
    const finished = Promise.withResolvers<void>();
    const result = this.#previous.then(() => this.#transact(work, finished.resolve));
    this.#previous = finished.promise;
    return result;
  }

  /** Gives free pages back to the file system, between transactions: none of them waits for more than a step. */
  async reclaim(): Promise<void> {
    for (let isMore = true; isMore; ) {
      const step = this.#previous.then(() => this.#thread.request({ do: 'reclaim' }));
      this.#previous = step.then(
        () => undefined,
        () => undefined,
      );
      isMore = (await step) as boolean;
    }
  }

  /** Waits for transactions asked for before. */
  async close(): Promise<void> {
    await this.#previous;
    await this.#thread.close();
  }

  async #transact<T>(work: (tx: Sql) => Promise<T>, startNext: () => void): Promise<T> {
    this.#thread.send({ do: 'begin' });
    const { live, end } = revocable(this);
    const finish = async (how: 'commit' | 'rollback'): Promise<void> => {
      end();
      const reply = this.#thread.request({ do: how });
      startNext();
      await reply;
    };
    let result: T;
    try {
      result = await work({
        dialect: 'sqlite',
        all: async (text, params = []) => live().#query('all', text, params),
        rows: async (text, params = []) => live().#query('rows', text, params),
        run: async (text, params = []) => live().#query('run', text, params),
        write: async (...args) => live().#write(...args),
      });
    } catch (error) {
      await finish('rollback');
      throw error;
    }
    await finish('commit');
    return result;
  }

  #write(mode: WriteMode, table: string, columns: readonly string[], rows: Rows): void {
    const into = `${mode === 'replace' ? 'REPLACE' : 'INSERT'} INTO ${table} (${columns.join(', ')})`;
    const then = mode === 'add' ? addingTo(columns) : '';
    const width = columns.length;
    let values: SqlValue[] = [];
    for (const row of rows) {
      for (const value of row) values.push(value);
      if (values.length < rowsInMessage * width) continue;
      this.#thread.send({ do: 'write', into, then, width, values });
      values = [];
    }
    if (values.length > 0) this.#thread.send({ do: 'write', into, then, width, values });
  }

  async #query<T>(kind: 'all' | 'rows' | 'run', text: string, params: readonly SqlValue[]): Promise<T> {
    return (await this.#thread.request({ do: kind, text, params })) as T;
  }
}

const addingTo = (columns: readonly string[]): string =>
  ` ON CONFLICT DO UPDATE SET ${columns
    .slice(2)
    .map((name) => `${name} = ${name} + excluded.${name}`)
    .join(', ')}`;
