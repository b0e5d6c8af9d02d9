import { randomUUID } from 'node:crypto';
import type { Log } from '../../../application/ports/system.ts';
import { type MysqlOptions, MysqlSql } from '../../../infrastructure/mysql/database.ts';
import type { Opened } from '../../contracts/opened.ts';

const nothing = () => {};

/** A log that only collects its warnings. */
export function warnings(): Log & { readonly lines: string[] } {
  const lines: string[] = [];
  const warn: Log['warn'] = (fields, message) => lines.push(`${message}: ${JSON.stringify(fields)}`);
  return { debug: nothing, info: nothing, warn, error: nothing, lines };
}

type Options = Omit<MysqlOptions, 'url'> & { readonly localInfile?: boolean; readonly log?: Log };

/** Without `localInfile` the driver does not offer it, which a server answers as if it were switched off there. */
export async function openMysql(
  url: string,
  { localInfile = true, log = warnings(), ...options }: Options = {},
): Promise<Opened<{ readonly db: MysqlSql }>> {
  const opened: MysqlSql[] = [];
  const close = async () => {
    await Promise.all(opened.map((db) => db.close()));
  };
  const reopen = async () => {
    await close();
    const db = new MysqlSql({ ...options, url: localInfile ? url : `${url}?flags=-LOCAL_FILES` }, log);
    opened.push(db);
    return { db };
  };
  return { ...(await reopen()), reopen, close };
}

/** A table for the current test, gone after it. Call it inside `describe`. */
export function eachTestsTable(db: () => MysqlSql, columns: string): () => string {
  let table: string;
  beforeEach(async () => {
    table = `test_${randomUUID().replaceAll('-', '')}`;
    await db().run(
      `CREATE TABLE ${table} (${columns}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`,
    );
  });
  afterEach(() => db().run(`DROP TABLE ${table}`));
  return () => table;
}
