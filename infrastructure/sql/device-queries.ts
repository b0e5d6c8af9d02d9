import type { DeviceFilter, DeviceQueries } from '../../application/ports/queries.ts';
import { withActiveGenerations } from './active-generations.ts';
import {
  deviceColumns,
  deviceRow,
  historyColumns,
  historyEntry,
  type StoredDevice,
  type StoredHistory,
} from './device-tables.ts';
import { tableOf } from './generation-tables.ts';
import { inChunks, placeholders, type SqlQueries, type SqlValue } from './sql.ts';

export const sqlDeviceQueries = (sql: SqlQueries): DeviceQueries => ({
  async list(filter, { limit, after = '' }) {
    const rows = await withActiveGenerations(sql, ({ devices }) => {
      const { from, where, id, params } = matchingDevices(filter, devices);
      return sql.all<StoredDevice>(
        `SELECT ${deviceColumns} FROM ${from} WHERE ${where} AND ${id} > ? ORDER BY ${id} LIMIT ?`,
        [...params, after, limit],
      );
    });
    return rows.map(deviceRow);
  },

  async find(deviceIds) {
    const rows = await withActiveGenerations(sql, ({ devices }) =>
      inChunks(deviceIds, (ids) =>
        sql.all<StoredDevice>(
          `SELECT ${deviceColumns} FROM ${tableOf('devices', devices)} d WHERE device_id IN (${placeholders(ids)})`,
          ids,
        ),
      ),
    );
    return new Map(rows.map((row) => [row.deviceId, deviceRow(row)]));
  },

  async history(deviceId, { limit, after = -1 }) {
    const rows = await withActiveGenerations(sql, ({ device_history }) =>
      sql.all<StoredHistory>(
        `SELECT ${historyColumns} FROM ${tableOf('device_history', device_history)}
         WHERE device_id = ? AND revision > ? ORDER BY revision LIMIT ?`,
        [deviceId, after, limit],
      ),
    );
    return rows.map(historyEntry);
  },
});

/** `FROM from WHERE where` are the devices that match, known as `d`; `id` is the column to order and page them by. */
type MatchingDevices = {
  readonly from: string;
  readonly where: string;
  readonly id: string;
  readonly params: readonly SqlValue[];
};

export function matchingDevices(filter: DeviceFilter, generation: number): MatchingDevices {
  const devices = `${tableOf('devices', generation)} d`;
  const labels = tableOf('device_labels', generation);
  const { idPrefix, type: boundType, labels: boundLabels = {} } = filter.within ?? {};
  const bound = Object.entries(boundLabels).map(([key, value]) => ({ key, value }));
  const [first, ...others] = [...(filter.labels ?? []), ...bound];
  const id = first ? 'l.device_id' : 'd.device_id';
  const conditions: [condition: string, ...params: SqlValue[]][] = [];
  if (first)
    conditions.push([
      `l.label = ? AND ${exactly('l.value')} AND d.device_id = l.device_id`,
      first.key,
      first.value,
      first.value,
    ]);
  for (const { key, value } of others)
    conditions.push([
      `EXISTS (SELECT 1 FROM ${labels} o WHERE o.label = ? AND ${exactly('o.value')} AND o.device_id = d.device_id)`,
      key,
      value,
      value,
    ]);
  if (filter.ids !== undefined)
    conditions.push([`${id} IN (${filter.ids.map(() => '?').join()})`, ...filter.ids]);
  if (filter.status !== undefined) conditions.push(['d.status = ?', filter.status]);
  if (filter.type !== undefined) conditions.push([exactly('d.type'), filter.type, filter.type]);
  if (boundType !== undefined) conditions.push([exactly('d.type'), boundType, boundType]);
  if (idPrefix !== undefined)
    conditions.push([`${id} >= ? AND ${id} < ?`, idPrefix, `${idPrefix}\u{10ffff}`]);
  if (filter.text !== undefined) conditions.push(['INSTR(d.search, ?) > 0', filter.text.toLowerCase()]);
  return {
    // The key of labels leads to the few devices that have one, in order of their id.
    from: first ? `${labels} l, ${devices}` : devices,
    id,
    where: conditions.map(([condition]) => condition).join(' AND ') || '1 = 1',
    params: conditions.flatMap(([, ...params]) => params),
  };
}

/** To MySQL and MariaDB text is equal that differs in spaces at its end alone; in its length it then differs too. */
const exactly = (column: string): string => `(${column} = ? AND LENGTH(${column}) = LENGTH(?))`;
