import { furthest, type PartitionPosition } from '../../application/ports/event-source.ts';
import type { ProgressQueries, ProjectionProgress } from '../../application/ports/queries.ts';
import { withActiveGenerations } from './active-generations.ts';
import { tableOf } from './generation-tables.ts';
import type { SqlQueries } from './sql.ts';

type Totals = Awaited<ReturnType<ProgressQueries['ledgerTotals']>>;
type ProgressRow = {
  projection: string;
  generation: number;
  version: number;
  part: number | null;
  position: string | null;
  skipped: string | null;
};

/** Checkpoints, ledger totals and dead letter counts of the active generations. */
export function sqlProgressQueries(sql: SqlQueries): ProgressQueries {
  return {
    async progress() {
      const rows = await sql.all<ProgressRow>(
        `SELECT g.projection, g.generation, g.version, c.part, c.position, c.skipped_to AS skipped
         FROM projections p
         JOIN generations g ON g.projection = p.name AND g.generation = p.active
         LEFT JOIN checkpoints c ON c.projection = g.projection AND c.generation = g.generation
         ORDER BY g.projection, c.part`,
      );
      const found = new Map<
        string,
        ProjectionProgress & { checkpoints: PartitionPosition[]; reached: PartitionPosition[] }
      >();
      for (const { projection, generation, version, part, position, skipped } of rows) {
        const one = found.get(projection) ?? {
          projection,
          generation,
          version,
          checkpoints: [],
          reached: [],
        };
        found.set(projection, one);
        if (part === null) continue;
        if (position !== null) one.checkpoints.push({ partition: part, position });
        const reached = furthest(position, skipped);
        if (reached !== null) one.reached.push({ partition: part, position: reached });
      }
      return [...found.values()];
    },

    deadLetterCounts: () =>
      sql.all(
        `SELECT d.projection, d.cause, COUNT(*) AS count
         FROM dead_letters d JOIN projections p ON p.name = d.projection AND p.active = d.generation
         WHERE d.discarded_at IS NULL
         GROUP BY d.projection, d.cause ORDER BY d.projection, d.cause`,
      ),

    async ledgerTotals() {
      const [totals] = await withActiveGenerations(sql, ({ telemetry }) =>
        sql.all<Record<keyof Totals, number | string>>(
          `SELECT COALESCE(SUM(stored_count), 0) AS "stored", COALESCE(SUM(duplicate), 0) AS duplicate,
           COALESCE(SUM(corrected), 0) AS corrected, COALESCE(SUM(dead_lettered), 0) AS deadLettered,
           COALESCE(SUM(late), 0) AS late, COALESCE(SUM(retracted), 0) AS retracted,
           (SELECT COALESCE(SUM(expired), 0) FROM ${tableOf('telemetry_expired', telemetry)}) AS expired
           FROM ${tableOf('telemetry_ledger', telemetry)}`,
        ),
      );
      if (!totals) throw new Error('The sums of a ledger are one row');
      // MySQL sums to a DECIMAL, which its driver gives as text.
      const { stored, duplicate, corrected, deadLettered, late, retracted, expired } = totals;
      return {
        stored: Number(stored),
        duplicate: Number(duplicate),
        corrected: Number(corrected),
        deadLettered: Number(deadLettered),
        late: Number(late),
        retracted: Number(retracted),
        expired: Number(expired),
      };
    },
  };
}
