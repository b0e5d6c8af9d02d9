import assert from 'node:assert/strict';
import { projectionNames } from '../../../application/projections/projection.ts';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import { schemaUpgradeContract } from '../../contracts/schema-upgrade.contract.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';
import { openMysql } from './open-mysql.ts';
import { ownDatabase } from './own-database.ts';

onMariadbAndMysql('The schema of the read models', (url) => {
  async function open(length = 0) {
    const database = await ownDatabase(url, length);
    const { db, close } = await openMysql(database.url);
    return {
      db,
      async close() {
        await close();
        await database.drop();
      },
    };
  }

  for (const length of [0, 64])
    it(`is made once by nodes that start together, in a database with ${length ? 'the longest' : 'any'} name`, async () => {
      const { db, close } = await open(length);
      try {
        await Promise.all(Array.from({ length: 4 }, (_, i) => migrateReadModels(db, i)));
        await db.run('DELETE FROM schema_migrations');
        await migrateReadModels(db, 9);
        const [row] = await db.all<{ n: number }>('SELECT COUNT(*) AS n FROM projections');
        assert.equal(row?.n, projectionNames.length);
      } finally {
        await close();
      }
    });

  it('keeps nobody else out once a migration has failed', async () => {
    const database = await ownDatabase(url);
    const [first, second] = [await openMysql(database.url), await openMysql(database.url)];
    try {
      await migrateReadModels(first.db, 1);
      await first.db.run('UPDATE schema_migrations SET version = 99');
      await assert.rejects(migrateReadModels(first.db, 2), /schema 99/);
      const free = await second.db.rows(
        "SELECT IS_FREE_LOCK(LEFT(CONCAT('fieldlog migrates ', DATABASE()), 64))",
      );
      assert.deepEqual(free, [[1]]);
    } finally {
      await first.close();
      await second.close();
      await database.drop();
    }
  });

  schemaUpgradeContract('A database', () => open());
});
