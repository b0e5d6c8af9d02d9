import { Gauge, Histogram, type Registry } from 'prom-client';
import type { AuditOutcomes } from '../../application/ports/audit.ts';
import {
  comparePositions,
  type EventSource,
  type PartitionPosition,
  type Position,
  type Positioned,
} from '../../application/ports/event-source.ts';
import type { ProgressQueries } from '../../application/ports/queries.ts';
import type { RetentionRecords } from '../../application/ports/retention.ts';
import { countLag } from '../../application/progress.ts';
import { sourceOf } from '../../application/projections/projection.ts';
import type { SqlQueries } from '../sql/sql.ts';
import { withinScrape } from './process-metrics.ts';

type Lag = { readonly projection: string; readonly events?: number; readonly seconds?: number };

/** Registers how far the active generations are behind and what they have parked; read at each scrape. */
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
    const progress = (await withinScrape(queries.progress())) ?? [];
    return Promise.all(
      progress.map(async ({ projection, reached }): Promise<Lag> => {
        const source = sources[sourceOf(projection)];
        const [count, seconds] = await Promise.all([
          withinScrape(countLag(source, reached)),
          withinScrape(waiting.longest(projection, source, reached)),
        ]);
        return {
          projection,
          ...(count && { events: count.events }),
          ...(seconds !== undefined && { seconds }),
        };
      }),
    );
  }

  new Gauge({
    name: 'fieldlog_projection_lag_events',
    help: 'Events in the log that the active generation has not consumed; at least so many where the log is shared',
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
      const counts = (await withinScrape(queries.deadLetterCounts())) ?? [];
      for (const { projection, cause, count } of counts) this.set({ projection, cause }, count);
    },
  });
}

/** The end of a partition, and when it was first seen to be there, epoch milliseconds. */
type Sighting = { readonly end: Position | null; readonly at: number };

/** The figure is too small by this share of a wait at most, and a month's wait is a few hundred sightings. */
const precision = 1 / 32;

/**
 * How long events wait, without reading any: ends of partitions are noted with the time at which they were seen, and
 * what a checkpoint has not passed has waited since. It waited a little before, too, since the last look.
 */
export function waitingTimes(now: () => number) {
  const seen = new Map<string, readonly Sighting[]>();
  return { longest, sightings: () => [...seen.values()].flat().length };

  /** Of the events of all partitions that the checkpoints have not passed, the longest wait, in seconds. */
  async function longest(
    projection: string,
    source: Pick<EventSource<Positioned>, 'ends'>,
    checkpoints: readonly PartitionPosition[],
  ): Promise<number> {
    const reached = new Map(checkpoints.map(({ partition, position }) => [partition, position]));
    const at = now();
    let first = at;
    for (const [partition, end] of await source.ends()) {
      const key = `${projection}/${partition}`;
      const waiting = (seen.get(key) ?? []).filter((one) => isBehind(partition, one.end));
      const [oldest, newest] = [waiting[0]?.at ?? at, waiting.at(-1)];
      const isNews = !newest || (newest.end !== end && at - newest.at >= (at - oldest) * precision);
      if (isNews && isBehind(partition, end)) waiting.push({ end, at });
      seen.set(key, waiting);
      first = Math.min(first, oldest);
    }
    return (at - first) / 1000;

    function isBehind(partition: number, end: Position | null): boolean {
      return comparePositions(reached.get(partition) ?? null, end) < 0;
    }
  }
}

/** Registers how the last audit ended; nothing before the first. Read at each scrape. */
export function measureLedger(registry: Registry, audits: AuditOutcomes): void {
  // With a label, for a gauge without one is 0 from the start, and nothing has been audited then.
  const labelNames = ['projection'] as const;
  new Gauge({
    name: 'fieldlog_ledger_differences',
    help: 'Devices and days for which the last audit found log, ledger and table to disagree',
    labelNames,
    registers: [registry],
    async collect() {
      this.reset();
      const outcome = await withinScrape(audits.last());
      if (outcome) this.set({ projection: 'telemetry' }, outcome.differences);
    },
  });
  new Gauge({
    name: 'fieldlog_ledger_audited_timestamp_seconds',
    help: 'When the last audit ended, Unix time',
    labelNames,
    registers: [registry],
    async collect() {
      this.reset();
      const outcome = await withinScrape(audits.last());
      if (outcome) this.set({ projection: 'telemetry' }, outcome.at / 1000);
    },
  });
}

/** Registers what sweeps have removed from the active generation; nothing before the first. Read at each scrape. */
export function measureRetention(registry: Registry, records: Pick<RetentionRecords, 'activeSweep'>): void {
  const sweep = () => withinScrape(records.activeSweep('telemetry'));
  new Gauge({
    name: 'fieldlog_retention_removed_rows',
    help: 'Rows removed of the active generation because they are kept no longer; trimmed are those that lost a metric',
    labelNames: ['kind'],
    registers: [registry],
    async collect() {
      this.reset();
      for (const [kind, rows] of Object.entries((await sweep())?.removed ?? {})) this.set({ kind }, rows);
    },
  });
  new Gauge({
    name: 'fieldlog_retention_swept_to_timestamp_seconds',
    help: 'Everything is gone of the active generation that was too old at this moment, Unix time',
    // With a label, for a gauge without one is 0 from the start.
    labelNames: ['projection'],
    registers: [registry],
    async collect() {
      this.reset();
      const sweptTo = (await sweep())?.sweptTo ?? null;
      if (sweptTo !== null) this.set({ projection: 'telemetry' }, sweptTo / 1000);
    },
  });
}

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
