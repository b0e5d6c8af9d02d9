import { setImmediate as nextTurn } from 'node:timers/promises';
import type { TelemetryScope, TimeRange } from '../../application/ports/queries.ts';
import { onActive } from './active-generations.ts';
import { placeholders } from './chunks.ts';
import { matchingDevices } from './device-filter.ts';
import { tableOf } from './schema.ts';
import type { SqlQueries } from './sql.ts';

/** A table with one JSON document for a device and a time. */
export type DocumentTable = { readonly base: string; readonly time: 'ts' | 'bucket' };

export type DocumentRow = readonly [deviceId: string, time: number, metrics: string];

export type DocumentQuery = {
  readonly scope: TelemetryScope;
  readonly range: TimeRange;
  readonly order: 'asc' | 'desc';
  /** As many rows as can be wanted. */
  readonly limit: number;
  /** The last device already read to the end. */
  readonly after?: string | undefined;
  /** A device of the scope to begin with, of which only this range is left to be read. */
  readonly first?: { readonly deviceId: string; readonly range: TimeRange } | undefined;
};

/** Rows of a page: as many as make the cost of a query small and whose documents are still cheap to hold. */
const page = { first: 256, least: 16, most: 4096, characters: 150_000 };
const devicesAtOnce = 256;

/**
 * Rows by device, each device's in order of time, page after page. No statement stays open between two pages: however
 * slowly they are taken, no connection and no old snapshot of the tables is held, and any page may be the first of
 * a newly activated generation.
 */
export async function* documentRows(
  sql: SqlQueries,
  { base, time }: DocumentTable,
  { scope, range, order, limit, after, first }: DocumentQuery,
): AsyncGenerator<readonly DocumentRow[]> {
  const only = 'deviceId' in scope ? scope.deviceId : undefined;
  let waiting = [only ?? first?.deviceId].filter((deviceId) => deviceId !== undefined);
  let lastKnown = first?.deviceId ?? after ?? '';
  let more = only === undefined;
  let rest = first?.range;
  let left = limit;
  let size = page.first;
  // Devices without many rows are read together; one that fills a page goes on alone, with the `rest` of its range.
  let together = 1;

  while (left > 0) {
    if (more && waiting.length < together) {
      const found = await devicesAfter(lastKnown);
      waiting.push(...found);
      lastKnown = found.at(-1) ?? lastKnown;
      more = found.length === devicesAtOnce;
    }
    const devices = waiting.slice(0, together);
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
    return onActive(sql, ({ telemetry }) =>
      sql.rows<DocumentRow>(
        `SELECT device_id, ${time}, metrics FROM ${tableOf(base, telemetry)}
         WHERE device_id IN (${placeholders(devices)}) AND ${time} >= ? AND ${time} < ?
         ORDER BY device_id, ${time} ${order} LIMIT ?`,
        [...devices, from, to, atMost],
      ),
    );
  }

  async function devicesAfter(deviceId: string): Promise<string[]> {
    if (!('devices' in scope)) return [];
    const rows = await onActive(sql, (active) => {
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
