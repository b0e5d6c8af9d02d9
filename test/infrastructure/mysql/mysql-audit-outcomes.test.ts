import { sqlAuditOutcomes } from '../../../infrastructure/sql/audit.ts';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import { auditOutcomesContract } from '../../contracts/audit-outcomes.contract.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';
import { openMysql } from './open-mysql.ts';
import { ownDatabase } from './own-database.ts';

onMariadbAndMysql('The last audit over MysqlSql', (url) => {
  auditOutcomesContract('MysqlSql', async () => {
    const database = await ownDatabase(url);
    const { db, close } = await openMysql(database.url);
    await migrateReadModels(db, 1);
    return {
      audits: sqlAuditOutcomes(db),
      async close() {
        await close();
        await database.drop();
      },
    };
  });
});
