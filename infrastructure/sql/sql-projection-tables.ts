import type {
  DeadLetter,
  DeadLetterTable,
  DeviceHistoryTable,
  DeviceTable,
  Generation,
  ProjectionTables,
} from '../../application/ports/read-models.ts';
import type { RegisteredDevice } from '../../domain/device/device.ts';
import { chunks, inChunks, placeholders } from './chunks.ts';
import {
  deviceColumns,
  deviceRow,
  historyColumns,
  historyEntry,
  type StoredDevice,
  type StoredHistory,
} from './device-rows.ts';
import { tableOf } from './schema.ts';
import type { Sql, SqlValue } from './sql.ts';
import { sqlTelemetryTables } from './sql-telemetry-tables.ts';

/** The tables of one generation as its projector sees them inside a transaction. */
export function sqlProjectionTables(sql: Sql, of: Generation): ProjectionTables {
  return {
    devices: deviceTable(sql, of.generation),
    history: historyTable(sql, of.generation),
    telemetry: sqlTelemetryTables(sql, of.generation),
    deadLetters: deadLetterTable(sql, of),
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

    async put(rows) {
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
      for (const ids of chunks(rows.map((row) => row.deviceId)))
        await sql.run(`DELETE FROM ${labels} WHERE device_id IN (${placeholders(ids)})`, ids);
      await sql.write(
        'insert',
        labels,
        ['device_id', 'label', 'value'],
        rows.flatMap((row) =>
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

function deadLetterTable(sql: Sql, { projection, generation }: Generation): DeadLetterTable {
  return {
    async parkedStreams(partition) {
      const rows = await sql.all<{ stream: string }>(
        'SELECT DISTINCT stream FROM dead_letters WHERE projection = ? AND generation = ? AND part = ?',
        [projection, generation, partition],
      );
      return new Set(rows.map((row) => row.stream));
    },

    park: (letters) =>
      sql.write(
        'insert',
        'dead_letters',
        [
          'projection',
          'generation',
          'part',
          'position',
          'stream',
          'event_id',
          'event_type',
          'cause',
          'error',
          'stack',
          'correlation_id',
          'event',
          'parked_at',
        ],
        letters.map((letter) => [projection, generation, ...letterValues(letter)]),
      ),
  };
}

const letterValues = (letter: DeadLetter): readonly SqlValue[] => [
  letter.partition,
  letter.position,
  letter.stream,
  letter.eventId,
  letter.eventType,
  letter.cause,
  letter.error,
  letter.stack,
  letter.correlationId,
  JSON.stringify(letter.event),
  letter.parkedAt,
];
