import type { ErasedDevices } from '../../application/ports/retention.ts';
import type { ProjectionName } from '../../application/projections/projection.ts';
import { deviceStream, erasedName } from '../../domain/device.ts';
import { rollupLevels } from '../../domain/rollup.ts';
import { withActiveGenerations } from './active-generations.ts';
import { tableOf } from './generation-tables.ts';
import { hasBegun } from './generations.ts';
import { countingDevice } from './ledger-totals.ts';
import { bumpEpoch, lockCheckpoints, nextEpoch } from './read-models.ts';
import { chunks, placeholders, type Sql, type SqlDatabase } from './sql.ts';

const telemetryTables = [
  'telemetry',
  'telemetry_latest',
  ...rollupLevels.map((level) => `telemetry_${level}`),
];

/** Tables that between them have every device of a projection, and the projection whose active generation lists them. */
const unlistedIn = {
  telemetry: [['telemetry_latest'], 'devices'],
  devices: [['devices'], 'devices'],
  device_history: [['device_history'], 'device_history'],
  // Alarms stay when their rule ends, what it remembered does not.
  detection: [['detection_states', 'alarms'], 'devices'],
} as const;

const deviceTables = {
  devices: ['devices', 'device_labels'],
  device_history: ['device_history'],
  detection: ['detection_states', 'alarms'],
} as const;

const mostUnlisted = 200;

export const sqlErasedDevices = (db: SqlDatabase): ErasedDevices => ({
  ...findings(db),
  ...removals(db),
});

type Findings = Pick<
  ErasedDevices,
  'list' | 'withTelemetry' | 'pending' | 'watched' | 'unlisted' | 'hasTelemetry'
>;

/** Which devices are erased or deleted, and what is left of them. */
const findings = (db: SqlDatabase): Findings => ({
  async list() {
    const rows = await withActiveGenerations(db, ({ devices }) =>
      db.rows<[string]>(
        `SELECT device_id FROM ${tableOf('devices', devices)} WHERE status = 'erased' ORDER BY device_id`,
      ),
    );
    return rows.map(([deviceId]) => deviceId);
  },

  async withTelemetry({ generation }) {
    const rows = telemetryTables.map(
      (base) => `SELECT 1 FROM ${tableOf(base, generation)} t WHERE t.device_id = d.device_id`,
    );
    const deadLetters = `SELECT 1 FROM dead_letters l WHERE l.projection = 'telemetry' AND l.generation = ?
      AND l.stream = CONCAT(?, d.device_id) AND l.event <> 'null'`;
    const left = [...rows, deadLetters].map((select) => `EXISTS (${select})`).join(' OR ');
    const erased = await withActiveGenerations(db, ({ devices }) =>
      db.rows<[string]>(
        `SELECT d.device_id FROM ${tableOf('devices', devices)} d WHERE d.status = 'erased' AND (${left})
         ORDER BY d.device_id`,
        [generation, deviceStream('')],
      ),
    );
    return erased.map(([deviceId]) => deviceId);
  },

  async pending() {
    const rows = await withActiveGenerations(db, ({ devices }) =>
      db.rows<[string, number, string, number | null]>(
        `SELECT d.device_id, d.revision, d.updated_at, e.truncated_at FROM ${tableOf('devices', devices)} d
         LEFT JOIN erasures e ON e.device_id = d.device_id AND e.revision = d.revision
         WHERE d.status = 'erased' AND e.done_at IS NULL ORDER BY d.device_id`,
      ),
    );
    return rows.map(([deviceId, revision, erasedAt, truncatedAt]) => ({
      deviceId,
      revision,
      erasedAt: Date.parse(erasedAt),
      isTruncated: truncatedAt !== null,
    }));
  },

  async watched({ projection, generation }) {
    // One that is being built may have no tables yet.
    if (!(await hasBegun(db, projection, generation))) return [];
    const rows = await withActiveGenerations(db, ({ devices }) =>
      db.rows<[string]>(
        `SELECT device_id FROM ${tableOf('devices', devices)} d
         WHERE status = 'erased' AND (
           EXISTS (SELECT 1 FROM ${tableOf('detection_states', generation)} s WHERE s.device_id = d.device_id)
           OR device_id IN (SELECT device_id FROM ${tableOf('alarms', generation)}))
         ORDER BY device_id`,
      ),
    );
    return rows.map(([deviceId]) => deviceId);
  },

  async unlisted({ projection: name, generation }) {
    if (!(await hasBegun(db, name, generation))) return [];
    const [tables, listed] = unlistedIn[name as ProjectionName];
    const rows = await withActiveGenerations(db, (active) => {
      const selects = tables.map(
        (table) => `SELECT DISTINCT device_id FROM ${tableOf(table, generation)} t
         WHERE NOT EXISTS (SELECT 1 FROM ${tableOf(listed, active[listed])} d WHERE d.device_id = t.device_id)`,
      );
      return db.rows<[string]>(`${selects.join(' UNION ')} LIMIT ?`, [mostUnlisted]);
    });
    return rows.map(([deviceId]) => deviceId);
  },

  async hasTelemetry({ generation }, deviceId) {
    for (const base of telemetryTables) {
      const rows = await db.rows(`SELECT 1 FROM ${tableOf(base, generation)} WHERE device_id = ? LIMIT 1`, [
        deviceId,
      ]);
      if (rows.length > 0) return true;
    }
    const deadLetters = await db.rows(
      `SELECT 1 FROM dead_letters WHERE projection = 'telemetry' AND generation = ? AND stream = ? AND event <> 'null' LIMIT 1`,
      [generation, deviceStream(deviceId)],
    );
    return deadLetters.length > 0;
  },
});

const removals = (db: SqlDatabase): Omit<ErasedDevices, keyof Findings> => ({
  truncated: ({ deviceId, revision }, now) =>
    db.write(
      'replace',
      'erasures',
      ['device_id', 'revision', 'truncated_at', 'done_at'],
      [[deviceId, revision, now, null]],
    ),

  async finish(deviceIds, now) {
    for (const ids of chunks(deviceIds))
      await db.run(`UPDATE erasures SET done_at = ? WHERE device_id IN (${placeholders(ids)})`, [
        now,
        ...ids,
      ]);
  },

  removeDeleted: ({ projection, generation }, deviceId) =>
    db.transaction((tx) =>
      projection === 'telemetry'
        ? forgetReadings(tx, generation, deviceId)
        : forgetRows(tx, projection as keyof typeof deviceTables, generation, deviceId),
    ),

  removeRest: ({ projection, generation }, deviceId, now) =>
    db.transaction(async (tx) => {
      // By them a device is found of which something is left, such as a reading that came meanwhile.
      await tx.run(
        `DELETE FROM ${tableOf('telemetry_latest', generation)} WHERE device_id = ?
         AND NOT EXISTS (SELECT 1 FROM ${tableOf('telemetry', generation)} WHERE device_id = ?)`,
        [deviceId, deviceId],
      );
      const changed = await tx.run(
        `UPDATE dead_letters SET event = 'null', error = ?, stack = NULL,
           discarded_at = COALESCE(discarded_at, ?), discarded_by = COALESCE(discarded_by, ?), discard_reason = ?
         WHERE projection = ? AND stream = ? AND event <> 'null'`,
        [erasedName, now, erasedName, erasedName, projection, deviceStream(deviceId)],
      );
      // A worker that holds the stream back is to find out that it need not.
      if (changed > 0) await tx.run(`UPDATE checkpoints SET ${nextEpoch} WHERE projection = ?`, [projection]);
    }),

  async removeRetired(deviceId) {
    const active = await db.rows<[ProjectionName, number]>('SELECT name, active FROM projections');
    const activeOf = new Map(active);
    const generations = await db.rows<[ProjectionName, number]>(
      "SELECT projection, generation FROM generations WHERE status <> 'building' AND projection IN ('devices', 'device_history')",
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

async function forgetRows(
  tx: Sql,
  projection: keyof typeof deviceTables,
  generation: number,
  deviceId: string,
): Promise<void> {
  const id = { projection, generation };
  if (projection === 'detection') {
    await lockCheckpoints(tx, id);
    await forgetSeries(tx, generation, deviceId);
  }
  for (const base of deviceTables[projection])
    await tx.run(`DELETE FROM ${tableOf(base, generation)} WHERE device_id = ?`, [deviceId]);
  // Its worker knows states of the device.
  if (projection === 'detection') await bumpEpoch(tx, id);
}

/** What the ledger counted of the readings of a deleted device becomes late. */
async function forgetReadings(tx: Sql, generation: number, deviceId: string): Promise<void> {
  const id = { projection: 'telemetry', generation };
  await lockCheckpoints(tx, id);
  await countingDevice(tx, generation, deviceId, async () => {
    await tx.run(
      `UPDATE ${tableOf('telemetry_ledger', generation)}
       SET late = late + stored_count + duplicate + corrected, stored_count = 0, duplicate = 0, corrected = 0, retracted = 0
       WHERE device_id = ?`,
      [deviceId],
    );
    await tx.run(`DELETE FROM ${tableOf('telemetry_expired', generation)} WHERE device_id = ?`, [deviceId]);
  });
  // The id may be registered anew: a worker must not continue with what it knows of the old device.
  await bumpEpoch(tx, id);
}

/** What detection has of a device besides its rows: the count of its series, and what is on record of its alarms. */
async function forgetSeries(tx: Sql, generation: number, deviceId: string): Promise<void> {
  for (const table of ['alarm_acknowledgements', 'hook_deliveries'])
    await tx.run(
      `DELETE FROM ${table}
       WHERE alarm_id IN (SELECT alarm_id FROM ${tableOf('alarms', generation)} WHERE device_id = ?)`,
      [deviceId],
    );
  await tx.run('DELETE FROM alarm_silences WHERE device_id = ?', [deviceId]);
  const counts = await tx.rows<[number, number]>(
    `SELECT part, COUNT(*) FROM ${tableOf('detection_states', generation)} WHERE device_id = ? GROUP BY part`,
    [deviceId],
  );
  for (const [part, count] of counts)
    await tx.run(`UPDATE ${tableOf('detection_totals', generation)} SET series = series - ? WHERE part = ?`, [
      count,
      part,
    ]);
}
