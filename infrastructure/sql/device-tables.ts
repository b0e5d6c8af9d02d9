import type {
  DeviceHistoryRow,
  DeviceHistoryTable,
  DeviceRow,
  DeviceTable,
  GenerationId,
  ProjectionTables,
} from '../../application/ports/read-models.ts';
import { type Labels, type RegisteredDevice, sameLabels } from '../../domain/device.ts';
import { sqlDeadLetterTable } from './dead-letters.ts';
import { sqlDetectionTables } from './detection-tables.ts';
import { sqlExpiryTables } from './expiry-tables.ts';
import { tableOf } from './generation-tables.ts';
import { chunks, inChunks, placeholders, type Sql } from './sql.ts';
import { sqlTelemetryTables } from './telemetry-tables.ts';

/** The tables of one generation as the projector of a partition sees them inside a transaction. */
export function sqlProjectionTables(sql: Sql, generation: GenerationId, partition: number): ProjectionTables {
  return {
    devices: deviceTable(sql, generation.generation),
    history: historyTable(sql, generation.generation),
    telemetry: sqlTelemetryTables(sql, generation.generation, partition),
    detection: sqlDetectionTables(sql, generation.generation),
    deadLetters: sqlDeadLetterTable(sql, generation),
    expiry: sqlExpiryTables(sql, generation, partition),
  };
}

function deviceTable(sql: Sql, generation: number): DeviceTable {
  const devices = tableOf('devices', generation);
  const labels = tableOf('device_labels', generation);
  return {
    async find(deviceIds) {
      const rows = await inChunks(deviceIds, (ids) =>
        sql.all<StoredDevice>(
          `SELECT ${deviceColumns} FROM ${devices} d WHERE device_id IN (${placeholders(ids)})`,
          ids,
        ),
      );
      return new Map(rows.map((row) => [row.deviceId, deviceRow(row)]));
    },

    async remove(deviceIds) {
      for (const ids of chunks(deviceIds))
        for (const table of [devices, labels])
          await sql.run(`DELETE FROM ${table} WHERE device_id IN (${placeholders(ids)})`, ids);
    },

    async put(rows, before) {
      await sql.write(
        'replace',
        devices,
        [
          'device_id',
          'name',
          'type',
          'status',
          'labels',
          'search',
          'revision',
          'registered_at',
          'updated_at',
        ],
        rows.map((row) => [
          row.deviceId,
          row.name,
          row.type,
          row.status,
          JSON.stringify(row.labels),
          `${row.deviceId}\n${row.name}`.toLowerCase(),
          row.revision,
          row.registeredAt,
          row.updatedAt,
        ]),
      );
      const relabelled = rows.filter(({ deviceId, labels }) => {
        const known = before?.get(deviceId);
        return !known || !sameLabels(labels, known.labels);
      });
      const labelled = before ? relabelled.filter((row) => before.has(row.deviceId)) : relabelled;
      for (const ids of chunks(labelled.map((row) => row.deviceId)))
        await sql.run(`DELETE FROM ${labels} WHERE device_id IN (${placeholders(ids)})`, ids);
      await sql.write(
        'insert',
        labels,
        ['device_id', 'label', 'value'],
        relabelled.flatMap((row) =>
          Object.entries(row.labels).map(([label, value]) => [row.deviceId, label, value]),
        ),
      );
    },
  };
}

function historyTable(sql: Sql, generation: number): DeviceHistoryTable {
  const history = tableOf('device_history', generation);
  return {
    async latest(deviceIds) {
      const rows = await inChunks(deviceIds, (ids) =>
        sql.all<StoredHistory & { state: string }>(
          `SELECT ${historyColumns}, state
           FROM ${history} h WHERE device_id IN (${placeholders(ids)})
           AND revision = (SELECT MAX(revision) FROM ${history} WHERE device_id = h.device_id)`,
          ids,
        ),
      );
      return new Map(
        rows.map((row) => [
          row.deviceId,
          { ...historyEntry(row), state: JSON.parse(row.state) as RegisteredDevice },
        ]),
      );
    },

    async remove(deviceIds) {
      for (const ids of chunks(deviceIds))
        await sql.run(`DELETE FROM ${history} WHERE device_id IN (${placeholders(ids)})`, ids);
    },

    put: (rows) =>
      sql.write(
        'replace',
        history,
        [
          'device_id',
          'revision',
          'event',
          'changes',
          'reason',
          'actor',
          'at',
          'correlation_id',
          'causation_id',
          'event_id',
          'state',
        ],
        rows.map((row) => [
          row.deviceId,
          row.revision,
          row.event,
          JSON.stringify(row.changes),
          row.reason,
          row.actor,
          row.at,
          row.correlationId,
          row.causationId,
          row.eventId,
          JSON.stringify(row.state),
        ]),
      ),
  };
}

/** Of a table of devices known as `d`. */
export const deviceColumns = `d.device_id AS deviceId, d.name, d.type, d.status, d.labels, d.revision,
  d.registered_at AS registeredAt, d.updated_at AS updatedAt`;

export type StoredDevice = Omit<DeviceRow, 'labels'> & { readonly labels: string };

export const deviceRow = (row: StoredDevice): DeviceRow => ({
  ...row,
  labels: JSON.parse(row.labels) as Labels,
});

export const historyColumns = `device_id AS deviceId, revision, event, changes, reason, actor, at,
  correlation_id AS correlationId, causation_id AS causationId, event_id AS eventId`;

/** An entry of a device's history, without the state it led to. */
type HistoryEntry = Omit<DeviceHistoryRow, 'state'>;
export type StoredHistory = Omit<HistoryEntry, 'changes'> & { readonly changes: string };

export const historyEntry = (row: StoredHistory): HistoryEntry => ({
  ...row,
  changes: JSON.parse(row.changes) as DeviceHistoryRow['changes'],
});
