import { sqlRetentionRecords } from '../../../infrastructure/sql/retention.ts';
import { sqlRetentionTables } from '../../../infrastructure/sql/retention-sweep.ts';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import { SqliteSql } from '../../../infrastructure/sqlite/database.ts';
import { retentionContract } from '../../contracts/retention.contract.ts';
import { reopenable } from './reopenable.ts';

async function open() {
  const { db, close } = await reopenable(({ readModels }) => ({ db: new SqliteSql(readModels) }));
  await migrateReadModels(db, 1);
  return { db, records: sqlRetentionRecords(db, Date.now), tables: sqlRetentionTables(db), close };
}

retentionContract('SqliteSql', open);
