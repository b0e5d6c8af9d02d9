import assert from 'node:assert/strict';
import { sqlRetentionRecords } from '../../../infrastructure/sql/retention.ts';
import { sqlRetentionTables } from '../../../infrastructure/sql/retention-sweep.ts';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import { retentionContract } from '../../contracts/retention.contract.ts';
import { readModelsBeforeRetention } from '../../support/read-models-before-retention.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';
import { openMysql } from './open-mysql.ts';
import { ownDatabase } from './own-database.ts';

onMariadbAndMysql('Retention over MysqlSql', (url) => {
  async function open() {
    const database = await ownDatabase(url);
    const { db, close } = await openMysql(database.url);
    await migrateReadModels(db, 1);
    return {
      db,
      records: sqlRetentionRecords(db, Date.now),
      tables: sqlRetentionTables(db),
      async close() {
        await close();
        await database.drop();
      },
    };
  }

  retentionContract('MysqlSql', open);

  it('brings read models of the release before up to this one', async () => {
    const { db, close } = await open();
    try {
      await readModelsBeforeRetention(db);
      // As a migration leaves it that was killed on its way: MySQL commits with every change of a schema.
      await db.run('ALTER TABLE telemetry_ledger_g1 ADD COLUMN late BIGINT NOT NULL DEFAULT 0');
      await migrateReadModels(db, 2);
      const ledger = await db.all<object>('SELECT device_id, stored, late, expired FROM telemetry_ledger');
      assert.deepEqual({ ...ledger[0] }, { device_id: 'd-1', stored: 1, late: 0, expired: 0 });
    } finally {
      await close();
    }
  });
});
