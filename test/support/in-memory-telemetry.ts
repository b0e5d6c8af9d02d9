import type {
  Point,
  RollupSlice,
  TelemetryQueries,
  TelemetryScope,
} from '../../application/ports/queries.ts';
import { addPoint, bucketOf, type RollupLevel, type RollupStats } from '../../domain/rollup.ts';

/** TelemetryQueries over a list of points, a chunk a moment; `asked` tells how many rows of each kind were read. */
export function inMemoryTelemetry(points: readonly Point[]) {
  const asked = { points: 0, '1m': 0, '1h': 0, '1d': 0 };
  const sorted = [...points].sort(
    (a, b) => text(a.deviceId, b.deviceId) || a.timestamp - b.timestamp || text(a.metric, b.metric),
  );

  const rollups = new Map<RollupLevel, readonly RollupSlice[]>();

  const queries: Omit<TelemetryQueries, 'latest'> = {
    async *points({ scope, metrics, range, order }) {
      const wanted = sorted.filter(
        ({ deviceId, metric, timestamp }) =>
          inScope(scope, deviceId) &&
          (metrics?.includes(metric) ?? true) &&
          timestamp >= range.from &&
          timestamp < range.to,
      );
      for (const chunk of inOrder(wanted, ({ timestamp }) => timestamp, order)) {
        asked.points += chunk.length;
        yield chunk;
      }
    },

    async *rollups(level, { scope, metrics, range, order, after }) {
      const stored = rollups.get(level) ?? rollupsOf(sorted, level);
      rollups.set(level, stored);
      const wanted = stored.filter(
        ({ deviceId, metric, bucket }) =>
          inScope(scope, deviceId) &&
          (after === undefined || deviceId > after) &&
          (metrics?.includes(metric) ?? true) &&
          bucket >= range.from &&
          bucket < range.to,
      );
      for (const chunk of inOrder(wanted, ({ bucket }) => bucket, order)) {
        asked[level] += chunk.length;
        yield chunk;
      }
    },

    rollupsAt: async (level, buckets) =>
      rollupsOf(sorted, level).filter((slice) =>
        buckets.some(({ deviceId, bucket }) => slice.deviceId === deviceId && slice.bucket === bucket),
      ),
  };
  return { queries: queries as TelemetryQueries, asked };
}

function rollupsOf(points: readonly Point[], level: RollupLevel): readonly RollupSlice[] {
  const slices = new Map<string, { deviceId: string; metric: string; bucket: number; stats: RollupStats }>();
  for (const { deviceId, metric, timestamp, value } of points) {
    const bucket = bucketOf(level, timestamp);
    const key = `${deviceId} ${bucket} ${metric}`;
    const stats = addPoint(slices.get(key)?.stats, value, timestamp);
    slices.set(key, { deviceId, metric, bucket, stats });
  }
  return [...slices.values()];
}

/** Chunks of two moments each, devices ascending, moments in order. */
function inOrder<T extends { deviceId: string }>(
  rows: readonly T[],
  timeOf: (row: T) => number,
  order: 'asc' | 'desc',
): readonly (readonly T[])[] {
  const moments = new Map<string, T[]>();
  for (const row of rows) {
    const key = `${row.deviceId} ${timeOf(row)}`;
    moments.set(key, [...(moments.get(key) ?? []), row]);
  }
  const direction = order === 'asc' ? 1 : -1;
  const sorted = [...moments.values()].sort(([a], [b]) =>
    a && b ? text(a.deviceId, b.deviceId) || (timeOf(a) - timeOf(b)) * direction : 0,
  );
  const chunks: T[][] = [];
  for (let i = 0; i < sorted.length; i += 2) chunks.push(sorted.slice(i, i + 2).flat());
  return chunks;
}

const inScope = (scope: TelemetryScope, deviceId: string): boolean =>
  'devices' in scope || scope.deviceId === deviceId;

const text = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
