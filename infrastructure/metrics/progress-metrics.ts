import { Gauge, type Registry } from 'prom-client';
import { countLag } from '../../application/freshness.ts';
import type { EventSource, Positioned } from '../../application/ports/event-source.ts';
import type { ProgressQueries } from '../../application/ports/queries.ts';
import { sourceOf } from '../../application/projections/projection.ts';
import { answered } from './answered.ts';

/** Tells, whenever the metrics are read, how far the active generations are behind and what they have parked. */
export function measureProgress(
  registry: Registry,
  queries: ProgressQueries,
  sources: Readonly<Record<'devices' | 'telemetry', EventSource<Positioned>>>,
): void {
  new Gauge({
    name: 'fieldlog_projection_lag_events',
    help: 'Events in the log that the active generation has not consumed',
    labelNames: ['projection'],
    registers: [registry],
    async collect() {
      this.reset();
      const progress = (await answered(queries.progress())) ?? [];
      await Promise.all(
        progress.map(async ({ projection, checkpoints }) => {
          const lag = await answered(countLag(sources[sourceOf(projection)], checkpoints));
          if (lag !== undefined) this.set({ projection }, lag);
        }),
      );
    },
  });
  new Gauge({
    name: 'fieldlog_dead_letters',
    help: 'Dead letters waiting',
    labelNames: ['projection', 'cause'],
    registers: [registry],
    async collect() {
      this.reset();
      const counts = (await answered(queries.deadLetterCounts())) ?? [];
      for (const { projection, cause, count } of counts) this.set({ projection, cause }, count);
    },
  });
}
