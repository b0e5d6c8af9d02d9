import assert from 'node:assert/strict';
import { sqlRetentionRecords } from '../../../infrastructure/sql/retention.ts';
import { sqlRetentionTables } from '../../../infrastructure/sql/retention-sweep.ts';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import { SqliteSql } from '../../../infrastructure/sqlite/database.ts';
import { retentionContract } from '../../contracts/retention.contract.ts';
import { readModelsBeforeRetention } from '../../support/read-models-before-retention.ts';
import { reopenable } from './reopenable.ts';

async function open() {
  const { db, close } = await reopenable(({ readModels }) => ({ db: new SqliteSql(readModels) }));
  await migrateReadModels(db, 1);
  return { db, records: sqlRetentionRecords(db, Date.now), tables: sqlRetentionTables(db), close };
}

retentionContract('SqliteSql', open);

describe('Read models of the release before there was retention, in SQLite', () => {
  it('are given what it needs, and keep what they hold', async () => {
    const { db, close } = await open();
    try {
      await readModelsBeforeRetention(db);
      await migrateReadModels(db, 2);
      const ledger = await db.all<object>('SELECT device_id, stored, late, expired FROM telemetry_ledger');
      assert.deepEqual({ ...ledger[0] }, { device_id: 'd-1', stored: 1, late: 0, expired: 0 });
      await migrateReadModels(db, 3);
    } finally {
      await close();
    }
  });
});
