import assert from 'node:assert/strict';
import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { KeysUnavailable } from '../../../application/ports/api-keys.ts';
import { storageFaultOf } from '../../../application/ports/storage.ts';
import { sqlApiKeys } from '../../../infrastructure/sql/api-keys.ts';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import { sqliteApiKeys } from '../../../infrastructure/sqlite/api-keys.ts';
import { SqliteSql } from '../../../infrastructure/sqlite/database.ts';
import { dataFiles } from '../../../infrastructure/sqlite/database-file.ts';
import { SqliteEventStore } from '../../../infrastructure/sqlite/event-store.ts';
import { accessMarkerContract } from '../../contracts/access-marker.contract.ts';
import { apiKeysContract } from '../../contracts/api-keys.contract.ts';
import { reopenable } from './reopenable.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const open = () => reopenable(({ readModels }) => ({ db: new SqliteSql(readModels) }));

apiKeysContract('A file of API keys', async () => {
  const directory = temporaryDirectory();
  const keys = sqliteApiKeys(dataFiles(directory.path).access);
  return { keys, close: async () => directory.remove() };
});

apiKeysContract('SqliteSql', async () => {
  const { db, close } = await open();
  await migrateReadModels(db, 1);
  return { keys: sqlApiKeys(db), close };
});

accessMarkerContract('SqliteEventStore', () =>
  reopenable(({ events }) => ({ one: new SqliteEventStore(events), other: new SqliteEventStore(events) })),
);

describe('A file of API keys', () => {
  let directory: ReturnType<typeof temporaryDirectory>;
  let path: string;
  beforeEach(() => {
    directory = temporaryDirectory();
    path = dataFiles(directory.path).access;
  });
  afterEach(() => directory.remove());

  const faults: Readonly<Record<string, () => void>> = {
    'is gone': () => rmSync(path),
    'is something else': () => writeFileSync(path, 'no database '.repeat(1000)),
    'is cut off': () => truncateSync(path, 5000),
  };
  for (const [fault, harm] of Object.entries(faults))
    it(`says that it cannot be read when it ${fault}, and not that there are no keys`, async () => {
      const keys = sqliteApiKeys(path);
      harm();
      await assert.rejects(keys.list(), (error: Error) => {
        assert.ok(error instanceof KeysUnavailable, String(error));
        assert.match(error.message, /access\.db/);
        if (fault !== 'is gone')
          assert.match(storageFaultOf(error)?.reason ?? '', /restore it from a backup/);
        return true;
      });
    });
});

describe('Read models of the release before there were API keys', () => {
  it('are given a table for them, and keep what else they hold', async () => {
    const { db, close } = await open();
    await migrateReadModels(db, 1);
    const [[latest] = []] = await db.rows('SELECT MAX(version) FROM schema_migrations');
    await db.run('DROP TABLE api_keys');
    await db.run('UPDATE schema_migrations SET version = 1');
    await db.run("UPDATE projections SET active = 7 WHERE name = 'devices'");
    await migrateReadModels(db, 2);
    assert.deepEqual(await sqlApiKeys(db).list(), []);
    assert.deepEqual(await db.rows("SELECT active FROM projections WHERE name = 'devices'"), [[7]]);
    assert.deepEqual(await db.rows('SELECT version, applied_at FROM schema_migrations ORDER BY version'), [
      [1, 1],
      [latest, 2],
    ]);
    await migrateReadModels(db, 3);
    assert.equal((await db.all('SELECT version FROM schema_migrations')).length, 2);
    await close();
  });
});
