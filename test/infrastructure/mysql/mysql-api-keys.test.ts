import { sqlApiKeys } from '../../../infrastructure/sql/api-keys.ts';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import { apiKeysContract } from '../../contracts/api-keys.contract.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';
import { openMysql } from './open-mysql.ts';
import { ownDatabase } from './own-database.ts';

onMariadbAndMysql('API keys over MysqlSql', (url) => {
  apiKeysContract('MysqlSql', async () => {
    const database = await ownDatabase(url);
    const { db, close } = await openMysql(database.url);
    await migrateReadModels(db, 1);
    return {
      keys: sqlApiKeys(db),
      async close() {
        await close();
        await database.drop();
      },
    };
  });
});
