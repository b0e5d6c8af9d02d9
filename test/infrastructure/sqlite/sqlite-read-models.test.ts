import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import { sqlReadModels } from '../../../infrastructure/sql/sql-read-models.ts';
import { SqliteSql } from '../../../infrastructure/sqlite/sqlite-sql.ts';
import { readModelsContract } from '../../contracts/read-models.contract.ts';

readModelsContract('SQLite', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'fieldlog-read-models-'));
  const db = new SqliteSql(join(folder, 'read-models.db'));
  await migrateReadModels(db, 0);
  return {
    readModels: sqlReadModels(db, { now: () => 0 }),
    async close() {
      await db.close();
      await rm(folder, { recursive: true });
    },
  };
});
