import { statfsSync, statSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { KeysUnavailable } from '../../application/ports/api-keys.ts';
import { OperatorNeeded } from '../../application/ports/event-source.ts';
import { EventStoreUnavailable } from '../../application/ports/event-store.ts';
import { ReadModelsUnavailable, UnfitValue } from '../../application/ports/read-models.ts';
import { StorageFault } from '../../application/ports/storage.ts';
import { TelemetryLogUnavailable } from '../../application/ports/telemetry-log.ts';
import { StartupError, StoreUnusable } from '../startup-error.ts';
import { announceDamage } from './known-damage.ts';
import { FileReplaced } from './open-file.ts';

/** Primary result codes (https://www.sqlite.org/rescode.html) for which the file, not the statement, is at fault. */
const outages = new Map([
  [3, 'access to it is denied'],
  [5, 'another process keeps it locked'],
  [6, 'another connection keeps it locked'],
  [7, 'memory is exhausted'],
  [8, 'it cannot be written to'],
  [9, 'the operation was interrupted'],
  [10, 'reading or writing the disk failed'],
  [11, 'it is damaged'],
  [13, 'the disk is full'],
  [14, 'it cannot be opened'],
  [15, 'its locks do not work on this file system'],
  [17, 'its tables have changed meanwhile'],
  [22, 'it is larger than this file system can hold'],
  [23, 'access to it is denied'],
  [26, 'it is not a SQLite database'],
]);

/** Those that say nothing against the file itself, nor against where it is looked for. */
const passing: ReadonlySet<number | undefined> = new Set([5, 6, 9, 10]);

/** Those for which a value is at fault: too long, breaking a rule of its table, of another type. The rest is unknown. */
const refusedValues: ReadonlySet<number | undefined> = new Set([18, 19, 20]);

const primaryCode = (error: unknown): number | undefined => {
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  return code === 'ERR_SQLITE_ERROR' && typeof errcode === 'number' ? errcode & 0xff : undefined;
};

export const isBusy = (error: unknown): boolean => primaryCode(error) === 5;

/** SQLITE_CONSTRAINT_UNIQUE and _PRIMARYKEY: a row is there already with a value that must be its own. */
export const isTaken = (error: unknown): boolean =>
  [2067, 1555].includes((error as { errcode?: unknown }).errcode as number);

const isDamage = (error: unknown): boolean => [11, 26].includes(primaryCode(error) ?? 0);

/** SQLite reports a full disk by code 13; where a file beside the database cannot grow, as a failure of the disk. */
function isFull(error: unknown, path: string): boolean {
  const code = primaryCode(error);
  if (code === 13 || (error as { code?: unknown }).code === 'ENOSPC') return true;
  return (code === 10 || code === 14) && freeBytes(path) < fullBelow;
}

const fullBelow = 65_536;

function freeBytes(path: string): number {
  try {
    const { bavail, bsize } = statfsSync(dirname(path));
    return bavail * bsize;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** What an operator has to do about the file at `path`; `error` itself where that is nothing. */
function fileFault(error: unknown, path: string): unknown {
  if (isFull(error, path))
    return new StorageFault(
      'full',
      `The disk of ${dirname(path)} is full: ${freeBytes(path)} bytes are free. Free some space`,
      { cause: error },
    );
  if (isDamage(error)) return damaged(path, `${path}: ${outages.get(primaryCode(error) ?? 0)}`, error);
  return error;
}

/** Of a file in which something was found that is not what it should be. */
export const damageFault = (path: string, found: string): StorageFault =>
  damaged(path, `${path} is damaged (${found.replace(/\s+/g, ' ')})`);

/** Of a row whose page is whole, and whose content is not what was written. */
export const unreadableAt = (path: string, position: number): StorageFault =>
  damageFault(path, `it cannot be read at ${position}`);

function damaged(path: string, what: string, cause?: unknown): StorageFault {
  const reason = `${what}; ${remedyFor(path)}`;
  announceDamage(path, reason);
  return new StorageFault('damaged', reason, { cause });
}

/** How a damaged file is made good. */
const remedyFor = (path: string): string =>
  basename(path) === 'read-models.db'
    ? 'stop the server, move it and the files beside it away, and start again: it is rebuilt from the logs'
    : 'stop the server and restore it from a backup, or set DATA_DIR to the folder that was meant';

/** Why the file at `path` cannot be used now; nothing when `error` has another cause. */
function outageOf(error: unknown, path: string): string | undefined {
  if (error instanceof FileReplaced) return error.message;
  if ((error as { code?: unknown }).code === 'ERR_INVALID_STATE') return `${basename(path)} is closed`;
  const reason = outages.get(primaryCode(error) ?? 0);
  return reason && `${basename(path)}: ${reason} (${(error as Error).message})`;
}

export function eventStoreError(error: unknown, path: string): unknown {
  if (error instanceof StorageFault) return new EventStoreUnavailable(error.reason, { cause: error });
  const message = outageOf(error, path);
  return message ? new EventStoreUnavailable(message, { cause: fileFault(error, path) }) : error;
}

export function telemetryLogError(error: unknown, path: string): unknown {
  const message = outageOf(error, path);
  return message ? new TelemetryLogUnavailable(message, 1, { cause: fileFault(error, path) }) : error;
}

export function readModelsError(error: unknown, path: string): unknown {
  const message = outageOf(error, path);
  if (message) return new ReadModelsUnavailable(message, { cause: fileFault(error, path) });
  if (!refusedValues.has(primaryCode(error))) return error;
  return new UnfitValue(`${basename(path)}: ${(error as Error).message}`, { cause: error });
}

export function keysError(error: unknown, path: string): unknown {
  const message = outageOf(error, path);
  return message ? new KeysUnavailable(message, { cause: fileFault(error, path) }) : error;
}

/** A damaged log does not mend itself. */
class FileDamaged extends OperatorNeeded {
  override readonly name = 'FileDamaged';
}

/** Of reading a log. */
export function readingError(error: unknown, path: string): unknown {
  const fault = fileFault(error, path);
  const isDamaged = fault instanceof StorageFault && fault.kind === 'damaged';
  return isDamaged ? new FileDamaged(fault.reason, { cause: fault }) : error;
}

export function openingError(error: unknown, path: string): unknown {
  const fault = fileFault(error, path);
  if (fault instanceof StorageFault) return new StoreUnusable(fault.reason, { cause: fault });
  if (error instanceof FileReplaced) return new StartupError(error.message, { cause: error });
  const ofFileSystem = (error as NodeJS.ErrnoException).syscall && (error as Error).message;
  const message = outageOf(error, path) ?? ofFileSystem;
  if (!message) return error;
  if (passing.has(primaryCode(error)))
    return new StoreUnusable(`Cannot open ${path}: ${message}`, { cause: error });
  return new StartupError(`Cannot open ${path}: ${message}. Check DATA_DIR`, { cause: error });
}

/** Finds positions in a log where its pages are good and what is in them is not: pages have no sums of their content. */
const unreadable: Readonly<Record<string, string>> = {
  'events.db':
    'SELECT position AS at FROM events WHERE NOT (json_valid(data) AND json_valid(metadata)) LIMIT 1',
  'telemetry.db': `SELECT at FROM (
      SELECT first_offset AS at, body, lag(first_offset + count, 1, 1) OVER (ORDER BY first_offset) AS follows FROM batches
    ) WHERE at <> follows OR NOT json_valid(body) LIMIT 1`,
};

/**
 * Reads a whole file: `quick` finds pages that are not what they should be, and in a log what cannot be read; `full` also
 * indexes that differ from their tables. Answers with what is wrong and what to do, or `undefined`. Servers may be
 * writing meanwhile.
 */
export function findDamage(path: string, how: 'quick' | 'full'): string | undefined {
  const isEmpty = statSync(path).size === 0;
  // A start that was killed has left one, and the next goes on.
  if (how === 'full' && isEmpty) return `${path} is empty; ${remedyFor(path)}`;
  try {
    const db = new DatabaseSync(path, { readOnly: true, timeout: 5000 });
    try {
      const pragma = how === 'quick' ? 'quick_check' : 'integrity_check';
      const [row] = db.prepare(`PRAGMA ${pragma}(1)`).all();
      const found = String(row?.[pragma]);
      if (found !== 'ok') return damageFault(path, found).reason;
      const content = isEmpty ? undefined : unreadable[basename(path)];
      const at = content === undefined ? undefined : db.prepare(content).get()?.at;
      return at === undefined ? undefined : unreadableAt(path, Number(at)).reason;
    } finally {
      db.close();
    }
  } catch (error) {
    const fault = fileFault(error, path);
    if (fault instanceof StorageFault && fault.kind === 'damaged') return fault.reason;
    throw openingError(error, path);
  }
}
