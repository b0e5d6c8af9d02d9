import type {
  Point,
  PointKey,
  PointQuery,
  RollupSlice,
  TelemetryQueries,
  TelemetryScope,
  TimeRange,
} from '../../application/ports/queries.ts';
import type { Metrics } from '../../domain/telemetry.ts';
import { type ActiveGenerations, onActive } from './active-generations.ts';
import { matchingDevices } from './device-filter.ts';
import { documentRows } from './document-rows.ts';
import { readLatest, readMetrics, readRollup } from './documents.ts';
import { tableOf } from './schema.ts';
import type { SqlQueries } from './sql.ts';

export const sqlTelemetryQueries = (sql: SqlQueries): TelemetryQueries => ({
  async *points(query) {
    const { scope, metrics, range, order, after } = query;
    const namesOf = metrics ? namesAmong(metrics) : allNames();
    let left = query.limit;
    const rows = documentRows(
      sql,
      { base: 'telemetry', time: 'ts' },
      {
        scope,
        range,
        order,
        // Every row has a point but where metrics are chosen, or where its points were seen already.
        limit: metrics ? Number.POSITIVE_INFINITY : left + 1,
        first: after && { deviceId: after.deviceId, range: rangeFrom(after, query) },
      },
    );
    for await (const some of rows) {
      const points: Point[] = [];
      for (const [deviceId, timestamp, text] of some) {
        const document = readMetrics(text);
        const seen = after?.timestamp === timestamp && after.deviceId === deviceId ? after.metric : '';
        for (const metric of namesOf(document))
          if (metric > seen)
            points.push({ deviceId, timestamp, metric, value: document[metric] as Point['value'] });
        if (points.length >= left) break;
      }
      if (points.length > left) points.length = left;
      left -= points.length;
      if (points.length > 0) yield points;
      if (left === 0) return;
    }
  },

  async *rollups(level, { scope, metrics, range, order, after }) {
    const table = { base: `telemetry_${level}`, time: 'bucket' } as const;
    const wanted = metrics && new Set(metrics);
    const query = { scope, range, order, after, limit: Number.POSITIVE_INFINITY };
    for await (const rows of documentRows(sql, table, query)) {
      const slices: RollupSlice[] = [];
      for (const [deviceId, bucket, text] of rows)
        for (const [metric, stats] of readRollup(text))
          if (wanted?.has(metric) ?? true) slices.push({ deviceId, metric, bucket, stats });
      if (slices.length > 0) yield slices;
    }
  },

  async latest(scope, { metrics, limit, after = '' }) {
    const wanted = metrics && new Set(metrics);
    // Devices may have none of the chosen metrics.
    const atOnce = wanted ? Math.max(limit, 256) : limit;
    const found: { deviceId: string; points: Omit<Point, 'deviceId'>[] }[] = [];
    for (let seen = after; ; ) {
      const rows = await onActive(sql, (active) => latestRows(sql, active, scope, seen, atOnce));
      for (const [deviceId, text] of rows) {
        const points = [...readLatest(text)]
          .filter(([metric]) => wanted?.has(metric) ?? true)
          .map(([metric, [value, timestamp]]) => ({ timestamp, metric, value }))
          .sort((a, b) => (a.metric < b.metric ? -1 : 1));
        if (points.length > 0) found.push({ deviceId, points });
        seen = deviceId;
      }
      if (rows.length < atOnce || found.length >= limit) return found.slice(0, limit);
    }
  },
});

/** From the moment of the last point seen on, for it may have more metrics. */
const rangeFrom = ({ timestamp }: PointKey, { range, order }: PointQuery): TimeRange =>
  order === 'asc'
    ? { from: Math.max(range.from, timestamp), to: range.to }
    : { from: range.from, to: Math.min(range.to, timestamp + 1) };

type NamesOf = (metrics: Metrics) => readonly string[];

function namesAmong(wanted: readonly string[]): NamesOf {
  const sorted = [...new Set(wanted)].sort();
  return (metrics) => sorted.filter((name) => Object.hasOwn(metrics, name));
}

/** Names in order. A device sends the same ones most of the time, so the last answer is kept. */
function allNames(): NamesOf {
  let last: readonly string[] = [];
  let sorted: readonly string[] = [];
  return (metrics) => {
    const names = Object.keys(metrics);
    if (names.length !== last.length || names.some((name, i) => name !== last[i])) {
      last = names;
      sorted = names.toSorted();
    }
    return sorted;
  };
}

function latestRows(
  sql: SqlQueries,
  active: ActiveGenerations,
  scope: TelemetryScope,
  after: string,
  limit: number,
): Promise<[deviceId: string, metrics: string][]> {
  const latest = `${tableOf('telemetry_latest', active.telemetry)} t`;
  if ('deviceId' in scope)
    return sql.rows(
      `SELECT t.device_id, t.metrics FROM ${latest} WHERE t.device_id = ? AND t.device_id > ?`,
      [scope.deviceId, after],
    );
  const { from, where, id, params } = matchingDevices(scope.devices, active.devices);
  return sql.rows(
    `SELECT t.device_id, t.metrics FROM ${from}, ${latest}
     WHERE ${where} AND t.device_id = ${id} AND ${id} > ? ORDER BY ${id} LIMIT ?`,
    [...params, after, limit],
  );
}
