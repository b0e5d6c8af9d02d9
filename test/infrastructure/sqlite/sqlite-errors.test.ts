import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { EventStoreUnavailable } from '../../../application/ports/event-store.ts';
import { ReadModelsUnavailable, UnfitValue } from '../../../application/ports/read-models.ts';
import { StorageFault } from '../../../application/ports/storage.ts';
import { TelemetryLogUnavailable } from '../../../application/ports/telemetry-log.ts';
import {
  eventStoreError,
  readModelsError,
  telemetryLogError,
} from '../../../infrastructure/sqlite/errors.ts';
import { temporaryDirectory } from './temporary-directory.ts';

describe('What SQLite throws', () => {
  let directory: ReturnType<typeof temporaryDirectory>;
  let db: DatabaseSync;
  let path: string;
  beforeEach(() => {
    directory = temporaryDirectory();
    path = join(directory.path, 'events.db');
    db = new DatabaseSync(path);
    db.exec('CREATE TABLE t (a TEXT NOT NULL)');
  });
  afterEach(() => {
    if (db.isOpen) db.close();
    directory.remove();
  });

  const thrownBy = (work: () => unknown): unknown => {
    try {
      work();
    } catch (error) {
      return error;
    }
    return assert.fail('nothing was thrown');
  };
  const assertOutage = (error: unknown, reason: RegExp) => {
    const errors = [
      eventStoreError(error, path),
      telemetryLogError(error, path),
      readModelsError(error, path),
    ];
    for (const [i, kind] of [
      EventStoreUnavailable,
      TelemetryLogUnavailable,
      ReadModelsUnavailable,
    ].entries()) {
      assert.ok(errors[i] instanceof kind);
      assert.match(errors[i].message, reason);
      const { cause } = errors[i];
      assert.equal(cause instanceof StorageFault ? cause.cause : cause, error);
    }
  };

  it('is an outage when another process holds the file', () => {
    const other = new DatabaseSync(path, { timeout: 0 });
    db.exec('BEGIN IMMEDIATE');
    assertOutage(
      thrownBy(() => other.exec('BEGIN IMMEDIATE')),
      /events\.db: another process keeps it locked/,
    );
    other.close();
  });

  it('is an outage when the disk is full', () => {
    db.exec('PRAGMA max_page_count = 2');
    const insert = db.prepare('INSERT INTO t VALUES (?)');
    assertOutage(
      thrownBy(() => insert.run('x'.repeat(100_000))),
      /events\.db: the disk is full/,
    );
  });

  it('is an outage when the file was closed', () => {
    db.close();
    assertOutage(
      thrownBy(() => db.exec('SELECT 1')),
      /events\.db is closed/,
    );
  });

  it('stays what it is when the statement is at fault', () => {
    const error = thrownBy(() => db.exec('SELEKT'));
    assert.deepEqual(
      [eventStoreError(error, path), telemetryLogError(error, path), readModelsError(error, path)],
      [error, error, error],
    );
  });

  it('is a value that cannot be stored when a row breaks a rule or is too long', () => {
    const long = db.prepare('INSERT INTO t VALUES (zeroblob(1000000001))');
    for (const error of [
      thrownBy(() => db.exec('INSERT INTO t VALUES (NULL)')),
      thrownBy(() => long.run()),
    ]) {
      const unfit = readModelsError(error, path);
      assert.ok(unfit instanceof UnfitValue, String(error));
      assert.equal(unfit.cause, error);
      assert.deepEqual([eventStoreError(error, path), telemetryLogError(error, path)], [error, error]);
    }
  });
});
