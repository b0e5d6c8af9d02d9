import type { DeviceQueries } from '../../application/ports/queries.ts';
import { onActive } from './active-generations.ts';
import { matchingDevices } from './device-filter.ts';
import {
  deviceColumns,
  deviceRow,
  historyColumns,
  historyEntry,
  type StoredDevice,
  type StoredHistory,
} from './device-rows.ts';
import { tableOf } from './schema.ts';
import type { SqlQueries } from './sql.ts';

export const sqlDeviceQueries = (sql: SqlQueries): DeviceQueries => ({
  async list(filter, { limit, after = '' }) {
    const rows = await onActive(sql, ({ devices }) => {
      const { from, where, id, params } = matchingDevices(filter, devices);
      return sql.all<StoredDevice>(
        `SELECT ${deviceColumns} FROM ${from} WHERE ${where} AND ${id} > ? ORDER BY ${id} LIMIT ?`,
        [...params, after, limit],
      );
    });
    return rows.map(deviceRow);
  },

  async history(deviceId, { limit, after = -1 }) {
    const rows = await onActive(sql, ({ device_history }) =>
      sql.all<StoredHistory>(
        `SELECT ${historyColumns} FROM ${tableOf('device_history', device_history)}
         WHERE device_id = ? AND revision > ? ORDER BY revision LIMIT ?`,
        [deviceId, after, limit],
      ),
    );
    return rows.map(historyEntry);
  },
});
