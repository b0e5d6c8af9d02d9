import assert from 'node:assert/strict';
import { ReadModelsUnavailable, UnfitValue } from '../../../application/ports/read-models.ts';
import type { MysqlSql } from '../../../infrastructure/mysql/database.ts';
import type { Sql } from '../../../infrastructure/sql/sql.ts';
import type { Opened } from '../../contracts/opened.ts';
import { eventually } from '../../support/eventually.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';
import { eachTestsTable, openMysql, warnings } from './open-mysql.ts';
import { TcpProxy } from './tcp-proxy.ts';

onMariadbAndMysql('MysqlSql when things go wrong', function (url, server) {
  this.timeout(60_000);
  const log = warnings();
  let opened: Opened<{ readonly db: MysqlSql }>;
  let db: MysqlSql;

  before(async () => {
    opened = await openMysql(url, { log });
    db = opened.db;
  });
  after(() => opened?.close());
  beforeEach(() => log.lines.splice(0));
  const table = eachTestsTable(() => db, 'id INTEGER NOT NULL PRIMARY KEY, n BIGINT NOT NULL');
  beforeEach(() =>
    db.write(
      'insert',
      table(),
      ['id', 'n'],
      [
        [1, 0],
        [2, 0],
      ],
    ),
  );

  const add = (sql: Sql, id: number) => sql.run(`UPDATE ${table()} SET n = n + 1 WHERE id = ?`, [id]);
  const numbers = async () =>
    (await db.all<{ n: number }>(`SELECT n FROM ${table()} ORDER BY id`)).map(({ n }) => n);
  const connectionId = async (sql: Sql) =>
    (await sql.all<{ id: number }>('SELECT CONNECTION_ID() AS id'))[0]!.id;
  const kill = (id: number) => db.run(`KILL ${id}`);

  const isCommit = (data: Buffer) => data.toString('latin1').endsWith('COMMIT');

  /** A client whose way to the server is the test's to break. */
  async function throughProxy(
    test: (db: MysqlSql, proxy: TcpProxy) => Promise<void>,
    options: { statementTimeout?: number } = {},
  ) {
    const proxy = new TcpProxy();
    const other = await openMysql(await proxy.listen(url), { ...options, log });
    try {
      await test(other.db, proxy);
    } finally {
      await proxy.close();
      await other.close();
    }
  }

  it('runs a transaction again that lost a deadlock, and nothing of it by halves, whatever its work made of that', async () => {
    let runs = 0;
    let holders = 0;
    let bothHold = () => {};
    const met = new Promise<void>((resolve) => {
      bothHold = resolve;
    });
    const crossing = (first: number, second: number) =>
      db.transaction(async (tx) => {
        runs += 1;
        await add(tx, first);
        holders += 1;
        if (holders === 2) bothHold();
        await met;
        // The loser continues as if nothing had happened, outside any transaction if it were let.
        await add(tx, second).catch(() => {});
        await add(tx, first).catch(() => {});
      });
    await Promise.all([crossing(1, 2), crossing(2, 1)]);
    assert.deepEqual(await numbers(), [3, 3]);
    assert.equal(runs, 3);
    assert.equal(log.lines.length, 1);
    assert.match(log.lines[0]!, /[Dd]eadlock/);
  });

  it('lets nothing of a transaction through that the server ended, though its work continues', async () => {
    let runs = 0;
    const dead = await db.transaction(async (tx) => {
      runs += 1;
      if (runs > 1) return 'second';
      await add(tx, 1);
      await kill(await connectionId(tx));
      await assert.rejects(add(tx, 1));
      await assert.rejects(add(tx, 2));
      return 'first';
    });
    assert.equal(dead, 'second');
    assert.deepEqual(await numbers(), [0, 0]);
  });

  it('runs a transaction again whose connection was killed', async () => {
    let runs = 0;
    await db.transaction(async (tx) => {
      runs += 1;
      await add(tx, 1);
      if (runs < 3) await kill(await connectionId(tx));
      await add(tx, 2);
    });
    assert.equal(runs, 3);
    assert.deepEqual(await numbers(), [1, 1]);
  });

  it('runs a transaction again that took longer than the server allows', async () => {
    const limit = server === 'MySQL' ? 'max_execution_time = 50' : 'max_statement_time = 0.05';
    let runs = 0;
    await db.transaction(async (tx) => {
      runs += 1;
      await add(tx, 1);
      if (runs > 1) return;
      await tx.run(`SET SESSION ${limit}`);
      const names = 'information_schema.collations';
      await tx.all(`SELECT COUNT(*) FROM ${names} a, ${names} b, ${names} c, ${names} d`);
    });
    assert.equal(runs, 2);
    assert.deepEqual(await numbers(), [1, 0]);
  });

  describe('as in conditions that a single server does not have', () => {
    const answerWith = (sql: Sql, errno: number) =>
      sql.run(`SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = ${errno}, MESSAGE_TEXT = 'error ${errno}'`);
    const conditions = { 3100: 'refuses a commit', 3781: 'has a new primary', 3989: 'is read-only' };

    it('runs a transaction again that its group rolled back', async () => {
      let runs = 0;
      await db.transaction(async (tx) => {
        runs += 1;
        await add(tx, 1);
        if (runs === 1) await answerWith(tx, 3101);
      });
      assert.equal(runs, 2);
      assert.deepEqual(await numbers(), [1, 0]);
    });

    for (const [errno, condition] of Object.entries(conditions))
      it(`is unavailable where it ${condition}`, () =>
        assert.rejects(answerWith(db, Number(errno)), ReadModelsUnavailable));

    const outages = {
      1021: 'disk is full',
      1114: 'table is full',
      1030: 'engine fails',
      1142: 'account lacks a right',
    };
    for (const [errno, condition] of Object.entries(outages))
      it(`is unavailable at once where its ${condition}, and the transaction is not run again`, async () => {
        let runs = 0;
        const work = db.transaction(async (tx) => {
          runs += 1;
          await add(tx, 1);
          await answerWith(tx, Number(errno));
        });
        await assert.rejects(work, ReadModelsUnavailable);
        assert.equal(runs, 1);
        assert.deepEqual(await numbers(), [0, 0]);
      });

    it('says of a value that does not fit that it is the value', async () => {
      const tooLong = Array.from({ length: 60 }, (_, i) => [i + 100, 10 ** 30]);
      for (const rows of [tooLong.slice(0, 1), tooLong])
        await assert.rejects(db.write('insert', table(), ['id', 'n'], rows), UnfitValue);
      await assert.rejects(db.run(`INSERT INTO ${table()} VALUES (1, 1)`), UnfitValue);
      await assert.rejects(
        db.write('insert', table(), ['id', 'n'], [...tooLong.map(([id]) => [id as number, 1]), [1, 1]]),
        UnfitValue,
      );
      assert.deepEqual(await numbers(), [0, 0]);
    });

    it('leaves an error of the statement as it is', () =>
      assert.rejects(answerWith(db, 1054), (error: Error) => !(error instanceof ReadModelsUnavailable)));
  });

  it('gives up a transaction that never gets through', async () => {
    let runs = 0;
    const work = db.transaction(async (tx) => {
      runs += 1;
      await add(tx, 1);
      await kill(await connectionId(tx));
      await add(tx, 2);
    });
    await assert.rejects(work, ReadModelsUnavailable);
    assert.ok(runs > 2 && runs < 20, `${runs} runs`);
    assert.deepEqual(await numbers(), [0, 0]);
  });

  it('does the work once though its COMMIT was done and never answered, when the work reads what it has locked', () =>
    throughProxy(async (other, proxy) => {
      let runs = 0;
      let cuts = 0;
      proxy.cutAfter = (data) => isCommit(data) && ++cuts === 1;
      await other.transaction(async (tx) => {
        runs += 1;
        const [checkpoint] = await tx.all<{ n: number }>(`SELECT n FROM ${table()} WHERE id = 1 FOR UPDATE`);
        if (checkpoint?.n === 1) return;
        await add(tx, 1);
        await add(tx, 2);
      });
      assert.equal(cuts, 2);
      assert.equal(runs, 2);
      assert.deepEqual(await numbers(), [1, 1]);
    }));

  it('does not repeat a single change or write that may have been done', () =>
    throughProxy(async (other, proxy) => {
      let cut = true;
      proxy.cutAfter = (data) => cut && (data.includes('UPDATE') || isCommit(data));
      await assert.rejects(add(other, 1), ReadModelsUnavailable);
      await assert.rejects(other.write('insert', table(), ['id', 'n'], [[3, 0]]), ReadModelsUnavailable);
      cut = false;
      await eventually(async () => assert.deepEqual(await numbers(), [1, 0, 0]));
    }));

  it('asks again when the connection of a query was lost', () =>
    throughProxy(async (other, proxy) => {
      let cuts = 0;
      proxy.cutAfter = (data) => data.includes('SELECT n') && ++cuts === 1;
      assert.deepEqual(await other.all(`SELECT n FROM ${table()} WHERE id = 1`), [{ n: 0 }]);
      assert.equal(cuts, 2);
    }));

  it('counts a statement without an answer as lost', () =>
    throughProxy(
      async (other, proxy) => {
        await other.check();
        proxy.silent = true;
        const late = assert.rejects(
          other.transaction((tx) => add(tx, 1)),
          ReadModelsUnavailable,
        );
        await eventually(() => assert.ok(log.lines.some((line) => line.includes('no answer within 200 ms'))));
        proxy.silent = false;
        await late.catch(() => {});
        await assert.doesNotReject(eventually(() => other.check()));
        assert.equal(other.connections.used, 0);
      },
      { statementTimeout: 200 },
    ));

  it('tells a reader that its connection was lost in the middle', async () => {
    await db.write(
      'insert',
      table(),
      ['id', 'n'],
      Array.from({ length: 300 }, (_, id) => [id + 10, id]),
    );
    const proxy = new TcpProxy();
    const other = await openMysql(await proxy.listen(url));
    const rows = other.db.stream(`SELECT REPEAT('x', 1000) FROM ${table()} a, ${table()} b`);
    await rows.next();
    await proxy.close();
    await assert.rejects(async () => {
      for await (const _ of rows);
    }, ReadModelsUnavailable);
    assert.deepEqual(other.db.connections.used, 0);
    await other.close();
  });

  it('says so when there is no server', async () => {
    const away = await openMysql('mysql://nobody:secret@127.0.0.1:1/iotdatabase');
    const unavailable = (error: unknown) =>
      error instanceof ReadModelsUnavailable &&
      /127\.0\.0\.1:1: .*ECONNREFUSED/.test(error.message) &&
      !error.message.includes('secret');
    await assert.rejects(away.db.check(), unavailable);
    await assert.rejects(away.db.all('SELECT 1'), unavailable);
    await assert.rejects(away.db.run('DELETE FROM nothing'), unavailable);
    await assert.rejects(
      away.db.transaction(async () => {}),
      unavailable,
    );
    await assert.rejects(away.db.write('insert', 'nothing', ['a'], [[1]]), unavailable);
    await assert.rejects(away.db.stream('SELECT 1').next(), unavailable);
    assert.deepEqual(away.db.connections, { used: 0, free: 10, waiting: 0 });
    await away.close();
  });

  it('says so when the account is refused', async () => {
    const stranger = new URL(url);
    stranger.password = 'wrong';
    const { db: refused, close } = await openMysql(stranger.href);
    await assert.rejects(
      refused.check(),
      (error) => error instanceof ReadModelsUnavailable && /denied/.test(error.message),
    );
    await close();
  });
});
