import type { Generation } from '../../application/ports/read-models.ts';
import type { Sql } from './sql.ts';

/** Keeps the projectors of a generation out for the rest of the transaction. */
export async function lockCheckpoints(tx: Sql, { projection, generation }: Generation): Promise<void> {
  if (tx.dialect === 'mysql')
    await tx.all('SELECT part FROM checkpoints WHERE projection = ? AND generation = ? FOR UPDATE', [
      projection,
      generation,
    ]);
}

/** Has its projectors start afresh from the tables. */
export async function forgetCaches(tx: Sql, { projection, generation }: Generation): Promise<void> {
  await tx.run('UPDATE checkpoints SET epoch = epoch + 1 WHERE projection = ? AND generation = ?', [
    projection,
    generation,
  ]);
}
