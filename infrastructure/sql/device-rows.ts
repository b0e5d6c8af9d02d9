import type { DeviceHistoryRow, DeviceRow } from '../../application/ports/read-models.ts';
import type { Labels } from '../../domain/device.ts';

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
export type HistoryEntry = Omit<DeviceHistoryRow, 'state'>;
export type StoredHistory = Omit<HistoryEntry, 'changes'> & { readonly changes: string };

export const historyEntry = (row: StoredHistory): HistoryEntry => ({
  ...row,
  changes: JSON.parse(row.changes) as DeviceHistoryRow['changes'],
});
