import { SqliteSql } from '../../../infrastructure/sqlite/database.ts';
import { dataFiles } from '../../../infrastructure/sqlite/database-file.ts';
import { sqlViewsContract } from '../../contracts/sql-views.contract.ts';
import { openMysql } from '../../infrastructure/mysql/open-mysql.ts';
import { onEachEngine } from '../../support/each-engine.ts';
import { servedFolder } from '../../support/served.ts';

onEachEngine('Views for analysts', (open) =>
  sqlViewsContract(async () => {
    const store = await open();
    const served = await servedFolder(store.env);
    const mysql = store.env.MYSQL_URL;
    const sql = mysql
      ? (await openMysql(mysql)).db
      : new SqliteSql(dataFiles(served.folder).readModels, { readOnly: true });
    return {
      url: served.url,
      sql,
      async close() {
        await sql.close();
        await served.close();
        await store.drop();
      },
    };
  }),
);
