import { setImmediate as nextTurn } from 'node:timers/promises';
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
import { type ActiveGenerations, withActiveGenerations } from './active-generations.ts';
import { matchingDevices } from './device-queries.ts';
import { readLatest, readMetrics, readRollup } from './documents.ts';
import { tableOf } from './generation-tables.ts';
import { inChunks, placeholders, type SqlQueries } from './sql.ts';

export const sqlTelemetryQueries = (sql: SqlQueries): TelemetryQueries => ({
  async *points(query) {
    const { scope, metrics, range, order, after, signal } = query;
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
        metrics,
        signal,
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

  async *rollups(level, { scope, metrics, range, order, after, signal }) {
    const table = { base: `telemetry_${level}`, time: 'bucket' } as const;
    const selection = metrics && new Set(metrics);
    const query = { scope, range, order, after, metrics, signal, limit: Number.POSITIVE_INFINITY };
    for await (const rows of documentRows(sql, table, query)) {
      const slices: RollupSlice[] = [];
      for (const [deviceId, bucket, text] of rows)
        for (const [metric, stats] of readRollup(text))
          if (selection?.has(metric) ?? true) slices.push({ deviceId, metric, bucket, stats });
      if (slices.length > 0) yield slices;
    }
  },

  async rollupsAt(level, buckets) {
    const rows = await inChunks(
      buckets,
      (some) =>
        withActiveGenerations(sql, ({ telemetry }) =>
          sql.rows<DocumentRow>(
            `SELECT device_id, bucket, metrics FROM ${tableOf(`telemetry_${level}`, telemetry)}
             WHERE ${some.map(() => '(device_id = ? AND bucket = ?)').join(' OR ')}`,
            some.flatMap(({ deviceId, bucket }) => [deviceId, bucket]),
          ),
        ),
      200,
    );
    return rows.flatMap(([deviceId, bucket, text]) =>
      [...readRollup(text)].map(([metric, stats]) => ({ deviceId, metric, bucket, stats })),
    );
  },

  async latest(scope, { metrics, limit, after = '' }) {
    const selection = metrics && new Set(metrics);
    // Devices may have none of the chosen metrics.
    const atOnce = selection ? Math.max(limit, 256) : limit;
    const found: { deviceId: string; points: Omit<Point, 'deviceId'>[] }[] = [];
    for (let seen = after; ; ) {
      const rows = await withActiveGenerations(sql, (active) => latestRows(sql, active, scope, seen, atOnce));
      for (const [deviceId, text] of rows) {
        const points = [...readLatest(text)]
          .filter(([metric]) => selection?.has(metric) ?? true)
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

function namesAmong(names: readonly string[]): NamesOf {
  const sorted = [...new Set(names)].sort();
  return (metrics) => sorted.filter((name) => Object.hasOwn(metrics, name));
}

/** Names in order. A device mostly sends the same ones, so the last result is cached. */
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

/** A table with one JSON document for a device and a time. */
type DocumentTable = { readonly base: string; readonly time: 'ts' | 'bucket' };

type DocumentRow = readonly [deviceId: string, time: number, metrics: string];

type DocumentQuery = {
  readonly scope: TelemetryScope;
  readonly range: TimeRange;
  readonly order: 'asc' | 'desc';
  /** As many rows as can be wanted. */
  readonly limit: number;
  /** The last device already read to the end. */
  readonly after?: string | undefined;
  /** A device of the scope to begin with, of which only this range is left to be read. */
  readonly first?: { readonly deviceId: string; readonly range: TimeRange } | undefined;
  /** Devices that never sent any of these have no row that is wanted. */
  readonly metrics?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
};

/** Rows of a page: as many as make the cost of a query small and whose documents are still cheap to hold. */
const page = { first: 256, least: 16, most: 4096, characters: 150_000 };
const devicesAtOnce = 256;

/**
 * Rows by device, each device's in order of time, page after page. No statement stays open between two pages: however
 * slowly they are taken, no connection and no old snapshot of the tables is held, and any page may be the first of
 * a newly activated generation.
 */
async function* documentRows(
  sql: SqlQueries,
  { base, time }: DocumentTable,
  { scope, range, order, limit, after, first, metrics, signal }: DocumentQuery,
): AsyncGenerator<readonly DocumentRow[]> {
  const only = 'deviceId' in scope ? scope.deviceId : undefined;
  let waiting = await withMetrics([only ?? first?.deviceId].filter((deviceId) => deviceId !== undefined));
  let lastKnown = first?.deviceId ?? after ?? '';
  let more = only === undefined;
  let rest = first?.range;
  let left = limit;
  let size = page.first;
  // Devices without many rows are read together; one that fills a page continues alone with the `rest` of its range.
  let together = 1;

  while (left > 0) {
    signal?.throwIfAborted();
    if (more && waiting.length < together) {
      const found = await devicesAfter(lastKnown);
      waiting.push(...(await withMetrics(found)));
      lastKnown = found.at(-1) ?? lastKnown;
      more = found.length === devicesAtOnce;
    }
    const devices = waiting.slice(0, together);
    if (devices.length === 0 && more) continue;
    if (devices.length === 0) return;
    const atMost = Math.min(size, left);
    const rows = await rowsOf(devices, rest ?? range, atMost);
    const [lastDevice, lastTime] = rows.at(-1) ?? [];
    if (rows.length > 0) {
      yield rows;
      size = sizeAfter(rows);
    }
    left -= rows.length;
    if (rows.length === atMost && lastDevice !== undefined && lastTime !== undefined) {
      waiting = waiting.slice(waiting.indexOf(lastDevice));
      rest = order === 'asc' ? { from: lastTime + 1, to: range.to } : { from: range.from, to: lastTime };
      together = 1;
    } else {
      waiting = waiting.slice(devices.length);
      rest = undefined;
      together = Math.min(together * 2, devicesAtOnce);
    }
  }

  async function rowsOf(devices: readonly string[], { from, to }: TimeRange, atMost: number) {
    // SQLite answers within the same turn: without this, a large result would keep all others waiting.
    await nextTurn();
    return withActiveGenerations(sql, ({ telemetry }) =>
      sql.rows<DocumentRow>(
        `SELECT device_id, ${time}, metrics FROM ${tableOf(base, telemetry)}
         WHERE device_id IN (${placeholders(devices)}) AND ${time} >= ? AND ${time} < ?
         ORDER BY device_id, ${time} ${order} LIMIT ?`,
        [...devices, from, to, atMost],
      ),
    );
  }

  /** The newest values have every metric that a device ever sent, and stay when its points expire. */
  async function withMetrics(devices: readonly string[]): Promise<string[]> {
    if (!metrics || devices.length === 0) return [...devices];
    const rows = await withActiveGenerations(sql, ({ telemetry }) =>
      sql.rows<[string, string]>(
        `SELECT device_id, metrics FROM ${tableOf('telemetry_latest', telemetry)}
         WHERE device_id IN (${placeholders(devices)})`,
        devices,
      ),
    );
    const having = new Set<string>();
    for (const [deviceId, text] of rows) {
      const latest = readLatest(text);
      if (metrics.some((metric) => latest.has(metric))) having.add(deviceId);
    }
    return devices.filter((deviceId) => having.has(deviceId));
  }

  async function devicesAfter(deviceId: string): Promise<string[]> {
    if (!('devices' in scope)) return [];
    const rows = await withActiveGenerations(sql, (active) => {
      const { from, where, id, params } = matchingDevices(scope.devices, active.devices);
      return sql.rows<[string]>(
        `SELECT ${id} FROM ${from} WHERE ${where} AND ${id} > ? ORDER BY ${id} LIMIT ?`,
        [...params, deviceId, devicesAtOnce],
      );
    });
    return rows.map(([found]) => found);
  }
}

/** So that the documents of the next page, if they are as long, come to `page.characters`. */
function sizeAfter(rows: readonly DocumentRow[]): number {
  let characters = 0;
  for (const [, , metrics] of rows) characters += metrics.length;
  const size = Math.floor((page.characters * rows.length) / characters);
  return Math.max(page.least, Math.min(page.most, size));
}
