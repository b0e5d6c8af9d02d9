import { furthest, type PartitionPosition } from '../../application/ports/event-source.ts';
import type { ProgressQueries, ProjectionProgress } from '../../application/ports/queries.ts';
import { withActiveGenerations } from './active-generations.ts';
import { activeTotals, recountedTotals } from './ledger-totals.ts';
import type { SqlQueries } from './sql.ts';

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

    ledgerTotals: async () =>
      (await activeTotals(sql)) ??
      withActiveGenerations(sql, ({ telemetry }) => recountedTotals(sql, telemetry)),
  };
}
