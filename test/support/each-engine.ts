import type { SqlQueries } from '../../infrastructure/sql/sql.ts';
import { SqliteSql } from '../../infrastructure/sqlite/database.ts';
import { dataFiles } from '../../infrastructure/sqlite/database-file.ts';
import { openMysql } from '../infrastructure/mysql/open-mysql.ts';
import { ownDatabase } from '../infrastructure/mysql/own-database.ts';
import { onMariadbAndMysql } from './servers.ts';

/** Where the read models of a test are: the variables that say so, and how to get rid of them. */
export type ReadModelStore = {
  readonly env: Readonly<Record<string, string>>;
  drop(): Promise<void>;
};

/** The same tests with read models in SQLite and, where there are servers, in MariaDB and MySQL; `open` gives empty ones. */
export function onEachEngine(title: string, tests: (open: () => Promise<ReadModelStore>) => void): void {
  describe(`${title}, on SQLite`, function () {
    this.timeout(120_000);
    tests(async () => ({ env: {}, drop: async () => {} }));
  });

  onMariadbAndMysql(title, function (url) {
    this.timeout(180_000);
    tests(async () => {
      const own = await ownDatabase(url);
      return { env: { MYSQL_URL: own.url }, drop: own.drop };
    });
  });
}

/** The tables and views of a store, for a test to look at beside the server whose data folder that is. */
export async function lookInto({ env }: Pick<ReadModelStore, 'env'>, folder: string): Promise<OpenTables> {
  return env.MYSQL_URL === undefined
    ? new SqliteSql(dataFiles(folder).readModels, { readOnly: true })
    : (await openMysql(env.MYSQL_URL)).db;
}

export type OpenTables = SqlQueries & { close(): Promise<void> };
