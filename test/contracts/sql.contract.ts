import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Sql, SqlDatabase, SqlValue } from '../../infrastructure/sql/sql.ts';
import type { Opened } from './opened.ts';

type Row = readonly [id: number, name: string, value: number | null];
const columns = ['id', 'name', 'value'];
const rowsUpTo = (count: number): Row[] => Array.from({ length: count }, (_, id) => [id, `n${id}`, id / 8]);

/** What every SqlDatabase must do. */
export function sqlContract(
  adapter: string,
  open: () => Promise<Opened<{ readonly db: SqlDatabase }>>,
): void {
  describe(`${adapter} honours SqlDatabase`, function () {
    this.timeout(60_000);
    let opened: Opened<{ readonly db: SqlDatabase }>;
    let db: SqlDatabase;
    let table: string;

    before(async () => {
      opened = await open();
      db = opened.db;
    });
    beforeEach(async () => {
      table = `contract_${randomUUID().replaceAll('-', '')}`;
      // What MySQL compares without regard to case by default, SQLite does not: the contract is the exact one.
      const text = db.dialect === 'mysql' ? 'LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin' : 'TEXT';
      await db.run(`CREATE TABLE ${table} (id BIGINT NOT NULL PRIMARY KEY, name ${text}, value DOUBLE)`);
    });
    afterEach(() => db.run(`DROP TABLE ${table}`));
    after(() => opened?.close());

    const insert = (...rows: readonly (readonly SqlValue[])[]) => db.write('insert', table, columns, rows);
    async function collect(text: string, params: readonly SqlValue[] = []): Promise<(readonly unknown[])[]> {
      const rows: (readonly unknown[])[] = [];
      for await (const chunk of db.stream<readonly unknown[]>(text, params)) {
        assert.ok(chunk.length > 0, 'a chunk is empty');
        for (const row of chunk) rows.push(row);
      }
      return rows;
    }
    const stored = () => collect(`SELECT id, name, value FROM ${table} ORDER BY id`);

    describe('all and run', () => {
      it('answers with rows by column name, [] when there are none', async () => {
        assert.deepEqual(await db.all(`SELECT id FROM ${table}`), []);
        await insert([1, 'a', 0.5], [2, null, null]);
        const rows = await db.all<{ id: number }>(
          `SELECT id, name AS deviceName, value FROM ${table} WHERE id >= ? ORDER BY id`,
          [1],
        );
        // Drivers differ in the prototype of a row.
        assert.deepEqual(
          rows.map((row) => ({ ...row })),
          [
            { id: 1, deviceName: 'a', value: 0.5 },
            { id: 2, deviceName: null, value: null },
          ],
        );
      });

      it('answers with rows as arrays of their columns', async () => {
        assert.deepEqual(await db.rows(`SELECT id FROM ${table}`), []);
        await insert([1, 'a', 0.5], [2, null, null]);
        const select = `SELECT name, id, value FROM ${table} WHERE id >= ? ORDER BY id`;
        const arrays = [
          ['a', 1, 0.5],
          [null, 2, null],
        ];
        assert.deepEqual(await db.rows(select, [1]), arrays);
        assert.deepEqual(
          (await db.all(select, [2])).map((row) => ({ ...(row as object) })),
          [{ name: null, id: 2, value: null }],
        );
        assert.deepEqual(await db.transaction((tx) => tx.rows(select, [1])), arrays);
      });

      it('runs one statement again and again with other parameters', async () => {
        for (let id = 0; id < 30; id += 1)
          assert.equal(
            await db.run(`INSERT INTO ${table} (id, name, value) VALUES (?, ?, ?)`, [id, `n${id}`, id / 8]),
            1,
          );
        for (let id = 0; id < 30; id += 1)
          assert.equal(
            (await db.all<{ name: string }>(`SELECT name FROM ${table} WHERE id = ?`, [id]))[0]?.name,
            `n${id}`,
          );
      });

      it('answers with the number of rows changed', async () => {
        await insert(...rowsUpTo(5));
        assert.equal(await db.run(`UPDATE ${table} SET value = ? WHERE id < ?`, [-1, 2]), 2);
        assert.equal(await db.run(`UPDATE ${table} SET value = ? WHERE id > ?`, [-1, 99]), 0);
        assert.equal(await db.run(`DELETE FROM ${table} WHERE id >= ?`, [2]), 3);
      });

      it('takes a bigint for a whole number', async () => {
        await db.run(`INSERT INTO ${table} (id, name, value) VALUES (?, ?, ?)`, [
          253_402_300_799_999n,
          'late',
          1,
        ]);
        assert.deepEqual(await stored(), [[253_402_300_799_999, 'late', 1]]);
      });

      it('rejects what is not SQL or breaks a rule, and works on', async () => {
        await assert.rejects(db.all('SELEKT 1'));
        await assert.rejects(db.rows('SELEKT 1'));
        await assert.rejects(db.run(`INSERT INTO ${table}_missing (id) VALUES (1)`));
        await assert.rejects(collect(`SELECT nothing FROM ${table}`));
        await insert([1, 'a', null]);
        await assert.rejects(db.run(`INSERT INTO ${table} (id, name) VALUES (?, ?)`, [1, 'b']));
        assert.deepEqual(await stored(), [[1, 'a', null]]);
      });
    });

    describe('stream', () => {
      it('gives all rows in order, in chunks', async () => {
        await insert(...rowsUpTo(12_000));
        assert.deepEqual(await stored(), rowsUpTo(12_000));
        assert.deepEqual(
          await collect(`SELECT id FROM ${table} WHERE id >= ? AND id < ? ORDER BY id DESC`, [3, 6]),
          [[5], [4], [3]],
        );
        assert.deepEqual(await collect(`SELECT id FROM ${table} WHERE id < 0`), []);
      });

      it('lets others run between chunks', async () => {
        await insert(...rowsUpTo(12_000));
        let turns = 0;
        let streaming = true;
        const turn = () => {
          turns += 1;
          if (streaming) setImmediate(turn);
        };
        turn();
        await collect(`SELECT id FROM ${table}`);
        streaming = false;
        assert.ok(turns > 2, `${turns} turns of the event loop`);
      });

      it('can be left early, and several can be read at a time while rows are written', async () => {
        await insert(...rowsUpTo(6000));
        const text = `SELECT id FROM ${table} ORDER BY id`;
        for await (const chunk of db.stream<[number]>(text)) {
          assert.equal(chunk[0]?.[0], 0);
          break;
        }
        const one = db.stream<[number]>(text)[Symbol.asyncIterator]();
        const other = db.stream<[number]>(text)[Symbol.asyncIterator]();
        assert.equal((await one.next()).value?.[0]?.[0], 0);
        assert.equal((await other.next()).value?.[0]?.[0], 0);
        await insert([-1, 'early', null]);
        await one.return?.();
        const rest = [];
        for (let next = await other.next(); !next.done; next = await other.next()) rest.push(...next.value);
        assert.equal(rest.at(-1)?.[0], 5999);
      });
    });

    describe('write', () => {
      it('takes thousands of rows, one row, and none', async () => {
        await insert(...rowsUpTo(12_345));
        await insert();
        await insert([99_999, 'one', 1]);
        assert.deepEqual(await stored(), [...rowsUpTo(12_345), [99_999, 'one', 1]]);
      });

      it('keeps text and numbers as they were', async () => {
        const texts = [
          '',
          'NULL',
          '\\N',
          "it's",
          '"',
          '\\',
          '\\\\n',
          'a\tb',
          'a\nb',
          'a\r\nb',
          ',;',
          'Zürich 温度 🌡️',
          ' x ',
          '?',
        ];
        const numbers = [
          0,
          0.1,
          1 / 3,
          -273.15,
          1e-300,
          1.7976931348623157e308,
          9_007_199_254_740_991,
          -1,
          1e21,
        ];
        const rows = [
          ...texts.map((text, i): Row => [i, text, null]),
          ...numbers.map((number, i): Row => [100 + i, 'number', number]),
          [200, 'long '.repeat(60_000), 0] as Row,
          [253_402_300_799_999, 'id', 0] as Row,
        ];
        await insert(...rows);
        assert.deepEqual(await stored(), rows);
      });

      it('takes columns in any order, and leaves out those not named', async () => {
        await db.write(
          'insert',
          table,
          ['name', 'id'],
          [
            ['a', 1],
            [null, 2],
          ],
        );
        assert.deepEqual(await stored(), [
          [1, 'a', null],
          [2, null, null],
        ]);
      });

      it('refuses to insert a key that is there, and keeps the row', async () => {
        await insert([1, 'a', null]);
        await assert.rejects(insert([1, 'b', null]));
        assert.deepEqual(await stored(), [[1, 'a', null]]);
      });

      it('replaces whole rows and inserts those that are new', async () => {
        await insert([1, 'a', 1], [2, 'b', 2]);
        await db.write(
          'replace',
          table,
          ['id', 'name'],
          [
            [2, 'B'],
            [3, 'C'],
          ],
        );
        assert.deepEqual(await stored(), [
          [1, 'a', 1],
          [2, 'B', null],
          [3, 'C', null],
        ]);
        await db.write('replace', table, columns, rowsUpTo(5000));
        assert.deepEqual(await stored(), rowsUpTo(5000));
      });
    });

    describe('transaction', () => {
      it('keeps all that was done, answers with the result, and sees its own changes', async () => {
        const seen = await db.transaction(async (tx) => {
          assert.equal(tx.dialect, db.dialect);
          await tx.write('insert', table, columns, rowsUpTo(3));
          await tx.run(`UPDATE ${table} SET name = ? WHERE id = ?`, ['changed', 1]);
          const rows = await tx.rows<[string]>(`SELECT name FROM ${table} ORDER BY id`);
          return [rows.flat(), (await tx.all(`SELECT id FROM ${table}`)).length];
        });
        assert.deepEqual(seen, [['n0', 'changed', 'n2'], 3]);
        assert.deepEqual(
          (await stored()).map(([, name]) => name),
          ['n0', 'changed', 'n2'],
        );
      });

      it('keeps nothing when the work throws, and throws the same', async () => {
        await insert([1, 'a', null]);
        const error = new Error('changed my mind');
        const work = db.transaction(async (tx) => {
          await tx.run(`DELETE FROM ${table}`);
          await tx.write('insert', table, columns, [[2, 'b', null]]);
          throw error;
        });
        await assert.rejects(work, error);
        assert.deepEqual(await stored(), [[1, 'a', null]]);
      });

      it('keeps nothing when a statement fails, and the next one works', async () => {
        await insert([1, 'a', null]);
        await assert.rejects(
          db.transaction(async (tx) => {
            await tx.write('insert', table, columns, [[2, 'b', null]]);
            await tx.write('insert', table, columns, [
              [3, 'c', null],
              [1, 'again', null],
            ]);
          }),
        );
        await db.transaction((tx) => tx.run(`UPDATE ${table} SET value = 7`));
        assert.deepEqual(await stored(), [[1, 'a', 7]]);
      });

      it('keeps nothing when rows could not be written, whether or not its work minds', async () => {
        await insert([1, 'a', null]);
        const again = (tx: Sql) => tx.write('insert', table, columns, [[1, 'again', null]]);
        await assert.rejects(
          db.transaction(async (tx) => {
            await tx.run(`INSERT INTO ${table} (id, name) VALUES (2, 'b')`);
            await again(tx).catch(() => undefined);
          }),
        );
        await assert.rejects(
          db.transaction(async (tx) => {
            await again(tx);
            await tx.run(`INSERT INTO ${table} (id, name) VALUES (2, 'b')`);
          }),
        );
        assert.deepEqual(await stored(), [[1, 'a', null]]);
      });

      it('shows nothing to others before it commits, and does not keep them waiting', async () => {
        await insert([1, 'a', null]);
        await db.transaction(async (tx) => {
          await tx.run(`UPDATE ${table} SET name = 'b' WHERE id = 1`);
          await tx.run(`INSERT INTO ${table} (id, name) VALUES (2, 'c')`);
          assert.deepEqual(await stored(), [[1, 'a', null]]);
          assert.equal((await db.all(`SELECT id FROM ${table}`)).length, 1);
        });
        assert.deepEqual(await stored(), [
          [1, 'b', null],
          [2, 'c', null],
        ]);
      });

      it('loses no update to another transaction or a statement beside it', async () => {
        await insert([1, 'counter', 0]);
        const lock = db.dialect === 'mysql' ? 'FOR UPDATE' : '';
        const increment = () =>
          db.transaction(async (tx) => {
            const [row] = await tx.all<{ value: number }>(`SELECT value FROM ${table} WHERE id = 1 ${lock}`);
            await new Promise((resolve) => setImmediate(resolve));
            await tx.run(`UPDATE ${table} SET value = ? WHERE id = 1`, [(row?.value ?? Number.NaN) + 1]);
          });
        const beside = () => db.run(`UPDATE ${table} SET value = value + 1 WHERE id = 1`);
        await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 4 === 3 ? beside() : increment())));
        assert.deepEqual(await stored(), [[1, 'counter', 20]]);
      });
    });

    it('shows a snapshot nothing that is committed while it lasts', async () => {
      await insert([1, 'a', 0]);
      await db.snapshot(async (sql) => {
        const names = async () =>
          (await sql.all<{ name: string }>(`SELECT name FROM ${table}`)).map((r) => r.name);
        const before = await names();
        await db.run(`UPDATE ${table} SET name = 'b'`);
        assert.deepEqual(await names(), before);
      });
      assert.deepEqual(await stored(), [[1, 'b', 0]]);
    });

    it('keeps what was committed when opened anew', async function () {
      if (!opened.reopen) return this.skip();
      await db.transaction((tx) => tx.write('insert', table, columns, rowsUpTo(10)));
      db = (await opened.reopen()).db;
      assert.deepEqual(await stored(), rowsUpTo(10));
    });

    it('can be closed twice', async () => {
      const another = await open();
      await another.db.close();
      await another.db.close();
      await another.close();
    });
  });
}
