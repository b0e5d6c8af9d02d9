import assert from 'node:assert/strict';
import { createGeneration } from '../../infrastructure/sql/generation-tables.ts';
import { sqlProgressQueries } from '../../infrastructure/sql/progress-queries.ts';
import { migrateReadModels } from '../../infrastructure/sql/schema.ts';
import type { SqlDatabase } from '../../infrastructure/sql/sql.ts';
import { backToSchema3, backToSchema4 } from '../support/older-schemas.ts';

const columns = ['device_id', 'day', 'stored_count', 'duplicate', 'corrected', 'dead_lettered', 'retracted'];
const ledgers = {
  telemetry_ledger_g1: [
    ['a', 0, 11, 2, 3, 4, 5],
    ['b', 86_400_000, 2_147_483_648, 0, 0, 0, 0],
  ],
  telemetry_ledger_g2: [['a', 0, 7, 0, 0, 0, 0]],
};

const deviceColumns = [
  'device_id',
  'name',
  'type',
  'status',
  'labels',
  'search',
  'revision',
  'registered_at',
  'updated_at',
];
const manyDevices = Array.from({ length: 3000 }, (_, i) => {
  const [type, status] = i === 7 ? ['rare', 'erased'] : ['usual', 'active'];
  return [`d${i}`, '', type, status, '{}', '', 0, '', ''];
});

async function dropIndexes(db: SqlDatabase, generation: number): Promise<void> {
  for (const index of ['status', 'type'].map((column) => `devices_by_${column}_g${generation}`))
    await db.run(
      db.dialect === 'mysql' ? `ALTER TABLE devices_g${generation} DROP KEY ${index}` : `DROP INDEX ${index}`,
    );
}

const planOf = async (db: SqlDatabase, query: string): Promise<string> =>
  JSON.stringify(await db.rows(`EXPLAIN ${db.dialect === 'sqlite' ? 'QUERY PLAN' : ''} ${query}`));

/** Read models of older releases, brought up to this one; `open` gives an empty database. */
export function schemaUpgradeContract(
  adapter: string,
  open: () => Promise<{ readonly db: SqlDatabase; close(): Promise<void> }>,
): void {
  describe(`${adapter} is brought up to this release`, () => {
    let db: SqlDatabase;
    let close: () => Promise<void>;

    beforeEach(async () => {
      ({ db, close } = await open());
      await migrateReadModels(db, 1);
      await createGeneration(db, 'telemetry', 2);
      await db.run(
        "INSERT INTO generations (projection, generation, version, status, created_at) VALUES ('telemetry', 2, 1, 'retired', 1)",
      );
      for (const [table, rows] of Object.entries(ledgers)) await db.write('insert', table, columns, rows);
    });
    afterEach(() => close());

    async function holdsTheLedgers(): Promise<void> {
      for (const [table, rows] of Object.entries(ledgers))
        assert.deepEqual(
          await db.rows(`SELECT ${columns.join(', ')}, late FROM ${table} ORDER BY device_id`),
          rows.map((row) => [...row, 0]),
        );
      const views = await db.rows(
        'SELECT l.device_id, l.stored, stored_count, late, expired FROM telemetry_ledger l ORDER BY device_id',
      );
      assert.deepEqual(views, [
        ['a', 11, 11, 0, 0],
        ['b', 2_147_483_648, 2_147_483_648, 0, 0],
      ]);
      const { stored, duplicate } = await sqlProgressQueries(db).ledgerTotals();
      assert.deepEqual({ stored, duplicate }, { stored: 2_147_483_659, duplicate: 2 });
    }

    it('from ledgers that count in a column "stored", and keeps every generation', async () => {
      await backToSchema4(db);
      await assert.rejects(db.rows('SELECT stored_count FROM telemetry_ledger_g1'));
      await migrateReadModels(db, 2);
      await holdsTheLedgers();
      await migrateReadModels(db, 3);
      await holdsTheLedgers();
    });

    it('from the last schema without retention', async () => {
      await backToSchema3(db);
      await migrateReadModels(db, 2);
      await holdsTheLedgers();
    });

    it('from views without a type', async () => {
      await db.run('DROP VIEW telemetry');
      await db.run('CREATE VIEW telemetry AS SELECT device_id, metrics AS value FROM telemetry_g1');
      await db.run('UPDATE schema_migrations SET version = 5');
      await migrateReadModels(db, 2);
      assert.deepEqual(
        await db.rows('SELECT value, value_number, value_text, value_bool FROM telemetry'),
        [],
      );
    });

    it('from device lists that are searched by their ids alone, in every generation', async () => {
      await createGeneration(db, 'devices', 2);
      await db.run(
        "INSERT INTO generations (projection, generation, version, status, created_at) VALUES ('devices', 2, 1, 'retired', 1)",
      );
      for (const generation of [1, 2]) await dropIndexes(db, generation);
      await db.run('DROP TABLE erasures');
      await db.run('UPDATE schema_migrations SET version = 9');
      await migrateReadModels(db, 2);
      for (const generation of [1, 2]) {
        const table = `devices_g${generation}`;
        await db.write('insert', table, deviceColumns, manyDevices);
        // SQLite finds out about new indexes when it reads, not when it plans.
        await (db.dialect === 'mysql' ? db.all(`ANALYZE TABLE ${table}`) : db.all(`SELECT 1 FROM ${table}`));
        for (const [column, value] of [
          ['status', 'erased'],
          ['type', 'rare'],
        ])
          assert.match(
            await planOf(
              db,
              `SELECT device_id FROM ${table} WHERE ${column} = '${value}' ORDER BY device_id`,
            ),
            new RegExp(`devices_by_${column}_g${generation}`),
          );
      }
      assert.deepEqual(await db.rows('SELECT * FROM erasures'), []);
    });

    it('from where an upgrade was cut short', async () => {
      await backToSchema3(db);
      // MySQL commits with every change of a schema.
      await db.run('ALTER TABLE telemetry_ledger_g1 ADD COLUMN late BIGINT NOT NULL DEFAULT 0');
      await db.run('ALTER TABLE telemetry_ledger_g1 RENAME COLUMN "stored" TO stored_count');
      await migrateReadModels(db, 2);
      await holdsTheLedgers();
    });
  });
}
