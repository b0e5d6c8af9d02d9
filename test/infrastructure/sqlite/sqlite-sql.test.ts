import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { ReadModelsUnavailable } from '../../../application/ports/read-models.ts';
import type { Sql } from '../../../infrastructure/sql/sql.ts';
import { SqliteSql } from '../../../infrastructure/sqlite/database.ts';
import { dataFiles } from '../../../infrastructure/sqlite/database-file.ts';
import { StartupError } from '../../../infrastructure/startup-error.ts';
import { sqlContract } from '../../contracts/sql.contract.ts';
import { reopenable } from './reopenable.ts';
import { temporaryDirectory } from './temporary-directory.ts';

sqlContract('SqliteSql', () => reopenable(({ readModels }) => ({ db: new SqliteSql(readModels) })));

describe('SqliteSql', () => {
  let directory: ReturnType<typeof temporaryDirectory>;
  let path: string;
  let db: SqliteSql;
  beforeEach(async () => {
    directory = temporaryDirectory();
    path = dataFiles(directory.path).readModels;
    db = new SqliteSql(path);
    await db.run('CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)');
  });
  afterEach(async () => {
    await db.close();
    directory.remove();
  });
  const rows = (count: number) => Array.from({ length: count }, (_, id) => [id, `n${id}`] as const);
  const count = async (of: Sql = db) => (await of.all('SELECT id FROM t')).length;

  it('shows what is committed even while a stream still reads an older state', async () => {
    await db.write('insert', 't', ['id', 'name'], rows(3000));
    const stream = db.stream<[number]>('SELECT id FROM t ORDER BY id');
    await stream.next();
    await db.run('DELETE FROM t WHERE id >= 2500');
    assert.equal(await count(), 2500);
    let read = 1000;
    for await (const chunk of stream) read += chunk.length;
    assert.equal(read, 3000);
  });

  it('lets go of the state it read when a stream is left early', async () => {
    await db.write('insert', 't', ['id', 'name'], rows(3000));
    for await (const _ of db.stream('SELECT id FROM t')) break;
    await db.run('DELETE FROM t');
    const other = new DatabaseSync(path);
    assert.equal(other.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()?.busy, 0);
    other.close();
  });

  it('stores everything around a rest, which waits for what was asked for before', async () => {
    const before = db.write('insert', 't', ['id', 'name'], rows(3000));
    const resting = db.rest();
    const after = db.run("INSERT INTO t VALUES (9000, 'after')");
    await Promise.all([before, resting, after]);
    assert.equal(await count(), 3001);
    await db.rest();
    await db.rest();
    await db.run('DELETE FROM t WHERE id < 3000');
    assert.equal(await count(), 1);
  });

  it('only reads when opened for reading only', async () => {
    await db.write('insert', 't', ['id', 'name'], rows(2));
    const reader = new SqliteSql(path, { readOnly: true });
    assert.equal(await count(reader), 2);
    await assert.rejects(reader.run('DELETE FROM t'), /opened for reading only/);
    await assert.rejects(reader.all('DELETE FROM t RETURNING id'));
    assert.equal(await count(reader), 2);
    await reader.close();
  });

  it('cannot be opened for reading only before it is there', () => {
    assert.throws(
      () => new SqliteSql(`${path}.missing`, { readOnly: true }),
      (error) => {
        assert.ok(error instanceof StartupError);
        assert.match(error.message, /read-models\.db\.missing.*cannot be opened/);
        return true;
      },
    );
  });

  it('does nothing more of a transaction that SQLite has given up', async () => {
    await db.run("INSERT INTO t VALUES (1, 'a')");
    const abandoned = db.transaction(async (tx) => {
      await tx.run("INSERT INTO t VALUES (2, 'b')");
      await assert.rejects(tx.run("INSERT OR ROLLBACK INTO t VALUES (1, 'again')"), /UNIQUE/);
      await tx.write('insert', 't', ['id', 'name'], rows(3));
      await assert.rejects(tx.run("INSERT INTO t VALUES (4, 'd')"), /UNIQUE/);
    });
    await assert.rejects(abandoned, /UNIQUE/);
    assert.equal(await count(), 1);
    await db.run("INSERT INTO t VALUES (5, 'e')");
    assert.equal(await count(), 2);
  });

  it('refuses what is done with a transaction that is over', async () => {
    const kept = await db.transaction(async (tx) => tx);
    await assert.rejects(kept.run('DELETE FROM t'), /transaction is over/);
    await assert.rejects(kept.all('SELECT id FROM t'), /transaction is over/);
  });

  it('runs ever new statements', async () => {
    for (let n = 1; n <= 1000; n += 1)
      assert.deepEqual(
        await db.all(`SELECT id FROM t WHERE id IN (${Array(n).fill('?').join()})`, Array(n).fill(0)),
        [],
      );
  });

  it('when closed, finishes what was asked for before and refuses the rest', async () => {
    const order: string[] = [];
    const work = db.transaction(async (tx) => {
      await new Promise((resolve) => setImmediate(resolve));
      await tx.write('insert', 't', ['id', 'name'], rows(3));
      order.push('done');
    });
    const closing = db.close().then(() => order.push('closed'));
    await Promise.all([work, closing]);
    assert.deepEqual(order, ['done', 'closed']);
    await assert.rejects(db.run('DELETE FROM t'), ReadModelsUnavailable);
    await assert.rejects(count(), ReadModelsUnavailable);
    await assert.rejects(db.stream('SELECT id FROM t').next(), ReadModelsUnavailable);
    const again = new SqliteSql(path);
    assert.equal(await count(again), 3);
    await again.close();
  });
});
