import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { dataFiles, openSqliteFile, type SqliteFile } from '../../../infrastructure/sqlite/database-file.ts';
import { StartupError } from '../../../infrastructure/startup-error.ts';
import { temporaryDirectory } from './temporary-directory.ts';

describe('A SQLite file', () => {
  let directory: ReturnType<typeof temporaryDirectory>;
  let path: string;
  beforeEach(() => {
    directory = temporaryDirectory();
    path = join(directory.path, 'events.db');
  });
  afterEach(() => directory.remove());

  const file = (...migrations: string[]): SqliteFile => ({
    path,
    synchronous: 'FULL',
    pageBytes: 4096,
    checkpointBytes: 4_096_000,
    cache: 1024,
    migrations,
  });
  const first = 'CREATE TABLE notes (id INTEGER PRIMARY KEY); INSERT INTO notes VALUES (1)';
  const second = 'ALTER TABLE notes ADD COLUMN text TEXT; INSERT INTO notes VALUES (2, NULL)';
  const ids = (db: DatabaseSync) =>
    db
      .prepare('SELECT id FROM notes')
      .all()
      .map(({ id }) => id);
  const refusal = (open: () => unknown): string => {
    let message = '';
    assert.throws(open, (error) => {
      assert.ok(error instanceof StartupError, String(error));
      message = error.message;
      return true;
    });
    assert.ok(!message.includes('\n'), 'the message is one line');
    return message;
  };

  it('runs each migration once, whatever release opens it first', () => {
    openSqliteFile(file(first)).close();
    openSqliteFile(file(first)).close();
    const db = openSqliteFile(file(first, second));
    assert.deepEqual(ids(db), [1, 2]);
    db.close();
  });

  it('is opened while somebody writes to it, whose transaction may take longer than anybody waits', () => {
    const shrinking = { ...file(first), shrinks: true };
    const writing = openSqliteFile(shrinking);
    assert.equal(writing.prepare('PRAGMA auto_vacuum').get()?.auto_vacuum, 2);
    writing.exec('BEGIN IMMEDIATE; INSERT INTO notes VALUES (2)');
    const db = openSqliteFile(shrinking);
    assert.deepEqual(ids(db), [1]);
    writing.exec('COMMIT');
    assert.deepEqual(ids(db), [1, 2]);
    for (const one of [writing, db]) one.close();
  });

  it('keeps nothing of a migration that fails', () => {
    openSqliteFile(file(first)).close();
    assert.throws(() => openSqliteFile(file(first, `${second}; SELECT missing`)), /missing/);
    const db = openSqliteFile(file(first));
    assert.deepEqual(ids(db), [1]);
    db.close();
  });

  it('is refused when a newer release has written it, and left as it is', () => {
    openSqliteFile(file(first, second)).close();
    const message = refusal(() => openSqliteFile(file(first)));
    assert.ok(message.includes(path), message);
    assert.match(message, /schema 2.*knows 1.*start the newer release/);
    const db = openSqliteFile(file(first, second));
    assert.deepEqual(ids(db), [1, 2]);
    db.close();
  });

  it('commits to disk before it answers', () => {
    const db = openSqliteFile(file(first));
    assert.equal(db.prepare('PRAGMA journal_mode').get()?.journal_mode, 'wal');
    assert.equal(db.prepare('PRAGMA synchronous').get()?.synchronous, 2);
    db.close();
  });

  it('is refused when it is something else', () => {
    writeFileSync(
      path,
      'a letter to the editor, long enough to be taken for a header of a hundred bytes '.repeat(3),
    );
    assert.match(
      refusal(() => openSqliteFile(file(first))),
      /events\.db.*not a SQLite database.*DATA_DIR/,
    );
    const other = join(directory.path, 'folder.db');
    mkdirSync(other);
    assert.match(
      refusal(() => openSqliteFile({ ...file(first), path: other })),
      /folder\.db.*cannot be opened/,
    );
  });

  it('names the data directory that cannot be made', () => {
    writeFileSync(join(directory.path, 'taken'), '');
    assert.match(
      refusal(() => dataFiles(join(directory.path, 'taken', 'data'))),
      /data directory .*taken/,
    );
  });

  it('can be made by several threads at once', async function () {
    this.timeout(30_000);
    const opener = new URL('./opening-thread.ts', import.meta.url);
    for (let round = 0; round < 3; round += 1) {
      const workerData = join(directory.path, `round-${round}.db`);
      const threads = Array.from({ length: 4 }, () => new Worker(opener, { workerData }));
      const codes = await Promise.all(threads.map((thread) => once(thread, 'exit')));
      assert.deepEqual(codes.flat(), [0, 0, 0, 0]);
    }
  });
});
