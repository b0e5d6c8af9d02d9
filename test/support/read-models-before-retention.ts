import type { SqlDatabase } from '../../infrastructure/sql/sql.ts';

/** Takes read models back to what the release before retention made, with one reading in the ledger. */
export async function readModelsBeforeRetention(db: SqlDatabase): Promise<void> {
  await db.run("INSERT INTO telemetry_ledger_g1 VALUES ('d-1', 0, 1, 0, 0, 0, 0, 0)");
  await db.run('DROP VIEW telemetry_ledger');
  await db.run('ALTER TABLE telemetry_ledger_g1 DROP COLUMN late');
  for (const table of ['retention_policies', 'retention_sweeps', 'retention_turn', 'telemetry_expired_g1'])
    await db.run(`DROP TABLE ${table}`);
  await db.run('DELETE FROM schema_migrations WHERE version > 3');
  await db.run('INSERT INTO schema_migrations (version, applied_at) VALUES (3, 1)');
}
