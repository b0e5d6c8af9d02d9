import type { Clock } from '../../application/ports/clock.ts';
import type { Position } from '../../application/ports/position.ts';
import type { Generation, ReadModels } from '../../application/ports/read-models.ts';
import type { SqlDatabase } from './sql.ts';
import { sqlProjectionTables } from './sql-projection-tables.ts';

type CheckpointRow = { position: Position | null; epoch: number };

/** The write side of the read models on either engine. */
export class SqlReadModels implements ReadModels {
  readonly #db: SqlDatabase;
  readonly #clock: Clock;

  constructor(db: SqlDatabase, clock: Clock) {
    this.#db = db;
    this.#clock = clock;
  }

  async checkpoint({ projection, generation }: Generation, partition: number): Promise<Position | null> {
    const [row] = await this.#db.all<CheckpointRow>(
      'SELECT position, epoch FROM checkpoints WHERE projection = ? AND generation = ? AND part = ?',
      [projection, generation, partition],
    );
    return row?.position ?? null;
  }

  transact: ReadModels['transact'] = (of, partition, work) =>
    this.#db.transaction(async (tx) => {
      const key = [of.projection, of.generation, partition];
      const where = 'WHERE projection = ? AND generation = ? AND part = ?';
      const forUpdate = tx.dialect === 'mysql' ? ' FOR UPDATE' : '';
      // A row there to be locked: a gap lock on a missing one would let two workers in and deadlock both.
      const insert = tx.dialect === 'mysql' ? 'INSERT IGNORE' : 'INSERT OR IGNORE';
      const select = `SELECT position, epoch FROM checkpoints ${where}${forUpdate}`;
      let [row] = await tx.all<CheckpointRow>(select, key);
      if (!row) {
        await tx.run(
          `${insert} INTO checkpoints (projection, generation, part, position, epoch, updated_at) VALUES (?, ?, ?, NULL, 0, ?)`,
          [...key, this.#clock.now()],
        );
        [row] = await tx.all<CheckpointRow>(select, key);
      }
      if (!row) throw new Error(`The checkpoint of ${of.projection} partition ${partition} cannot be made`);
      const position = await work(sqlProjectionTables(tx, of), row);
      if (position !== row.position)
        await tx.run(`UPDATE checkpoints SET position = ?, updated_at = ? ${where}`, [
          position,
          this.#clock.now(),
          ...key,
        ]);
    });
}
