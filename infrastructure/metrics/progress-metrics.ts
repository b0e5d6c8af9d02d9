import { Gauge, type Registry } from 'prom-client';
import type { EventSource, Positioned } from '../../application/ports/event-source.ts';
import type { ProgressQueries } from '../../application/ports/queries.ts';
import { countLag } from '../../application/progress.ts';
import { sourceOf } from '../../application/projections/projection.ts';
import { answered } from './answered.ts';
import { waitingTimes } from './waiting-times.ts';

type Lag = { readonly projection: string; readonly events?: number; readonly seconds?: number };

/** Tells, whenever the metrics are read, how far the active generations are behind and what they have parked. */
export function measureProgress(
  registry: Registry,
  queries: ProgressQueries,
  sources: Readonly<Record<'devices' | 'telemetry', EventSource<Positioned>>>,
  now: () => number = Date.now,
): void {
  const waiting = waitingTimes(now);
  let reading: Promise<readonly Lag[]> | undefined;
  // Both gauges of a scrape have it from one question.
  const lags = () => {
    reading ??= readLags().finally(() => {
      reading = undefined;
    });
    return reading;
  };

  async function readLags(): Promise<readonly Lag[]> {
    const progress = (await answered(queries.progress())) ?? [];
    return Promise.all(
      progress.map(async ({ projection, checkpoints }): Promise<Lag> => {
        const source = sources[sourceOf(projection)];
        const [events, seconds] = await Promise.all([
          answered(countLag(source, checkpoints)),
          answered(waiting.longest(projection, source, checkpoints)),
        ]);
        return {
          projection,
          ...(events !== undefined && { events }),
          ...(seconds !== undefined && { seconds }),
        };
      }),
    );
  }

  new Gauge({
    name: 'fieldlog_projection_lag_events',
    help: 'Events in the log that the active generation has not consumed',
    labelNames: ['projection'],
    registers: [registry],
    async collect() {
      this.reset();
      for (const { projection, events } of await lags())
        if (events !== undefined) this.set({ projection }, events);
    },
  });
  new Gauge({
    name: 'fieldlog_projection_lag_seconds',
    help: 'How long the first event that the active generation has not consumed has been seen to wait',
    labelNames: ['projection'],
    registers: [registry],
    async collect() {
      this.reset();
      for (const { projection, seconds } of await lags())
        if (seconds !== undefined) this.set({ projection }, seconds);
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
