import assert from 'node:assert/strict';
import { ReadModelsUnavailable } from '../../../application/ports/read-models.ts';
import type { MysqlSql } from '../../../infrastructure/mysql/database.ts';
import type { Sql } from '../../../infrastructure/sql/sql.ts';
import type { Opened } from '../../contracts/opened.ts';
import { type LocalServer, localDatabase } from '../../support/local-servers.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';
import { eachTestsTable, openMysql } from './open-mysql.ts';

// The server named is not touched: these tests start one of their own, which the same machine can run.
onMariadbAndMysql('MysqlSql whose server is stopped or killed', function (_url, name) {
  this.timeout(120_000);
  let server: LocalServer;
  let opened: Opened<{ readonly db: MysqlSql }>;
  let db: MysqlSql;

  before(async () => {
    server = await localDatabase(name);
    opened = await openMysql(server.address);
    db = opened.db;
  });
  after(async () => {
    await opened?.close();
    await server?.close();
  });
  // Whatever happened, the next test finds a server.
  afterEach(() => server.control('start'));
  const table = eachTestsTable(() => db, 'id INTEGER NOT NULL PRIMARY KEY, n BIGINT NOT NULL');

  for (const how of ['stop', 'kill'] as const)
    it(`recovers by itself after ${how} and start, and has what was committed`, async () => {
      const add = (sql: Sql, id: number) => sql.run(`UPDATE ${table()} SET n = n + 1 WHERE id = ?`, [id]);
      const numbers = () => db.rows(`SELECT n FROM ${table()} ORDER BY id`);
      const rows = [1, 2].map((id) => [id, 0]);
      await db.write('insert', table(), ['id', 'n'], rows);
      await Promise.all(Array.from({ length: 5 }, () => db.transaction((tx) => add(tx, 1))));
      const reader = db.stream<[number]>(`SELECT a.id FROM ${table()} a`);
      const open = db.transaction(async (tx) => {
        await add(tx, 2);
        await server.control(how);
        await add(tx, 2);
      });
      await assert.rejects(open, ReadModelsUnavailable);
      await assert.rejects(db.check(), ReadModelsUnavailable);
      await assert.rejects(reader.next(), ReadModelsUnavailable);
      await server.control('start');
      await db.check();
      assert.deepEqual(await numbers(), [[5], [0]]);
      await db.transaction((tx) => add(tx, 2));
      assert.deepEqual(await numbers(), [[5], [1]]);
      assert.equal(db.connections.used, 0);
    });
});
