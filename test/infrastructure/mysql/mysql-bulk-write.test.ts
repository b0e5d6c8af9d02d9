import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { MysqlSql } from '../../../infrastructure/mysql/database.ts';
import type { SqlValue } from '../../../infrastructure/sql/sql.ts';
import type { Opened } from '../../contracts/opened.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';
import { eachTestsTable, openMysql } from './open-mysql.ts';

const columns = ['id', 'text', 'number', 'whole'];
/** Enough for LOAD DATA and for a prepared statement with some left over. */
const many = 600;

onMariadbAndMysql('MysqlSql bulk write', (url) => {
  for (const localInfile of [true, false])
    describe(localInfile ? 'by LOAD DATA LOCAL' : 'where the server refuses LOAD DATA LOCAL', function () {
      this.timeout(60_000);
      let opened: Opened<{ readonly db: MysqlSql }>;
      let db: MysqlSql;

      before(async () => {
        opened = await openMysql(url, { localInfile, connections: 1 });
        db = opened.db;
      });
      after(() => opened?.close());
      const table = eachTestsTable(
        () => db,
        'id INTEGER NOT NULL PRIMARY KEY, text LONGTEXT, number DOUBLE, whole BIGINT, short VARCHAR(4)',
      );

      const stored = async () => {
        const rows: (readonly SqlValue[])[] = [];
        const text = `SELECT id, text, number, whole FROM ${table()} ORDER BY id`;
        for await (const chunk of db.stream<readonly SqlValue[]>(text)) rows.push(...chunk);
        return rows;
      };
      const rowsFrom = (first: number, count = many): SqlValue[][] =>
        Array.from({ length: count }, (_, i) => [first + i, `n${first + i}`, i / 8, i]);
      const loads = async () =>
        Number((await db.all<{ Value: string }>("SHOW SESSION STATUS LIKE 'Com_load'"))[0]?.Value);

      it(`sends LOAD DATA ${localInfile ? 'for each large write' : 'once, and no more when refused'}`, async () => {
        const before = await loads();
        for (let n = 0; n < 3; n += 1) await db.write('insert', table(), columns, rowsFrom(n * many));
        await db.write('insert', table(), columns, rowsFrom(3 * many, 5));
        assert.deepEqual(
          await stored(),
          rowsFrom(0, 3 * many)
            .map(([id], i) => [id, `n${id}`, (i % many) / 8, i % many])
            .concat(rowsFrom(3 * many, 5)),
        );
        assert.equal((await loads()) - before, localInfile ? 3 : 1);
      });

      it('keeps any text, number and NULL as it was', async () => {
        const text = fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.string({
            unit: fc.constantFrom(
              '\\',
              '\t',
              '\n',
              '\r',
              '\0',
              'N',
              "'",
              '"',
              '`',
              '\x1a',
              'é',
              '😀',
              '0',
              '?',
              '%',
            ),
          }),
        );
        const row = fc.tuple(
          fc.option(text),
          fc.option(
            fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => (Math.abs(x) < 1e-307 ? 0 : x)),
          ),
          fc.option(fc.maxSafeInteger()),
        );
        await fc.assert(
          fc.asyncProperty(
            fc.array(row, { minLength: 1, maxLength: 12 }),
            fc.constantFrom('insert' as const, 'replace' as const),
            async (some, mode) => {
              await db.run(`DELETE FROM ${table()}`);
              const rows = Array.from({ length: many }, (_, id) => [id, ...some[id % some.length]!]);
              await db.write(mode, table(), columns, rows);
              assert.deepEqual(await stored(), rows);
            },
          ),
          { numRuns: 25 },
        );
      });

      it('takes whole numbers of 64 bits as bigint, and gives back as text what a number cannot hold', async () => {
        const whole = [2n ** 63n - 1n, -(2n ** 63n), 42n];
        await db.write(
          'insert',
          table(),
          ['id', 'whole'],
          rowsFrom(0).map(([id], i) => [id!, whole[i % 3]!]),
        );
        const rows = await db.all<{ whole: unknown }>(
          `SELECT whole FROM ${table()} WHERE id < 3 ORDER BY id`,
        );
        assert.deepEqual(
          rows.map((row) => row.whole),
          ['9223372036854775807', '-9223372036854775808', 42],
        );
      });

      it('writes rows of megabytes', async () => {
        const rows = Array.from({ length: many }, (_, id) => [
          id,
          'ä\t\\'.repeat(id % 250 === 7 ? 1_000_000 : 1),
          null,
          null,
        ]);
        await db.write('insert', table(), columns, rows);
        assert.deepEqual(await stored(), rows);
      });

      it('quotes names', async () => {
        await db.run(`ALTER TABLE ${table()} ADD COLUMN \`order\`\` by\` INTEGER`);
        await db.write(
          'insert',
          table(),
          ['id', 'order` by'],
          rowsFrom(0).map(([id]) => [id!, 7]),
        );
        assert.deepEqual(await db.all(`SELECT SUM(\`order\`\` by\`) AS total FROM ${table()}`), [
          { total: 7 * many },
        ]);
      });

      describe('refuses, and keeps nothing of,', () => {
        const refuses = async (rows: readonly SqlValue[][], message: RegExp, named = columns) => {
          const before = await stored();
          await assert.rejects(db.write('insert', table(), named, rows), message);
          const within = db.transaction(async (tx) => {
            await tx.write('insert', table(), columns, rowsFrom(100_000));
            await tx.write('insert', table(), named, rows).catch(() => {});
          });
          await assert.rejects(within, message);
          assert.deepEqual(await stored(), before);
        };

        it('a key that is there', async () => {
          await db.write('insert', table(), columns, rowsFrom(500, 1));
          await refuses(rowsFrom(0), /Duplicate entry '500'/);
        });

        it('a key that comes twice', () =>
          refuses([...rowsFrom(0), ...rowsFrom(7, 1)], /Duplicate entry '7'/));

        it('text that is too long', () =>
          refuses(
            rowsFrom(0).map(([id], i) => [id!, i === 300 ? 'abcde' : 'abcd']),
            /short/,
            ['id', 'short'],
          ));

        it('NULL where there must be a value', () => refuses([...rowsFrom(0), [null, '', 0, 0]], /id/));

        it('what is not a number', () =>
          refuses([...rowsFrom(0), [1000, '', 'x', 0], [1001, '', 0, 0]], /number|Data truncated/));

        it('a number out of range', () =>
          refuses([...rowsFrom(0), [1000, '', 0, 2n ** 64n]], /[Oo]ut of range.*whole/));
      });
    });
});
