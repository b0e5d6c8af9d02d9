import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { PartitionPosition } from '../../application/ports/position.ts';
import {
  type TelemetryLog,
  TelemetryLogUnavailable,
  type TelemetryPublication,
} from '../../application/ports/telemetry-log.ts';
import { CommitSignal } from './commit-signal.ts';
import { GroupCommit } from './group-commit.ts';
import { telemetryLogError } from './sqlite-errors.ts';
import { openSqliteFile, type SqliteFile } from './sqlite-file.ts';

/**
 * A row is a whole publication, as JSON: what a request brought costs one insert. Its events' positions are
 * `first_offset`, `first_offset + 1` and so on, counted from 1 without a gap.
 */
export const telemetryFile = (path: string): SqliteFile => ({
  path,
  synchronous: 'FULL',
  checkpointPages: 2000,
  cache: 8192,
  migrations: [
    `CREATE TABLE batches (
       first_offset INTEGER PRIMARY KEY,
       count INTEGER NOT NULL,
       body TEXT NOT NULL
     ) STRICT;`,
  ],
});

/** The last row's offset and count, from which the next offset follows. */
export const lastBatch = 'SELECT first_offset, count FROM batches ORDER BY first_offset DESC LIMIT 1';

type Batch = { readonly count: number; readonly body: string };

/** A TelemetryLog in one SQLite file, which several processes may have open. Its one partition is number 0. */
export class SqliteTelemetryLog implements TelemetryLog {
  readonly #db: DatabaseSync;
  readonly #signal: CommitSignal;
  readonly #commits: GroupCommit<Batch, number>;
  readonly #insert: StatementSync;
  readonly #last: StatementSync;

  /** Throws `StartupError`. */
  constructor(path: string) {
    this.#db = openSqliteFile(telemetryFile(path));
    this.#signal = new CommitSignal(path);
    this.#insert = this.#db.prepare('INSERT INTO batches (first_offset, count, body) VALUES (?, ?, ?)');
    this.#last = this.#db.prepare(lastBatch);
    this.#last.setReturnArrays(true);
    this.#commits = new GroupCommit(this.#db, {
      perform: (batches) => this.#perform(batches),
      committed: () => this.#signal.announce(),
      failure: (error) => telemetryLogError(error, path),
    });
  }

  async publish(publication: TelemetryPublication): Promise<readonly PartitionPosition[]> {
    if (!this.#db.isOpen) throw new TelemetryLogUnavailable('The telemetry log is closed');
    const count = publication.events.length;
    if (count === 0) return [];
    const last = await this.#commits.submit({ count, body: JSON.stringify(publication) });
    return [{ partition: 0, position: String(last) }];
  }

  /** What was handed over before is committed first. */
  async close(): Promise<void> {
    if (!this.#db.isOpen) return;
    this.#commits.flush();
    this.#signal.close();
    this.#db.close();
  }

  #perform(batches: readonly Batch[]): readonly number[] {
    const [first, length] = (this.#last.get() ?? [1, 0]) as unknown as [number, number];
    let next = first + length;
    return batches.map(({ count, body }) => {
      this.#insert.run(next, count, body);
      next += count;
      return next - 1;
    });
  }
}
