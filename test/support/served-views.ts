import type { SqlQueries } from '../../infrastructure/sql/sql.ts';
import { SqliteSql } from '../../infrastructure/sqlite/database.ts';
import { dataFiles } from '../../infrastructure/sqlite/database-file.ts';
import { openMysql } from '../infrastructure/mysql/open-mysql.ts';
import type { ReadModelStore } from './each-engine.ts';
import { servedFolder } from './served.ts';

export type ServedViews = { readonly url: string; readonly sql: SqlQueries; close(): Promise<void> };

/** A whole server on the store, and its views as analysts have them. */
export async function servedViews({ env, drop }: ReadModelStore): Promise<ServedViews> {
  const served = await servedFolder(env);
  const sql =
    env.MYSQL_URL === undefined
      ? new SqliteSql(dataFiles(served.folder).readModels, { readOnly: true })
      : (await openMysql(env.MYSQL_URL)).db;
  return {
    url: served.url,
    sql,
    async close() {
      await sql.close();
      await served.close();
      await drop();
    },
  };
}
