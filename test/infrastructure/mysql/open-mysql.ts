import type { Log } from '../../../application/ports/log.ts';
import { type MysqlOptions, MysqlSql } from '../../../infrastructure/mysql/mysql-sql.ts';
import type { Opened } from '../../contracts/opened.ts';

const nothing = () => {};
const silent: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

type Options = Omit<MysqlOptions, 'url'> & { readonly localInfile?: boolean; readonly log?: Log };

/** Without `localInfile` the driver does not offer it, which a server answers as if it were switched off there. */
export async function openMysql(
  url: string,
  { localInfile = true, log = silent, ...options }: Options = {},
): Promise<Opened<{ readonly db: MysqlSql }>> {
  const opened: MysqlSql[] = [];
  const reopen = async () => {
    await Promise.all(opened.map((db) => db.close()));
    const db = new MysqlSql({ ...options, url: localInfile ? url : `${url}?flags=-LOCAL_FILES` }, log);
    opened.push(db);
    return { db };
  };
  const close = async () => {
    await Promise.all(opened.map((db) => db.close()));
  };
  return { ...(await reopen()), reopen, close };
}
