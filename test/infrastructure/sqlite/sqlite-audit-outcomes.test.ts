import { sqlAuditOutcomes } from '../../../infrastructure/sql/audit.ts';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import { SqliteSql } from '../../../infrastructure/sqlite/database.ts';
import { auditOutcomesContract } from '../../contracts/audit-outcomes.contract.ts';
import { reopenable } from './reopenable.ts';

auditOutcomesContract('SqliteSql', async () => {
  const { db, close } = await reopenable(({ readModels }) => ({ db: new SqliteSql(readModels) }));
  await migrateReadModels(db, 1);
  return { audits: sqlAuditOutcomes(db), close };
});
