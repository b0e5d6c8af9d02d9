import type { SqlQueries } from '../../infrastructure/sql/sql.ts';
import { lookInto, type ReadModelStore } from './each-engine.ts';
import { servedFolder } from './served.ts';

export type ServedViews = { readonly url: string; readonly sql: SqlQueries; close(): Promise<void> };

/** A whole server on the store, and its views as analysts have them. */
export async function servedViews({ env, drop }: ReadModelStore): Promise<ServedViews> {
  const served = await servedFolder(env);
  const sql = await lookInto({ env }, served.folder);
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
