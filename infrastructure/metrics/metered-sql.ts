import { Histogram, type Registry } from 'prom-client';
import type { SqlQueries } from '../sql/sql.ts';

/** Measures the duration of queries. */
export function meteredSql(sql: SqlQueries, registry: Registry): SqlQueries {
  const seconds = querySeconds(registry);

  async function timed<T>(result: Promise<T>): Promise<T> {
    const end = seconds.startTimer();
    try {
      const answered = await result;
      end({ outcome: 'done' });
      return answered;
    } catch (error) {
      end({ outcome: 'failed' });
      throw error;
    }
  }

  return {
    dialect: sql.dialect,
    all: (text, params) => timed(sql.all(text, params)),
    rows: (text, params) => timed(sql.rows(text, params)),
  };
}

export const querySeconds = (registry: Registry): Histogram<'outcome'> =>
  new Histogram({
    name: 'fieldlog_query_seconds',
    help: 'Time of a query of the read models',
    labelNames: ['outcome'] as const,
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
    registers: [registry],
  });
