import assert from 'node:assert/strict';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';
import { openMysql } from './open-mysql.ts';
import { ownDatabase } from './own-database.ts';

onMariadbAndMysql('The schema of the read models', (url) => {
  let database: Awaited<ReturnType<typeof ownDatabase>>;
  let opened: Awaited<ReturnType<typeof openMysql>>;

  before(async () => {
    database = await ownDatabase(url);
    opened = await openMysql(database.url);
  });
  after(async () => {
    await opened.close();
    await database.drop();
  });

  it('is made once by nodes that start together, and taken up where a node died making it', async () => {
    const { db } = opened;
    await Promise.all(Array.from({ length: 4 }, (_, i) => migrateReadModels(db, i)));
    await db.run('DELETE FROM schema_migrations');
    await migrateReadModels(db, 9);
    const [row] = await db.all<{ n: number }>('SELECT COUNT(*) AS n FROM projections');
    assert.equal(row?.n, 3);
  });
});
