import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import { SqliteSql } from '../../../infrastructure/sqlite/database.ts';
import { writeAheadLogOf } from '../../../infrastructure/sqlite/file-size.ts';
import { temporaryDirectory } from './temporary-directory.ts';

describe('The write-ahead log of the read models', function () {
  this.timeout(60_000);

  it('is held while a transaction of another reads an older state, and not after it', async () => {
    const folder = temporaryDirectory();
    const path = join(folder.path, 'read-models.db');
    const db = new SqliteSql(path);
    const log = writeAheadLogOf(path);
    await migrateReadModels(db, 0);
    await db.run('CREATE TABLE filler (id INTEGER PRIMARY KEY, text TEXT)');
    let written = 0;
    // SQLite does not write pages again that are as they were.
    const text = () => String.fromCharCode(97 + (written++ % 26)).repeat(65_536);
    const write = () =>
      db.write(
        'replace',
        'filler',
        ['id', 'text'],
        Array.from({ length: 63 }, (_, i) => [i, text()]),
      );
    const analyst = new DatabaseSync(path, { readOnly: true });
    try {
      await write();
      assert.equal(log.state().isHeld, false);
      analyst.exec('BEGIN; SELECT COUNT(*) FROM filler');
      for (let i = 0; i < 34; i += 1) await write();
      const { bytes, isHeld } = log.state();
      assert.ok(isHeld && bytes > 134_217_728, String(bytes));
      analyst.exec('COMMIT');
      for (let i = 0; i < 3; i += 1) await write();
      assert.equal(log.state().isHeld, false);
    } finally {
      analyst.close();
      await db.close();
      folder.remove();
    }
  });
});
