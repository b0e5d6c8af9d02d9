import { sqlRetentionRecords } from '../../../infrastructure/sql/retention.ts';
import { sqlRetentionTables } from '../../../infrastructure/sql/retention-sweep.ts';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import { retentionContract } from '../../contracts/retention.contract.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';
import { openMysql } from './open-mysql.ts';
import { ownDatabase } from './own-database.ts';

onMariadbAndMysql('Retention over MysqlSql', (url) => {
  async function open() {
    const database = await ownDatabase(url);
    const { db, close } = await openMysql(database.url);
    await migrateReadModels(db, 1);
    return {
      db,
      records: sqlRetentionRecords(db, Date.now),
      tables: sqlRetentionTables(db),
      async close() {
        await close();
        await database.drop();
      },
    };
  }

  retentionContract('MysqlSql', open);
});
