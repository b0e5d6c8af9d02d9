import {
  addPoint,
  bucketOf,
  type RollupLevel,
  type RollupStats,
  rollupLevels,
  rollupWidth,
} from '../../domain/rollup.ts';
import type { RollupQuery, RollupSlice, TelemetryQueries, TimeRange } from '../ports/queries.ts';
import type { BucketAt, BucketSpan } from './bucket-calendar.ts';

/** One metric of one device over some time within one bucket. */
export type Piece = {
  readonly deviceId: string;
  readonly metric: string;
  readonly span: BucketSpan;
  readonly stats: RollupStats;
};

/** All that the range holds, nothing twice, by device, each in order of time; `after` is the last device not wanted. */
export type Pieces = (range: TimeRange, after?: string) => AsyncIterable<readonly Piece[]>;

/**
 * Takes each stretch of time from the coarsest rollups whose buckets lie within one bucket and within the range.
 * Where an edge cuts one, its time is told by the next finer level, and at last by the points themselves.
 * `bucketLength` is the least a bucket lasts: rollups of more than that are not worth asking.
 */
export function piecesOf(
  queries: TelemetryQueries,
  bucketAt: BucketAt,
  bucketLength: number,
  { scope, metrics, order }: Pick<RollupQuery, 'scope' | 'metrics' | 'order'>,
): Pieces {
  const wanted = { order, ...(metrics && { metrics }) };
  const coarsest = rollupLevels.findLast((level) => rollupWidth[level] <= bucketLength) ?? '1m';
  return (range, after) => fromRollups(coarsest, { scope, range, ...wanted, ...(after && { after }) });

  async function* fromRollups(level: RollupLevel, query: RollupQuery): AsyncGenerator<readonly Piece[]> {
    const { range } = query;
    const reaching = { from: bucketOf(level, range.from), to: range.to };
    for await (const slices of queries.rollups(level, { ...query, range: reaching }))
      for (const run of runsOf(slices, level, range))
        if ('pieces' in run) yield run.pieces;
        else yield* finer(level, run);
  }

  function finer(level: RollupLevel, { deviceId, range }: CutRun): AsyncGenerator<readonly Piece[]> {
    const query = { scope: { deviceId }, range, ...wanted };
    const next = rollupLevels[rollupLevels.indexOf(level) - 1];
    return next ? fromRollups(next, query) : fromPoints(query);
  }

  async function* fromPoints(query: Omit<RollupQuery, 'after'>): AsyncGenerator<readonly Piece[]> {
    for await (const points of queries.points({ ...query, limit: Number.POSITIVE_INFINITY }))
      yield points.map(({ deviceId, metric, timestamp, value }) => ({
        deviceId,
        metric,
        span: bucketAt(timestamp),
        stats: addPoint(undefined, value, timestamp),
      }));
  }

  /** Cut neighbours go together, or a zone whose days are not UTC's would cost a query a day. */
  function runsOf(slices: readonly RollupSlice[], level: RollupLevel, range: TimeRange): readonly Run[] {
    const runs: Run[] = [];
    for (const { deviceId, metric, bucket, stats } of slices) {
      const run = runs.at(-1);
      const span = bucketAt(bucket);
      const end = bucket + rollupWidth[level];
      if (bucket >= range.from && end <= range.to && end <= span.end) {
        const piece = { deviceId, metric, span, stats };
        if (run && 'pieces' in run) run.pieces.push(piece);
        else runs.push({ pieces: [piece] });
      } else {
        const cut = { from: Math.max(bucket, range.from), to: Math.min(end, range.to) };
        if (run && 'range' in run && run.deviceId === deviceId) run.range = hull(run.range, cut);
        else runs.push({ deviceId, range: cut });
      }
    }
    return runs;
  }
}

/** Neighbouring slices that each lie within one bucket, or the time of neighbours that do not. */
type Run = { readonly pieces: Piece[] } | CutRun;
type CutRun = { readonly deviceId: string; range: TimeRange };

const hull = (a: TimeRange, b: TimeRange): TimeRange => ({
  from: Math.min(a.from, b.from),
  to: Math.max(a.to, b.to),
});
