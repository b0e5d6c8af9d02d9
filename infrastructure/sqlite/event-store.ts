import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { withoutPersonalData } from '../../application/devices/device-stream.ts';
import type { AccessMarker } from '../../application/ports/api-keys.ts';
import {
  type EventEraser,
  type EventMetadata,
  type EventStore,
  EventStoreUnavailable,
  type ExpectedRevision,
  type NewEvent,
  type RecordedEvent,
  RevisionConflict,
} from '../../application/ports/event-store.ts';
import {
  type Creation,
  identityTable,
  immediateTransaction,
  openSqliteFile,
  type SqliteFile,
} from './database-file.ts';
import { eventStoreError, isTaken, unreadableAt } from './errors.ts';
import { closeComplete } from './file-size.ts';
import { stateOfEvents } from './file-state.ts';
import { CommitSignal } from './log-source.ts';
import { OpenFile } from './open-file.ts';

/** Positions count from 1 without a gap: rows are only added, by one transaction at a time. */
export const eventsFile = (path: string): SqliteFile => ({
  path,
  synchronous: 'FULL',
  pageBytes: 4096,
  checkpointBytes: 4 * 1024 * 1024,
  cache: 8192,
  migrations: [
    `CREATE TABLE events (
       position INTEGER PRIMARY KEY,
       stream TEXT NOT NULL,
       revision INTEGER NOT NULL,
       id TEXT NOT NULL,
       type TEXT NOT NULL,
       data TEXT NOT NULL,
       metadata TEXT NOT NULL
     ) STRICT;
     CREATE UNIQUE INDEX events_by_stream ON events (stream, revision);`,
    identityTable,
  ],
});

type Append = {
  readonly stream: string;
  readonly expected: ExpectedRevision;
  readonly events: readonly NewEvent[];
  /** Data and metadata of each event as JSON. */
  readonly encoded: readonly (readonly [data: string, metadata: string])[];
};

type Row = [position: number, revision: number, id: string, type: string, data: string, metadata: string];

/** An EventStore in one SQLite file, which several processes may have open. */
export class SqliteEventStore implements EventStore, EventEraser, AccessMarker {
  readonly #path: string;
  readonly #db: DatabaseSync;
  readonly #file: OpenFile;
  readonly #signal: CommitSignal;
  readonly #commits: GroupCommit<Append, readonly RecordedEvent[]>;
  readonly #insert: StatementSync;
  readonly #lastRevision: StatementSync;
  readonly #between: StatementSync;

  /** Throws `StartupError`. */
  constructor(path: string, creation: Creation = {}) {
    this.#path = path;
    this.#db = openSqliteFile(eventsFile(path), creation);
    this.#file = new OpenFile(path, { state: stateOfEvents, onlyGrows: true, writes: true });
    this.#signal = new CommitSignal(path);
    this.#insert = this.#db.prepare(
      'INSERT INTO events (stream, revision, id, type, data, metadata) VALUES (?, ?, ?, ?, ?, ?)',
    );
    this.#lastRevision = this.#prepareForArrays(
      'SELECT revision FROM events WHERE stream = ? ORDER BY revision DESC LIMIT 1',
    );
    this.#between = this.#prepareForArrays(
      `SELECT position, revision, id, type, data, metadata FROM events
       WHERE stream = ? AND revision BETWEEN ? AND ? ORDER BY revision`,
    );
    this.#commits = new GroupCommit<Append, readonly RecordedEvent[]>(this.#db, {
      perform: (append) => this.#perform(append),
      assertKept: () => this.#file.assertInPlace(),
      committed: () => this.#signal.announce(),
      failure: (error) => this.#failure(error),
    });
  }

  async read(stream: string): Promise<readonly RecordedEvent[]> {
    try {
      this.#file.assertInPlace();
      return this.#events(stream, 0, Number.MAX_SAFE_INTEGER);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** Nobody can. */
  async isDeleted(): Promise<boolean> {
    return false;
  }

  append(
    stream: string,
    events: readonly NewEvent[],
    expected: ExpectedRevision,
  ): Promise<readonly RecordedEvent[]> {
    return this.#commits.submit(() => {
      if (!this.#db.isOpen) throw new EventStoreUnavailable('The event store is closed');
      const encoded = events.map(({ data, metadata }) => [json(data), json(metadata)] as const);
      return { stream, expected, events, encoded };
    });
  }

  /** Positions must not have a gap, so the events stay and their data is removed. */
  async eraseBefore(stream: string, revision: number): Promise<void> {
    if (!this.#db.isOpen) throw new EventStoreUnavailable('The event store is closed');
    const update = this.#db.prepare(
      'UPDATE events SET data = ?, metadata = ? WHERE stream = ? AND revision = ?',
    );
    try {
      this.#file.assertInPlace();
      // Otherwise the old text would stay in pages that are free.
      this.#db.exec('PRAGMA secure_delete = ON');
      immediateTransaction(this.#db)(() => {
        for (const event of this.#events(stream, 0, revision - 1)) {
          const { data, metadata } = withoutPersonalData(event);
          update.run(json(data), json(metadata), stream, event.revision);
        }
      });
      // And until it is checkpointed, in the log of writes.
      this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    } catch (error) {
      throw this.#failure(error);
    }
  }

  async isAccessClosed(): Promise<boolean> {
    try {
      return this.#db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'access_closed'").get() !== undefined;
    } catch (error) {
      throw this.#failure(error);
    }
  }

  async closeAccess(): Promise<void> {
    try {
      this.#db.exec(`CREATE TABLE IF NOT EXISTS access_closed (at INTEGER NOT NULL) STRICT;
        INSERT INTO access_closed SELECT unixepoch() WHERE NOT EXISTS (SELECT 1 FROM access_closed)`);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  async revokedNames(): Promise<ReadonlySet<string>> {
    try {
      const isThere = this.#db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'revoked_keys'").get();
      const rows = isThere ? this.#db.prepare('SELECT name FROM revoked_keys').all() : [];
      return new Set(rows.map(({ name }) => String(name)));
    } catch (error) {
      throw this.#failure(error);
    }
  }

  async recordRevoked(names: readonly string[]): Promise<void> {
    try {
      // Not by a migration: a release that does not know it may open the file again.
      this.#db.exec('CREATE TABLE IF NOT EXISTS revoked_keys (name TEXT PRIMARY KEY) STRICT');
      const insert = this.#db.prepare('INSERT OR IGNORE INTO revoked_keys VALUES (?)');
      for (const name of names) insert.run(name);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** Pending appends are committed first. */
  async close(): Promise<void> {
    if (!this.#db.isOpen) return;
    this.#commits.flush();
    this.#signal.close();
    closeComplete(this.#db, () => this.#file.assertInPlace());
  }

  #failure(error: unknown): unknown {
    return eventStoreError(error, this.#path);
  }

  #perform(append: Append): readonly RecordedEvent[] | RevisionConflict {
    const { stream, expected, events } = append;
    const first = expected === 'none' ? 0 : expected + 1;
    if (first === 0 || this.#lastOf(stream) === expected)
      try {
        return this.#add(append, first);
      } catch (error) {
        // The index reports an existing stream at the first event, before anything was written.
        if (!isTaken(error)) throw error;
      }
    const there = this.#events(stream, first, first + events.length - 1);
    const repeated = there.length === events.length && there.every(({ id }, i) => id === events[i]?.id);
    return repeated ? there : new RevisionConflict(stream);
  }

  #lastOf(stream: string): number | undefined {
    const [revision] = (this.#lastRevision.get(stream) ?? []) as unknown as number[];
    return revision;
  }

  #add({ stream, events, encoded }: Append, first: number): readonly RecordedEvent[] {
    return events.map((event, i) => {
      const [data, metadata] = encoded[i] as Append['encoded'][number];
      const revision = first + i;
      const { lastInsertRowid } = this.#insert.run(stream, revision, event.id, event.type, data, metadata);
      return { ...event, stream, revision, position: String(lastInsertRowid) };
    });
  }

  #events(stream: string, first: number, last: number): readonly RecordedEvent[] {
    const rows = this.#between.all(stream, first, last) as unknown as Row[];
    return rows.map(([position, revision, id, type, data, metadata]) => ({
      id,
      type,
      data: this.#parsed(data, position),
      metadata: this.#parsed(metadata, position) as EventMetadata,
      stream,
      revision,
      position: String(position),
    }));
  }

  #parsed(text: string, position: number): unknown {
    try {
      return JSON.parse(text);
    } catch {
      throw unreadableAt(this.#path, position);
    }
  }

  #prepareForArrays(text: string): StatementSync {
    const statement = this.#db.prepare(text);
    statement.setReturnArrays(true);
    return statement;
  }
}

function json(value: unknown): string {
  const text = JSON.stringify(value);
  if (text === undefined) throw new TypeError(`An event's data must be a JSON value, not ${typeof value}`);
  return text;
}

type Waiting<Job, Answer> = {
  readonly job: Job;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
};

type Work<Job, Answer> = {
  /** Runs inside the transaction: the job's answer, or the error it alone is refused with. */
  readonly perform: (job: Job) => Answer | Error;
  /** Runs before and after each transaction: throws where what is committed would be lost. */
  readonly assertKept: () => void;
  /** Runs after each commit. */
  readonly committed: () => void;
  /** The error callers get when the transaction failed as a whole. */
  readonly failure: (error: unknown) => unknown;
};

/**
 * Makes one transaction, and so one wait for the disk, of all jobs added in the same turn of the event loop.
 * Each job is answered once it is on disk.
 */
export class GroupCommit<Job, Answer> {
  readonly #work: Work<Job, Answer>;
  readonly #inTransaction: ReturnType<typeof immediateTransaction>;
  #waiting: Waiting<Job, Answer>[] = [];

  constructor(db: DatabaseSync, work: Work<Job, Answer>) {
    this.#work = work;
    this.#inTransaction = immediateTransaction(db);
  }

  /** The job is made at once; what making it throws is what its promise is rejected with. */
  submit(make: () => Job): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.push({ job: make(), resolve, reject }) === 1) setImmediate(() => this.flush());
    });
  }

  /** Commits what is waiting now. */
  flush(): void {
    const group = this.#waiting;
    if (group.length === 0) return;
    this.#waiting = [];
    let outcomes: readonly (Answer | Error)[];
    try {
      this.#work.assertKept();
      outcomes = this.#inTransaction(() => group.map(({ job }) => this.#work.perform(job)));
      this.#work.assertKept();
    } catch (error) {
      const failure = this.#work.failure(error);
      for (const { reject } of group) reject(failure);
      return;
    }
    this.#work.committed();
    group.forEach(({ resolve, reject }, i) => {
      const outcome = outcomes[i] as Answer | Error;
      if (outcome instanceof Error) reject(outcome);
      else resolve(outcome);
    });
  }
}
