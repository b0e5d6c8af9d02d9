import type { DatabaseSync } from 'node:sqlite';

/**
 * Runs work in a transaction that holds the file from its beginning: what the work reads, other processes cannot
 * change before it commits. Nothing is kept of work that throws.
 */
export function immediateTransaction(db: DatabaseSync): <T>(work: () => T) => T {
  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  return (work) => {
    begin.run();
    try {
      const result = work();
      commit.run();
      return result;
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK');
      throw error;
    }
  };
}
