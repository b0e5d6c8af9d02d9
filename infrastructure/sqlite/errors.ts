import { basename } from 'node:path';
import { EventStoreUnavailable } from '../../application/ports/event-store.ts';
import { ReadModelsUnavailable, UnfitValue } from '../../application/ports/read-models.ts';
import { TelemetryLogUnavailable } from '../../application/ports/telemetry-log.ts';
import { StartupError } from '../startup-error.ts';
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

/** Why the file at `path` cannot be used now; nothing when `error` has another cause. */
export function outageOf(error: unknown, path: string): string | undefined {
  if (error instanceof FileReplaced) return error.message;
  if ((error as { code?: unknown }).code === 'ERR_INVALID_STATE') return `${basename(path)} is closed`;
  const reason = outages.get(primaryCode(error) ?? 0);
  return reason && `${basename(path)}: ${reason} (${(error as Error).message})`;
}

export function eventStoreError(error: unknown, path: string): unknown {
  const message = outageOf(error, path);
  return message ? new EventStoreUnavailable(message, { cause: error }) : error;
}

export function telemetryLogError(error: unknown, path: string): unknown {
  const message = outageOf(error, path);
  return message ? new TelemetryLogUnavailable(message, 1, { cause: error }) : error;
}

export function readModelsError(error: unknown, path: string): unknown {
  const message = outageOf(error, path);
  if (message) return new ReadModelsUnavailable(message, { cause: error });
  if (!refusedValues.has(primaryCode(error))) return error;
  return new UnfitValue(`${basename(path)}: ${(error as Error).message}`, { cause: error });
}

export function openingError(error: unknown, path: string): unknown {
  const message = outageOf(error, path);
  return message
    ? new StartupError(`Cannot open ${path}: ${message}. Check DATA_DIR`, { cause: error })
    : error;
}
