import {
  addPoint,
  bucketOf,
  mergeStats,
  type RollupLevel,
  type RollupStats,
  rollupLevels,
  rollupWidth,
} from '../../domain/rollup.ts';
import { readingLimits } from '../../domain/telemetry.ts';
import type { Calendar } from '../ports/calendar.ts';
import type {
  RollupQuery,
  RollupSlice,
  TelemetryQueries,
  TelemetryScope,
  TimeRange,
} from '../ports/queries.ts';
import {
  type BucketAt,
  type BucketSpan,
  bucketCalendar,
  minLength,
  parseInterval,
} from './bucket-calendar.ts';

export { InvalidTimeZone } from '../ports/calendar.ts';
export { InvalidInterval } from './bucket-calendar.ts';

export type BucketQuery = {
  readonly scope: TelemetryScope;
  /** Every metric when absent. */
  readonly metrics?: readonly string[];
  /** Epoch milliseconds, `from` inclusive, `to` exclusive; all there is when absent. */
  readonly range: { readonly from?: number; readonly to?: number };
  /**
   * `15m`, `6h`, `1d`, `1w`, `3mo`, `1y`. Days and longer follow the calendar, so a day has 23 or 25 hours when clocks
   * change. Minutes and hours follow the clock: the hour that comes twice is two buckets of `1h`, and the bucket of
   * `6h` around a change lasts 5 or 7 hours.
   */
  readonly interval: string;
  /** IANA name of the time zone whose clocks and calendar the buckets follow. */
  readonly tz: string;
  readonly order: 'asc' | 'desc';
  /**
   * Whole buckets come until they have made this many rows, so the last bucket may go past it and none is ever
   * cut. Fewer rows than this mean that it is the last page.
   */
  readonly limit: number;
  /** Start of the last bucket already seen. */
  readonly after?: number;
  readonly signal?: AbortSignal;
};

/**
 * One metric in one bucket, over all devices of the scope. `start` and `end` are the whole bucket's, `stats` are of
 * the part of it within the queried range. Of points at one moment, the first device by id gives `first` and `last`.
 */
export type Bucket = BucketSpan & { readonly metric: string; readonly stats: RollupStats };

export type TelemetryBuckets = {
  /**
   * Buckets that hold any point, in `order` of time, metrics by name within a bucket. Throws `InvalidInterval`,
   * `InvalidTimeZone` at once; iterating throws `ReadModelsUnavailable`.
   */
  buckets(query: BucketQuery): AsyncIterable<readonly Bucket[]>;
};

export function telemetryBuckets(queries: TelemetryQueries, calendar: Calendar): TelemetryBuckets {
  return {
    buckets(query) {
      const interval = parseInterval(query.interval);
      const bucketAt = bucketCalendar(interval, calendar.zone(query.tz));
      const segments = segmentsFor(queries, bucketAt, minLength(interval), query);
      const range = rangeLeft(query, bucketAt);
      return rowsOf(
        'deviceId' in query.scope ? inTimeOrder(segments, range) : acrossDevices(segments, range, query),
        query.limit,
      );
    },
  };
}

function rangeLeft({ range, order, after }: BucketQuery, bucketAt: BucketAt): TimeRange {
  const { from = readingLimits.earliest, to = readingLimits.latest + 1 } = range;
  if (after === undefined) return { from, to };
  const seen = bucketAt(after);
  return order === 'asc' ? { from: Math.max(from, seen.end), to } : { from, to: Math.min(to, seen.start) };
}

type FoldedBucket = { readonly span: BucketSpan; readonly metrics: Map<string, RollupStats> };

/** A device's segments come in bucket order, so only one bucket is in memory. */
async function* inTimeOrder(segments: SegmentsIn, range: TimeRange): AsyncGenerator<FoldedBucket> {
  let bucket: FoldedBucket | undefined;
  for await (const some of segments(range))
    for (const segment of some) {
      if (bucket && bucket.span.start !== segment.span.start) {
        yield bucket;
        bucket = undefined;
      }
      bucket ??= { span: segment.span, metrics: new Map() };
      add(bucket, segment.metric, segment.stats);
    }
  if (bucket) yield bucket;
}

/**
 * Segments come device after device, each over the whole range. At most the first `limit` buckets can be wanted,
 * so later ones are dropped as others fill up, and the range that is read of the devices to come shrinks.
 */
async function* acrossDevices(
  segments: SegmentsIn,
  wholeRange: TimeRange,
  { order, limit }: BucketQuery,
): AsyncGenerator<FoldedBucket> {
  const buckets = new Map<number, FoldedBucket>();
  let range = wholeRange;
  let device: string | undefined;
  do device = await foldUntilOutside(device);
  while (device !== undefined);
  yield* sorted();

  /** Folds what follows the device `after`; answers with the device it stopped at because it left the range. */
  async function foldUntilOutside(after: string | undefined): Promise<string | undefined> {
    for await (const some of segments(range, after))
      for (const { deviceId, span, metric, stats } of some) {
        if (buckets.size >= 2 * limit) dropBeyondLimit();
        if (span.start >= range.to || span.end <= range.from) return deviceId;
        const bucket = buckets.get(span.start) ?? { span, metrics: new Map() };
        buckets.set(span.start, bucket);
        add(bucket, metric, stats);
      }
    return undefined;
  }

  function dropBeyondLimit(): void {
    const unwanted = sorted().slice(limit);
    for (const { span } of unwanted) {
      buckets.delete(span.start);
      range =
        order === 'asc'
          ? { from: range.from, to: Math.min(range.to, span.start) }
          : { from: Math.max(range.from, span.end), to: range.to };
    }
  }

  function sorted(): FoldedBucket[] {
    const direction = order === 'asc' ? 1 : -1;
    return [...buckets.values()].sort((a, b) => (a.span.start - b.span.start) * direction);
  }
}

function add({ metrics }: FoldedBucket, metric: string, stats: RollupStats): void {
  metrics.set(metric, mergeStats(metrics.get(metric), stats));
}

const rowsAtOnce = 1000;

async function* rowsOf(
  buckets: AsyncIterable<FoldedBucket>,
  limit: number,
): AsyncGenerator<readonly Bucket[]> {
  let rows: Bucket[] = [];
  let left = limit;
  for await (const { span, metrics } of buckets) {
    for (const [metric, stats] of [...metrics].sort(([a], [b]) => (a < b ? -1 : 1)))
      rows.push({ ...span, metric, stats });
    if (rows.length < Math.min(left, rowsAtOnce)) continue;
    yield rows;
    left -= rows.length;
    rows = [];
    if (left <= 0) return;
  }
  if (rows.length > 0) yield rows;
}

/** One metric of one device over some time within one bucket. */
type RollupSegment = {
  readonly deviceId: string;
  readonly metric: string;
  readonly span: BucketSpan;
  readonly stats: RollupStats;
};

/** All that the range holds, nothing twice, by device, each in order of time; `after` is the last device not wanted. */
type SegmentsIn = (range: TimeRange, after?: string) => AsyncIterable<readonly RollupSegment[]>;

/**
 * Takes each stretch of time from the coarsest rollups whose buckets lie within one bucket and within the range.
 * Where an edge cuts one, its time is covered by the next finer level, and finally by the points.
 * `bucketLength` is the least a bucket lasts: rollups of more than that are not worth asking.
 */
function segmentsFor(
  queries: TelemetryQueries,
  bucketAt: BucketAt,
  bucketLength: number,
  { scope, metrics, order, signal }: Pick<RollupQuery, 'scope' | 'metrics' | 'order' | 'signal'>,
): SegmentsIn {
  const selection = { order, ...(metrics && { metrics }), ...(signal && { signal }) };
  const coarsest = rollupLevels.findLast((level) => rollupWidth[level] <= bucketLength) ?? '1m';
  return (range, after) => fromRollups(coarsest, { scope, range, ...selection, ...(after && { after }) });

  async function* fromRollups(
    level: RollupLevel,
    query: RollupQuery,
  ): AsyncGenerator<readonly RollupSegment[]> {
    const { range } = query;
    const reaching = { from: bucketOf(level, range.from), to: range.to };
    for await (const slices of queries.rollups(level, { ...query, range: reaching }))
      for (const run of groupSegments(slices, level, range))
        if ('segments' in run) yield run.segments;
        else yield* finer(level, run);
  }

  function finer(
    level: RollupLevel,
    { deviceId, range }: SplitSegment,
  ): AsyncGenerator<readonly RollupSegment[]> {
    const query = { scope: { deviceId }, range, ...selection };
    const next = rollupLevels[rollupLevels.indexOf(level) - 1];
    return next ? fromRollups(next, query) : fromPoints(query);
  }

  async function* fromPoints(query: Omit<RollupQuery, 'after'>): AsyncGenerator<readonly RollupSegment[]> {
    for await (const points of queries.points({ ...query, limit: Number.POSITIVE_INFINITY }))
      yield points.map(({ deviceId, metric, timestamp, value }) => ({
        deviceId,
        metric,
        span: bucketAt(timestamp),
        stats: addPoint(undefined, value, timestamp),
      }));
  }

  /** Adjacent split segments are joined, or a zone whose days are not UTC's would cost a query a day. */
  function groupSegments(
    slices: readonly RollupSlice[],
    level: RollupLevel,
    range: TimeRange,
  ): readonly Run[] {
    const runs: Run[] = [];
    for (const { deviceId, metric, bucket, stats } of slices) {
      const run = runs.at(-1);
      const span = bucketAt(bucket);
      const end = bucket + rollupWidth[level];
      if (bucket >= range.from && end <= range.to && end <= span.end) {
        const segment = { deviceId, metric, span, stats };
        if (run && 'segments' in run) run.segments.push(segment);
        else runs.push({ segments: [segment] });
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
type Run = { readonly segments: RollupSegment[] } | SplitSegment;
type SplitSegment = { readonly deviceId: string; range: TimeRange };

const hull = (a: TimeRange, b: TimeRange): TimeRange => ({
  from: Math.min(a.from, b.from),
  to: Math.max(a.to, b.to),
});
