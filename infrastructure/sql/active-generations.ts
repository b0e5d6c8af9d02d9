import type { ProjectionName } from '../../application/projections/projection.ts';
import type { SqlQueries } from './sql.ts';

/** The generation that readers use of each projection. */
export type ActiveGenerations = Readonly<Record<ProjectionName, number>>;

/**
 * Runs a query on the active generations. Between asking which these are and the query itself, another may have
 * become active and the tables of the old one may be dropped: the query then runs again on the new one.
 */
export async function withActiveGenerations<T>(
  sql: SqlQueries,
  query: (active: ActiveGenerations) => Promise<T>,
): Promise<T> {
  for (let active = await activeGenerations(sql); ; ) {
    try {
      return await query(active);
    } catch (error) {
      const now = await activeGenerations(sql);
      if (Object.entries(now).every(([name, generation]) => active[name as ProjectionName] === generation))
        throw error;
      active = now;
    }
  }
}

async function activeGenerations(sql: SqlQueries): Promise<ActiveGenerations> {
  const rows = await sql.rows<[ProjectionName, number]>('SELECT name, active FROM projections');
  return Object.fromEntries(rows) as ActiveGenerations;
}
