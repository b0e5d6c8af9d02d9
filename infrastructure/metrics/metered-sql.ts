import { Histogram, type Registry } from 'prom-client';
import type { Sql } from '../sql/sql.ts';

/** A database that tells how long its queries take. */
export function meteredSql(sql: Sql, registry: Registry): Sql {
  const seconds = querySeconds(registry);

  async function timed<T>(answer: Promise<T>): Promise<T> {
    const end = seconds.startTimer();
    try {
      const answered = await answer;
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
    run: (text, params) => timed(sql.run(text, params)),
    write: (mode, table, columns, rows) => timed(sql.write(mode, table, columns, rows)),

    async *stream<Row extends readonly unknown[]>(...query: Parameters<Sql['stream']>) {
      const chunks = sql.stream<Row>(...query)[Symbol.asyncIterator]();
      try {
        // What follows takes as long as its reader does.
        for (let next = await timed(chunks.next()); !next.done; next = await chunks.next()) yield next.value;
      } finally {
        await chunks.return?.();
      }
    },
  };
}

export const querySeconds = (registry: Registry): Histogram<'outcome'> =>
  new Histogram({
    name: 'fieldlog_query_seconds',
    help: 'Time of a query of the read models, of a streamed one until its first rows',
    labelNames: ['outcome'] as const,
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
    registers: [registry],
  });
