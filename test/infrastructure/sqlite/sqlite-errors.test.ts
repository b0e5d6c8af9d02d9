import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { EventStoreUnavailable } from '../../../application/ports/event-store.ts';
import { ReadModelsUnavailable, UnfitValue } from '../../../application/ports/read-models.ts';
import { StorageFault } from '../../../application/ports/storage.ts';
import { TelemetryLogUnavailable } from '../../../application/ports/telemetry-log.ts';
import { dataFiles } from '../../../infrastructure/sqlite/database-file.ts';
import {
  eventStoreError,
  findDamage,
  readModelsError,
  telemetryLogError,
} from '../../../infrastructure/sqlite/errors.ts';
import { SqliteEventStore } from '../../../infrastructure/sqlite/event-store.ts';
import { SqliteTelemetryLog } from '../../../infrastructure/sqlite/telemetry-log.ts';
import { newEvent, newStream } from '../../contracts/event-store.contract.ts';
import { newDevice, newPublication, reading } from '../../contracts/telemetry-log.contract.ts';
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

describe('Damage that pages do not show', () => {
  const damages: readonly (readonly [
    name: 'telemetry' | 'events',
    what: string,
    statement: string,
    at: number,
  ])[] = [
    ['telemetry', 'a body that is overwritten', "UPDATE batches SET body = '¥¥¥' WHERE first_offset = 3", 3],
    ['telemetry', 'readings that are missing', 'DELETE FROM batches WHERE first_offset = 3', 5],
    ['telemetry', 'the first readings missing', 'DELETE FROM batches WHERE first_offset = 1', 3],
    ['events', 'data that is overwritten', "UPDATE events SET data = '¥' WHERE position = 2", 2],
    ['events', 'metadata that is overwritten', "UPDATE events SET metadata = '' WHERE position = 3", 3],
  ];
  for (const [name, what, statement, at] of damages)
    it(`is found: ${what} in ${name}.db`, async () => {
      const directory = temporaryDirectory();
      try {
        const path = dataFiles(directory.path)[name];
        const [log, store] = [
          new SqliteTelemetryLog(dataFiles(directory.path).telemetry),
          new SqliteEventStore(dataFiles(directory.path).events),
        ];
        for (let n = 0; n < 3; n += 1) {
          await log.publish(newPublication([reading(newDevice(), 0), reading(newDevice(), 1)]));
          await store.append(newStream(), [newEvent()], 'none');
        }
        await Promise.all([log.close(), store.close()]);
        assert.equal(findDamage(path, 'full'), undefined);
        const db = new DatabaseSync(path);
        db.exec(statement);
        db.close();
        for (const how of ['quick', 'full'] as const)
          assert.match(
            findDamage(path, how) ?? '',
            new RegExp(`${name}\\.db is damaged .*it cannot be read at ${at}.*restore it`),
          );
      } finally {
        directory.remove();
      }
    });

  it('is found where nothing is left of a file', () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, 'events.db');
    writeFileSync(path, '');
    assert.match(findDamage(path, 'full') ?? '', /events\.db is empty; .*restore it from a backup/);
    // As a first start leaves it that was killed.
    assert.equal(findDamage(path, 'quick'), undefined);
    directory.remove();
  });
});
