import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import { SqliteSql } from '../../../infrastructure/sqlite/database.ts';
import { reservedWords } from '../../support/reserved-words.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';
import { reopenable } from '../sqlite/reopenable.ts';
import { openMysql } from './open-mysql.ts';
import { ownDatabase } from './own-database.ts';

const root = path.resolve(import.meta.dirname, '../../..');

/** Older than the rule, and public: in MySQL it has to be quoted or qualified, and `stored_count` is the same. */
const exempt = 'telemetry_ledger.stored';

/** Of `table` and `table.column`, those with a reserved word in them. */
const reservedAmong = (names: readonly string[], reserved: ReadonlySet<string>): readonly string[] =>
  names.filter((name) => name.split('.').some((part) => reserved.has(part.toUpperCase())));

describe('Identifiers of the read models', () => {
  it('are no reserved words of any server that is supported', async () => {
    const { db, close } = await reopenable(({ readModels }) => ({ db: new SqliteSql(readModels) }));
    try {
      await migrateReadModels(db, 1);
      const names = await db.rows<[string]>(
        `SELECT s.name FROM sqlite_schema s UNION ALL
         SELECT s.name || '.' || c.name FROM sqlite_schema s, pragma_table_info(s.name) c`,
      );
      assert.ok(names.length > 100, `only ${names.length} names`);
      assert.deepEqual(reservedAmong(names.flat(), reservedWords), [exempt]);
    } finally {
      await close();
    }
  });

  it('are no reserved words where a query names a column', () => {
    const aliases = ['sql', 'mysql'].flatMap((folder) =>
      readdirSync(path.join(root, 'infrastructure', folder)).flatMap((file) => {
        const text = readFileSync(path.join(root, 'infrastructure', folder, file), 'utf8').replaceAll(
          /CAST\([^()]* AS \w+\)/g,
          '',
        );
        return [...text.matchAll(/\bAS (\w+)/g)].map(([, alias = '']) => alias);
      }),
    );
    assert.ok(aliases.length > 50, `only ${aliases.length} aliases`);
    assert.deepEqual(reservedAmong(aliases, reservedWords), []);
  });
});

onMariadbAndMysql('Identifiers of the read models', (url, server) => {
  let database: Awaited<ReturnType<typeof ownDatabase>>;
  let columns: readonly { readonly table: string; readonly column: string }[];

  before(async () => {
    database = await ownDatabase(url);
    const { db, close } = await openMysql(database.url, { connections: 1 });
    await migrateReadModels(db, 1);
    columns = await db.all(
      `SELECT table_name AS "table", column_name AS "column" FROM information_schema.columns
       WHERE table_schema = DATABASE()`,
    );
    await close();
  });
  after(() => database.drop());

  it('can all be selected without quotes', async () => {
    assert.ok(columns.length > 100, `only ${columns.length} columns`);
    // As an analyst's client connects: without the project's own sql_mode.
    const connection = await createConnection(database.url);
    const refused: string[] = [];
    try {
      for (const { table, column } of columns)
        await connection
          .query(`SELECT ${column} FROM ${table} LIMIT 0`)
          .catch(() => refused.push(`${table}.${column}`));
      await connection.query('SELECT l.stored FROM telemetry_ledger l LIMIT 0');
    } finally {
      await connection.end();
    }
    assert.deepEqual(refused, server === 'MySQL' ? [exempt] : []);
  });

  // MariaDB lists its words and does not say which are reserved.
  if (server === 'MySQL')
    it('are no words that the server says it reserves', async () => {
      const connection = await createConnection(database.url);
      const [keywords] = await connection
        .query<RowDataPacket[]>('SELECT word FROM information_schema.KEYWORDS WHERE reserved = 1')
        .finally(() => connection.end());
      const reserved = new Set(keywords.map((row) => String(Object.values(row)[0])));
      assert.ok(reserved.size > 200, `only ${reserved.size} words`);
      const names = columns.map(({ table, column }) => `${table}.${column}`);
      assert.deepEqual(reservedAmong(names, reserved), [exempt]);
      assert.deepEqual(
        [...reserved].filter((word) => !reservedWords.has(word)),
        [],
      );
    });
});
