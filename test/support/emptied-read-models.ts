import path from 'node:path';
import { migrateReadModels } from '../../infrastructure/sql/schema.ts';
import { SqliteSql } from '../../infrastructure/sqlite/database.ts';
import { temporaryDirectory } from '../infrastructure/sqlite/temporary-directory.ts';

export type EmptiedReadModels = {
  readonly db: SqliteSql;
  /** Leaves the tables as they were made. */
  empty(): Promise<void>;
  close(): Promise<void>;
};

/** Tables that are not emptied: they describe the others. */
const structure = ['schema_migrations', 'projections', 'generations'];

/** Read models for the runs of a property: emptied between them, which takes a hundredth of the time of a new file. */
export async function emptiedReadModels(): Promise<EmptiedReadModels> {
  const folder = temporaryDirectory();
  const db = new SqliteSql(path.join(folder.path, 'read-models.db'));
  await migrateReadModels(db, 0);
  const tables = (await db.rows<[string]>("SELECT name FROM sqlite_master WHERE type = 'table'"))
    .map(([name]) => name)
    .filter((name) => !structure.includes(name));
  return {
    db,
    empty: () =>
      db.transaction(async (tx) => {
        for (const table of tables) await tx.run(`DELETE FROM ${table}`);
        // Checkpoints go back, which without a change of the schema is taken for another file.
        await tx.run('CREATE TABLE emptied (at INTEGER)');
        await tx.run('DROP TABLE emptied');
      }),
    async close() {
      await db.close();
      folder.remove();
    },
  };
}
