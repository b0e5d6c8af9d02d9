import type { LatestMetrics } from '../../application/ports/read-models.ts';
import type { ExactSum } from '../../domain/exact-sum.ts';
import type { RollupStats } from '../../domain/rollup.ts';
import type { Metrics, MetricValue } from '../../domain/telemetry.ts';

/** `[count, numbers, sum, min, max, firstAt, first, lastAt, last]`: what analysts' views pick from by place. */
type StatsDocument = readonly [
  number,
  number,
  ExactSum,
  number | null,
  number | null,
  number,
  MetricValue,
  number,
  MetricValue,
];

export const readMetrics = (text: string): Metrics => JSON.parse(text) as Metrics;

export const latestDocument = (metrics: LatestMetrics): string => JSON.stringify(Object.fromEntries(metrics));

export const readLatest = (text: string): LatestMetrics =>
  new Map(Object.entries(JSON.parse(text) as Record<string, readonly [MetricValue, number]>));

export function rollupDocument(metrics: ReadonlyMap<string, RollupStats>): string {
  const document: Record<string, StatsDocument> = {};
  for (const [name, s] of metrics)
    document[name] = [s.count, s.numbers, s.sum, s.min, s.max, s.firstAt, s.first, s.lastAt, s.last];
  return JSON.stringify(document);
}

export function readRollup(text: string): Map<string, RollupStats> {
  const metrics = new Map<string, RollupStats>();
  const document = JSON.parse(text) as Record<string, StatsDocument>;
  for (const [name, stats] of Object.entries(document)) metrics.set(name, readStats(stats));
  return metrics;
}

function readStats([
  count,
  numbers,
  sum,
  min,
  max,
  firstAt,
  first,
  lastAt,
  last,
]: StatsDocument): RollupStats {
  return { count, numbers, sum, min, max, firstAt, first, lastAt, last };
}
