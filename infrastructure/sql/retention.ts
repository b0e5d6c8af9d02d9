import { isLeasedByAnother } from '../../application/ports/generations.ts';
import type { GenerationId } from '../../application/ports/read-models.ts';
import type { RemovedCounts, RetentionRecords, Sweep } from '../../application/ports/retention.ts';
import type { RetentionPolicy } from '../../domain/retention.ts';
import type { SqlDatabase, SqlQueries } from './sql.ts';

type SweepRow = Omit<Sweep, 'removed'> & { readonly removed: string };

const sweepColumns = `s.swept_to AS sweptTo, s.target, s.after_device AS "after", s.removed, s.ended_at AS endedAt`;
const projection = 'telemetry';

export const sqlRetentionRecords = (db: SqlDatabase, now: () => number): RetentionRecords => ({
  async now() {
    if (db.dialect === 'sqlite') return Number.POSITIVE_INFINITY;
    const [[time] = [Number.POSITIVE_INFINITY]] = await db.rows<[number]>(
      "SELECT TIMESTAMPDIFF(MICROSECOND, TIMESTAMP'1970-01-01 00:00:00', UTC_TIMESTAMP(3)) DIV 1000",
    );
    return Number(time);
  },

  async schedule() {
    const rows = await db.all<{ since: number; policy: string }>(
      'SELECT since, policy FROM retention_policies ORDER BY since',
    );
    return rows.map(({ since, policy }) => ({ since, policy: JSON.parse(policy) as RetentionPolicy }));
  },

  announce: (policy, since) =>
    db.transaction(async (tx) => {
      const text = JSON.stringify(policy);
      const [newest] = await tx.all<{ since: number; policy: string }>(
        'SELECT since, policy FROM retention_policies ORDER BY since DESC LIMIT 1',
      );
      if ((newest?.policy ?? '[]') === text) return false;
      // Never before one that may be in force already: removed data cannot be brought back.
      const from = Math.max(since, (newest?.since ?? 0) + 1);
      await tx.write('insert', 'retention_policies', ['since', 'policy'], [[from, text]]);
      return true;
    }),

  sweepOf: (generation) => readSweep(db, generation),

  async activeSweep(name) {
    const [row] = await db.all<SweepRow>(
      `SELECT ${sweepColumns} FROM retention_sweeps s
       JOIN projections p ON p.name = s.projection AND p.active = s.generation WHERE p.name = ?`,
      [name],
    );
    return row && sweepOf(row);
  },

  saveSweep: (generation, { sweptTo, target, after, removed, endedAt }) =>
    db.write(
      'replace',
      'retention_sweeps',
      ['projection', 'generation', 'swept_to', 'target', 'after_device', 'removed', 'ended_at'],
      [
        [
          generation.projection,
          generation.generation,
          sweptTo,
          target,
          after,
          JSON.stringify(removed),
          endedAt,
        ],
      ],
    ),

  acquireLease: (owner) =>
    db.transaction(async (tx) => {
      const lock = tx.dialect === 'mysql' ? ' FOR UPDATE' : '';
      const [row] = await tx.all<{ runner: string | null; heardAt: number }>(
        `SELECT runner, heard_at AS heardAt FROM retention_turn WHERE projection = ?${lock}`,
        [projection],
      );
      if (row && isLeasedByAnother(row, owner)) return false;
      await tx.write(
        'replace',
        'retention_turn',
        ['projection', 'runner', 'heard_at'],
        [[projection, owner.id, now()]],
      );
      return true;
    }),

  async releaseLease({ id }) {
    await db.run('UPDATE retention_turn SET runner = NULL WHERE projection = ? AND runner = ?', [
      projection,
      id,
    ]);
  },
});

export async function readSweep(
  sql: SqlQueries,
  { projection, generation }: GenerationId,
): Promise<Sweep | undefined> {
  const [row] = await sql.all<SweepRow>(
    `SELECT ${sweepColumns} FROM retention_sweeps s WHERE s.projection = ? AND s.generation = ?`,
    [projection, generation],
  );
  return row && sweepOf(row);
}

const sweepOf = ({ removed, ...row }: SweepRow): Sweep => ({
  ...row,
  removed: JSON.parse(removed) as RemovedCounts,
});
