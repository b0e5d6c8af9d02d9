import assert from 'node:assert/strict';
import { ReadModelsUnavailable } from '../../../application/ports/read-models.ts';
import type { MysqlSql } from '../../../infrastructure/mysql/database.ts';
import type { Opened } from '../../contracts/opened.ts';
import { eventually } from '../../support/eventually.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';
import { eachTestsTable, openMysql } from './open-mysql.ts';
import { TcpProxy } from './tcp-proxy.ts';

onMariadbAndMysql('MysqlSql sessions', function (url) {
  this.timeout(60_000);
  let opened: Opened<{ readonly db: MysqlSql }>;
  let db: MysqlSql;

  before(async () => {
    opened = await openMysql(url, { connections: 2 });
    db = opened.db;
  });
  after(() => opened?.close());
  const table = eachTestsTable(
    () => db,
    'id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(100), amount DECIMAL(10, 3)',
  );
  const insert = (...rows: (string | number | null)[][]) => db.write('insert', table(), ['id', 'name'], rows);
  const value = async (expression: string) =>
    (await db.all<{ v: unknown }>(`SELECT ${expression} AS v`))[0]?.v;

  it('understands SQL as SQLite does', async () => {
    assert.equal(await value("'a' || 'b'"), 'ab');
    await insert([1, 'a'], [2, 'A']);
    assert.deepEqual(await db.all(`SELECT "id" FROM ${table()} WHERE name = 'a'`), [{ id: 1 }]);
    assert.deepEqual(await db.all(`SELECT COUNT(*) AS n, SUM(id) AS total FROM ${table()}`), [
      { n: 2, total: 3 },
    ]);
    assert.equal(await db.run(`UPDATE ${table()} SET name = name`), 2);
  });

  it('gives times in UTC, and documents and large numbers as text', async () => {
    assert.equal(await value('FROM_UNIXTIME(0)'), '1970-01-01 00:00:00');
    assert.equal(await value("JSON_OBJECT('a', 1)"), '{"a": 1}');
    assert.equal(await value('9007199254740993'), '9007199254740993');
    assert.equal(await value('9007199254740991'), 9007199254740991);
  });

  it('refuses values that do not fit', async () => {
    await assert.rejects(
      db.run(`INSERT INTO ${table()} (id, name) VALUES (1, ?)`, ['x'.repeat(101)]),
      /name/,
    );
    await assert.rejects(db.run(`INSERT INTO ${table()} (id) VALUES ('one')`), /id/);
    await assert.rejects(db.run(`INSERT INTO ${table()} (name) VALUES ('a')`), /id/);
  });

  it('sees, once it holds a lock, what was committed before it got it', async () => {
    await insert([1, 'checkpoint'], [2, 'old']);
    const seen = await db.transaction(async (tx) => {
      await tx.all(`SELECT name FROM ${table()}`);
      await db.run(`UPDATE ${table()} SET name = 'new' WHERE id = 2`);
      await tx.all(`SELECT id FROM ${table()} WHERE id = 1 FOR UPDATE`);
      return tx.all(`SELECT name FROM ${table()} WHERE id = 2`);
    });
    assert.deepEqual(seen, [{ name: 'new' }]);
  });

  it('waits for seconds, not for hours, for a table that another statement holds', async () => {
    assert.equal(await value('@@lock_wait_timeout <= 60'), 1);
    assert.equal(await value('@@innodb_lock_wait_timeout <= 60'), 1);
  });

  it('does not carry a large statement in its errors', async () => {
    const text = `SELEKT '${'x'.repeat(100_000)}'`;
    await assert.rejects(db.all(text), (error: Error & { sql?: string }) => (error.sql?.length ?? 0) < 1000);
  });

  describe('connections', () => {
    it('counts those in use, those free and those that wait for one', async () => {
      assert.deepEqual(db.connections, { used: 0, free: 2, waiting: 0 });
      let leave = () => {};
      const held = new Promise<void>((resolve) => (leave = resolve));
      const holders = [1, 2].map(() => db.transaction(() => held));
      await eventually(() => assert.equal(db.connections.used, 2));
      const third = db.all('SELECT 1');
      assert.deepEqual(db.connections, { used: 2, free: 0, waiting: 1 });
      await assert.rejects(
        db.check(),
        (error) => error instanceof ReadModelsUnavailable && /none of 2/.test(error.message),
      );
      leave();
      await Promise.all([...holders, third]);
      assert.deepEqual(db.connections, { used: 0, free: 2, waiting: 0 });
      await db.check();
    });
  });

  describe('stream', () => {
    const large = () => `SELECT REPEAT('x', 1000) FROM ${table()} a, ${table()} b`;
    beforeEach(() => insert(...Array.from({ length: 300 }, (_, id) => [id, 'n'])));

    it('does not read on while its rows are not taken, and not at all once it is left', async () => {
      const proxy = new TcpProxy();
      const other = await openMysql(await proxy.listen(url));
      const whole = 300 * 300 * 1000;
      const rows = other.db.stream(large());
      await rows.next();
      let before = -1;
      await eventually(
        () => {
          const now = proxy.received;
          const still = now === before;
          before = now;
          assert.ok(still, 'bytes still arrive');
        },
        { every: 100 },
      );
      assert.ok(proxy.received < whole / 2, `${proxy.received} bytes of ${whole} came for one chunk`);
      await rows.return?.(undefined);
      assert.equal(other.db.connections.used, 0);
      await eventually(() => assert.equal(proxy.connections, 0));
      assert.deepEqual(await other.db.all('SELECT 1 AS one'), [{ one: 1 }]);
      assert.ok(proxy.received < whole / 2, `${proxy.received} bytes of ${whole} came in the end`);
      await other.close();
      await proxy.close();
    });

    it('of a snapshot can be left early, and takes no other statement in between', async () => {
      const count = await db.snapshot(async (tx) => {
        for await (const chunk of tx.stream(large())) {
          assert.equal(chunk.length, 1000);
          await assert.rejects(tx.all('SELECT 1'), /read its stream to the end/);
          break;
        }
        return tx.all(`SELECT COUNT(*) AS n FROM ${table()}`);
      });
      assert.deepEqual(count, [{ n: 300 }]);
      assert.deepEqual(db.connections.used, 0);
    });
  });
});
