import type { Clock } from '../../application/ports/clock.ts';
import type { Position } from '../../application/ports/position.ts';
import type { Generation, ReadModels } from '../../application/ports/read-models.ts';
import type { Sql, SqlDatabase } from './sql.ts';
import { sqlProjectionTables } from './sql-projection-tables.ts';

type CheckpointRow = { position: Position | null; epoch: number };
type Work = Parameters<ReadModels['transact']>[2];

/** The write side of the read models on either engine, each `transact` a transaction of its own. */
export const sqlReadModels = (db: SqlDatabase, clock: Clock): ReadModels => ({
  checkpoint: (of, partition) => readCheckpoint(db, of, partition),
  transact: (of, partition, work) =>
    db.transaction((tx) => consumeInto(tx, of, partition, work, clock.now())),
});

/** The same inside a transaction that is open already and decides over everything at its own end. */
export const sqlReadModelsWithin = (tx: Sql, clock: Clock): ReadModels => ({
  checkpoint: (of, partition) => readCheckpoint(tx, of, partition),
  transact: (of, partition, work) => consumeInto(tx, of, partition, work, clock.now()),
});

async function readCheckpoint(sql: Sql, of: Generation, partition: number): Promise<Position | null> {
  const [row] = await sql.all<CheckpointRow>(
    'SELECT position, epoch FROM checkpoints WHERE projection = ? AND generation = ? AND part = ?',
    [of.projection, of.generation, partition],
  );
  return row?.position ?? null;
}

async function consumeInto(
  tx: Sql,
  of: Generation,
  partition: number,
  work: Work,
  now: number,
): Promise<void> {
  const key = [of.projection, of.generation, partition];
  const where = 'WHERE projection = ? AND generation = ? AND part = ?';
  const select = `SELECT position, epoch FROM checkpoints ${where}${tx.dialect === 'mysql' ? ' FOR UPDATE' : ''}`;
  let [row] = await tx.all<CheckpointRow>(select, key);
  if (!row) {
    // Two workers may both find none: the second one's insert waits for the first and then does nothing.
    await tx.run(
      `INSERT ${tx.dialect === 'mysql' ? '' : 'OR '}IGNORE
       INTO checkpoints (projection, generation, part, position, epoch, updated_at) VALUES (?, ?, ?, NULL, 0, ?)`,
      [...key, now],
    );
    [row] = await tx.all<CheckpointRow>(select, key);
  }
  if (!row) throw new Error(`The checkpoint of ${of.projection} partition ${partition} cannot be made`);
  const position = await work(sqlProjectionTables(tx, of), row);
  if (position !== row.position)
    await tx.run(`UPDATE checkpoints SET position = ?, updated_at = ? ${where}`, [position, now, ...key]);
}
