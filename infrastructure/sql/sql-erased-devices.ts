import type { ErasedDevices } from '../../application/ports/retention.ts';
import type { ProjectionName } from '../../application/projections/projection.ts';
import { deviceStream, erasedName } from '../../domain/device.ts';
import { rollupLevels } from '../../domain/rollup.ts';
import { onActive } from './active-generations.ts';
import { tableOf } from './schema.ts';
import type { SqlDatabase } from './sql.ts';

const telemetryTables = [
  'telemetry',
  'telemetry_latest',
  ...rollupLevels.map((level) => `telemetry_${level}`),
];

export const sqlErasedDevices = (db: SqlDatabase): ErasedDevices => ({
  async list() {
    const rows = await onActive(db, ({ devices }) =>
      db.rows<[string]>(
        `SELECT device_id FROM ${tableOf('devices', devices)} WHERE status = 'erased' ORDER BY device_id`,
      ),
    );
    return rows.map(([deviceId]) => deviceId);
  },

  async hasTelemetry({ generation }, deviceId) {
    for (const base of telemetryTables) {
      const rows = await db.rows(`SELECT 1 FROM ${tableOf(base, generation)} WHERE device_id = ? LIMIT 1`, [
        deviceId,
      ]);
      if (rows.length > 0) return true;
    }
    const letters = await db.rows(
      `SELECT 1 FROM dead_letters WHERE projection = 'telemetry' AND generation = ? AND stream = ? AND event <> 'null' LIMIT 1`,
      [generation, deviceStream(deviceId)],
    );
    return letters.length > 0;
  },

  removeRest: ({ projection, generation }, deviceId, now) =>
    db.transaction(async (tx) => {
      await tx.run(`DELETE FROM ${tableOf('telemetry_latest', generation)} WHERE device_id = ?`, [deviceId]);
      const changed = await tx.run(
        `UPDATE dead_letters SET event = 'null', error = ?, stack = NULL,
           discarded_at = COALESCE(discarded_at, ?), discarded_by = COALESCE(discarded_by, ?), discard_reason = ?
         WHERE projection = ? AND stream = ? AND event <> 'null'`,
        [erasedName, now, erasedName, erasedName, projection, deviceStream(deviceId)],
      );
      // A worker that holds the stream back is to find out that it need not.
      if (changed > 0)
        await tx.run('UPDATE checkpoints SET epoch = epoch + 1 WHERE projection = ?', [projection]);
    }),

  async removeRetired(deviceId) {
    const active = await db.rows<[ProjectionName, number]>('SELECT name, active FROM projections');
    const activeOf = new Map(active);
    const generations = await db.rows<[ProjectionName, number]>(
      "SELECT projection, generation FROM generations WHERE status <> 'building' AND projection <> 'telemetry'",
    );
    for (const [projection, generation] of generations) {
      if (activeOf.get(projection) === generation) continue;
      const table = tableOf(projection, generation);
      const before =
        projection === 'devices'
          ? "status <> 'erased'"
          : `revision < (SELECT COALESCE(MAX(revision), 0)
        FROM ${tableOf('device_history', activeOf.get('device_history') ?? 1)} WHERE device_id = ?)`;
      await db.run(`DELETE FROM ${table} WHERE device_id = ? AND ${before}`, [
        deviceId,
        ...(projection === 'devices' ? [] : [deviceId]),
      ]);
      if (projection === 'devices')
        await db.run(`DELETE FROM ${tableOf('device_labels', generation)} WHERE device_id = ?`, [deviceId]);
    }
  },
});
