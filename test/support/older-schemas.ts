import { tableOf } from '../../infrastructure/sql/generation-tables.ts';
import type { SqlDatabase } from '../../infrastructure/sql/sql.ts';

/** Takes read models back to schema 4, whose ledgers have a column `stored`, which is a reserved word of MySQL. */
export async function backToSchema4(db: SqlDatabase): Promise<void> {
  await db.run('DROP VIEW telemetry_ledger');
  const generations = await db.rows<[number]>(
    "SELECT generation FROM generations WHERE projection = 'telemetry'",
  );
  for (const [generation] of generations)
    await db.run(
      `ALTER TABLE ${tableOf('telemetry_ledger', generation)} RENAME COLUMN stored_count TO "stored"`,
    );
  const [published] = await db.rows<[number]>("SELECT published FROM projections WHERE name = 'telemetry'");
  await db.run(
    `CREATE VIEW telemetry_ledger AS SELECT l.device_id, l.day, l.stored, l.duplicate, l.corrected, l.dead_lettered,
     l.late, l.retracted FROM ${tableOf('telemetry_ledger', published?.[0] ?? 1)} l`,
  );
  await db.run('DELETE FROM schema_migrations WHERE version > 4');
  await db.run('INSERT INTO schema_migrations (version, applied_at) VALUES (4, 1)');
}

/** Takes read models back to schema 3, the last without retention. */
export async function backToSchema3(db: SqlDatabase): Promise<void> {
  await backToSchema4(db);
  await db.run('DROP VIEW telemetry_ledger');
  const generations = await db.rows<[number]>(
    "SELECT generation FROM generations WHERE projection = 'telemetry'",
  );
  for (const [generation] of generations) {
    await db.run(`ALTER TABLE ${tableOf('telemetry_ledger', generation)} DROP COLUMN late`);
    await db.run(`DROP TABLE ${tableOf('telemetry_expired', generation)}`);
  }
  for (const table of ['retention_policies', 'retention_sweeps', 'retention_turn'])
    await db.run(`DROP TABLE ${table}`);
  await db.run('DELETE FROM schema_migrations WHERE version > 3');
  await db.run('INSERT INTO schema_migrations (version, applied_at) VALUES (3, 1)');
}
