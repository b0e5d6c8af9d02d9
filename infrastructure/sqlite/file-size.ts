import { statfsSync, statSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import type { WriteAheadLog } from '../../application/ports/storage.ts';
import { isBusy } from './errors.ts';

/** `PRAGMA auto_vacuum` of a file whose free pages can be given back. */
const incremental = 2;
/** A larger file of an older release would be written anew for longer than projectors may stand still. */
const convertedBytes = 1024 ** 3;

/**
 * Whether free pages of the file can be given back to the file system. One that an older release has made is written
 * anew for it, once, where it is small and there is room for a second one beside it.
 */
export function givesPagesBack(db: DatabaseSync, path: string): boolean {
  if (numberOf(db, 'auto_vacuum') === incremental) return true;
  const bytes = (numberOf(db, 'page_count') - numberOf(db, 'freelist_count')) * numberOf(db, 'page_size');
  const { bavail, bsize } = statfsSync(path);
  if (bytes > convertedBytes || bavail * bsize < 3 * bytes) return false;
  try {
    db.exec('PRAGMA auto_vacuum = INCREMENTAL; VACUUM');
  } catch (error) {
    if (isBusy(error)) return false;
    throw error;
  }
  return true;
}

/** How long readers of an older state are waited for, in milliseconds. */
const readersTimeout = 2000;

/** Moves all that is in the write-ahead log to the file, and truncates the log unless others keep reading it. */
export function emptyLog(db: DatabaseSync): void {
  const before = Number(db.prepare('PRAGMA busy_timeout').get()?.timeout);
  db.exec(`PRAGMA busy_timeout = ${readersTimeout}; PRAGMA wal_checkpoint(TRUNCATE)`);
  db.exec(`PRAGMA busy_timeout = ${before}`);
}

/**
 * Closes a log's file, complete without what SQLite keeps beside it. SQLite itself sees to that with the last connection
 * that is closed, unless two are closed at once. Nothing is waited for, and nothing written to a file that was replaced.
 */
export function closeComplete(db: DatabaseSync, assertInPlace: () => void): void {
  try {
    assertInPlace();
    db.exec('PRAGMA wal_checkpoint(PASSIVE)');
  } catch {
    // What was committed is in the write-ahead log.
  }
  db.close();
}

type NumberPragma = 'auto_vacuum' | 'freelist_count' | 'page_count' | 'page_size';

const numberOf = (db: DatabaseSync, pragma: NumberPragma): number =>
  Number(db.prepare(`PRAGMA ${pragma}`).get()?.[pragma]);

/**
 * SQLite cuts the log back to 64 MiB once everything in it is in the file, which it is when no reader looks at an
 * older state: a log of twice that much is held open.
 */
const heldFrom = 128 * 1024 * 1024;

/** The write-ahead log of the database file at `path`. */
export function writeAheadLogOf(path: string): WriteAheadLog {
  return {
    state() {
      const bytes = statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
      return { bytes, isHeld: bytes >= heldFrom };
    },
  };
}
