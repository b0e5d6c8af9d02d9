import { chmodSync, closeSync, existsSync, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { makeFolder } from '../folder.ts';
import { StartupError } from '../startup-error.ts';
import { isBusy, openingError } from './errors.ts';
import { notThere } from './open-file.ts';
import { isCheckpointUnfinished, walIndexOf } from './wal-index.ts';

export type SqliteFile = {
  readonly path: string;
  /** `WAL` unless it says otherwise. */
  readonly journal?: 'WAL' | 'DELETE';
  /** `FULL`: what was committed survives a power failure. `NORMAL`: it survives the end of the process. */
  readonly synchronous: 'FULL' | 'NORMAL';
  /** Of a new file, a power of two; one that exists keeps the size it was made with. */
  readonly pageBytes: number;
  /** In the write-ahead log before they are moved to the file. */
  readonly checkpointBytes: number;
  /** Memory for pages of the file, in KiB. */
  readonly cache: number;
  /** Whether tables are dropped in it, whose pages are then to be given back to the file system. */
  readonly shrinks?: boolean;
  /** What brings the schema from version n to n + 1, at index n. Once released, a migration is never changed. */
  readonly migrations: readonly string[];
};

/** How long a statement waits for another process. Blocks this one, so no transaction may take long. */
const busyTimeout = 5000;

/** In a data folder while a backup is put into it. */
export const incompleteRestore = 'restore.incomplete';

type DataFiles = Readonly<Record<'events' | 'telemetry' | 'readModels' | 'access', string>>;

/** A file that is missing is made, unless this process has made or opened it before: somebody has deleted it since. */
export type Creation = { readonly create?: boolean };

/**
 * Where each of the files lies; a directory that is not there is made for this user alone. Several, so that the
 * writers never contend.
 */
export function dataFiles(dataDir: string, { create = true }: Creation = {}): DataFiles {
  if (existsSync(join(dataDir, incompleteRestore)))
    throw new StartupError(
      `A restore into ${dataDir} was cut short: run \`fieldlog restore\` again with the same backup`,
    );
  if (create) makeDataFolder(dataDir);
  return {
    events: join(dataDir, 'events.db'),
    telemetry: join(dataDir, 'telemetry.db'),
    readModels: join(dataDir, 'read-models.db'),
    access: join(dataDir, 'access.db'),
  };
}

/** What `auto_vacuum` says of such a file. */
const incremental = 2;

/** Throws `StartupError`. */
export function makeDataFolder(dataDir: string): void {
  try {
    makeFolder(dataDir);
  } catch (error) {
    const { message } = error as Error;
    throw new StartupError(`Cannot make the data directory ${dataDir}: ${message}. Check DATA_DIR`, {
      cause: error,
    });
  }
}

/** Opens the file, new or not, and brings its schema up to this release. Throws `StartupError`. */
export function openSqliteFile(file: SqliteFile, { create = true }: Creation = {}): DatabaseSync {
  try {
    if (create) makePrivate(file.path);
    const db = new DatabaseSync(create ? file.path : existing(file.path), { timeout: busyTimeout });
    try {
      db.exec(`PRAGMA page_size = ${file.pageBytes}`);
      // Setting it again would wait for whoever writes at the moment.
      if (file.shrinks && numberOf(db, 'auto_vacuum') !== incremental)
        db.exec('PRAGMA auto_vacuum = INCREMENTAL');
      useJournal(db, file.journal ?? 'WAL');
      const checkpointPages = Math.ceil(file.checkpointBytes / numberOf(db, 'page_size'));
      db.exec(`PRAGMA synchronous = ${file.synchronous}; PRAGMA wal_autocheckpoint = ${checkpointPages};
        PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -${file.cache}`);
      migrate(db, file);
      const index = walIndexOf(file.path);
      if (index && isCheckpointUnfinished(index)) endCheckpoint(db);
      return db;
    } catch (error) {
      db.close();
      throw error;
    }
  } catch (error) {
    throw openingError(error, file.path);
  }
}

/** A connection that cannot change anything. The file must have been opened for writing before, once. */
export function openForReading(path: string): DatabaseSync {
  try {
    return new DatabaseSync(path, { readOnly: true, timeout: busyTimeout });
  } catch (error) {
    throw openingError(error, path);
  }
}

/** Opened for writing only where it is there. */
function existing(path: string): URL {
  if (!existsSync(path)) throw notThere(path, 'deleted');
  const url = pathToFileURL(path);
  url.searchParams.set('mode', 'rw');
  return url;
}

const ofOthers = 0o007;

/**
 * A new file is its owner's alone, and what SQLite keeps beside it gets the same mode. One that is there is closed to
 * everybody else; a group may have been given it on purpose, to analysts for example.
 */
function makePrivate(path: string): void {
  if (!existsSync(path)) closeSync(openSync(path, 'a', 0o600));
  for (const one of [path, `${path}-wal`, `${path}-shm`]) {
    const { mode = 0, uid } = statSync(one, { throwIfNoEntry: false }) ?? {};
    if (mode & ofOthers && uid === process.getuid?.()) chmodSync(one, mode & ~ofOthers & 0o777);
  }
}

/** Two connections that open a new file at once may both get SQLITE_BUSY without the usual wait. */
function useJournal(db: DatabaseSync, journal: 'WAL' | 'DELETE'): void {
  const deadline = Date.now() + busyTimeout;
  for (;;) {
    try {
      db.exec(`PRAGMA journal_mode = ${journal}`);
      return;
    } catch (error) {
      if (!isBusy(error) || Date.now() > deadline) throw error;
    }
  }
}

function migrate(db: DatabaseSync, { path, migrations }: SqliteFile): void {
  const found = versionOf(db);
  if (found === migrations.length) return;
  db.exec('BEGIN IMMEDIATE');
  try {
    const version = versionOf(db);
    if (version > migrations.length)
      throw new StartupError(
        `${path} has schema ${version}, this release knows ${migrations.length}: start the newer release that wrote it, or set DATA_DIR to another directory`,
      );
    for (const migration of migrations.slice(version)) db.exec(migration);
    db.exec(`PRAGMA user_version = ${migrations.length}`);
    db.exec('COMMIT');
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

/** So that the file alone says again what it is. What cannot be moved to it now stays in the write-ahead log. */
function endCheckpoint(db: DatabaseSync): void {
  try {
    db.exec('PRAGMA wal_checkpoint(PASSIVE)');
  } catch {
    // The disk may be full.
  }
}

const versionOf = (db: DatabaseSync): number => numberOf(db, 'user_version');

const numberOf = (db: DatabaseSync, pragma: 'auto_vacuum' | 'page_size' | 'user_version'): number =>
  Number(db.prepare(`PRAGMA ${pragma}`).get()?.[pragma]);

/**
 * Runs work in a transaction that holds the file from its beginning: what the work reads, other processes cannot
 * change before it commits. Rolled back when the work throws.
 */
export function immediateTransaction(db: DatabaseSync): <T>(work: () => T) => T {
  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  return (work) => {
    begin.run();
    try {
      const result = work();
      commit.run();
      return result;
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK');
      throw error;
    }
  };
}

/**
 * Made with the file, and copied with it: a log that is made anew has another identity. Who restores a log from a copy
 * gives it a new one, since positions behind the copy's end are given again to other events.
 */
export const identityTable = `CREATE TABLE log_identity (id TEXT NOT NULL) STRICT;
  INSERT INTO log_identity VALUES (lower(hex(randomblob(16))));`;

/** The identity of the log in an open file. */
export function logIdentity(db: DatabaseSync): string {
  const row = db.prepare('SELECT id FROM log_identity').get() as { readonly id: string };
  return row.id;
}

/**
 * Not `FULL`: rows and the checkpoint they reach to are one transaction, so what a power failure takes back is
 * consumed from the log again. The tables themselves are the business of `infrastructure/sql/schema.ts`.
 */
export const readModelsFile = (path: string): SqliteFile => ({
  path,
  synchronous: 'NORMAL',
  // Rows of a device are adjacent and change together: larger pages are fewer to write.
  pageBytes: 8192,
  checkpointBytes: 80 * 1024 * 1024,
  cache: 65_536,
  shrinks: true,
  migrations: [],
});

/**
 * A row is a whole publication, as JSON: what a request brought costs one insert. Its events' positions are
 * `first_offset`, `first_offset + 1` and so on, counted from 1 without a gap.
 */
export const telemetryFile = (path: string): SqliteFile => ({
  path,
  synchronous: 'FULL',
  // Rows are long and only ever added: large pages halve what a commit costs.
  pageBytes: 32_768,
  checkpointBytes: 8 * 1024 * 1024,
  // No page is looked at twice: rows are added to the end, and read from one end to the other.
  cache: 1024,
  migrations: [
    `CREATE TABLE batches (
       first_offset INTEGER PRIMARY KEY,
       count INTEGER NOT NULL,
       body TEXT NOT NULL
     ) STRICT;`,
    identityTable,
  ],
});

/** The last row's offset and count, from which the next offset follows. */
export const lastBatch = 'SELECT first_offset, count FROM batches ORDER BY first_offset DESC LIMIT 1';
