import assert from 'node:assert/strict';
import { sqlApiKeys } from '../../../infrastructure/sql/api-keys.ts';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import { SqliteSql } from '../../../infrastructure/sqlite/database.ts';
import { apiKeysContract } from '../../contracts/api-keys.contract.ts';
import { reopenable } from './reopenable.ts';

const open = () => reopenable(({ readModels }) => ({ db: new SqliteSql(readModels) }));

apiKeysContract('SqliteSql', async () => {
  const { db, close } = await open();
  await migrateReadModels(db, 1);
  return { keys: sqlApiKeys(db), close };
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
