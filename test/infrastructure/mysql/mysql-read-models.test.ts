import { sqlReadModels } from '../../../infrastructure/sql/read-models.ts';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import { readModelsContract } from '../../contracts/read-models.contract.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';
import { openMysql } from './open-mysql.ts';
import { ownDatabase } from './own-database.ts';

onMariadbAndMysql('Read models over MysqlSql', (url) =>
  readModelsContract('MysqlSql', async () => {
    const database = await ownDatabase(url);
    const { db, close } = await openMysql(database.url);
    await migrateReadModels(db, 0);
    return {
      readModels: sqlReadModels(db, { now: () => 0 }),
      sql: db,
      async close() {
        await close();
        await database.drop();
      },
    };
  }),
);
