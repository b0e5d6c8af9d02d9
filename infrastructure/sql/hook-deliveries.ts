import type { Announcement, NewDelivery } from '../../application/ports/detection.ts';
import type { Delivery, DeliveryState, HookDeliveries } from '../../application/ports/hooks.ts';
import type { Sql, SqlValue } from './sql.ts';

export const deliveryColumns = [
  'hook_id',
  'alarm_id',
  'event_id',
  'announcement',
  'state',
  'tries',
  'due_at',
  'created_at',
];

export const newDeliveryRow = (
  { hookId, alarmId, eventId, announcement }: NewDelivery,
  now: number,
): readonly SqlValue[] => [hookId, alarmId, eventId, JSON.stringify(announcement), 'waiting', 0, now, now];

type StoredDelivery = Omit<Delivery, 'announcement'> & { readonly announcement: string };

const columns = `id AS "deliveryId", hook_id AS "hookId", alarm_id AS "alarmId", event_id AS "eventId",
  announcement, state, tries, due_at AS "dueAt", created_at AS "createdAt", error`;

export function sqlHookDeliveries(sql: Sql): HookDeliveries {
  const read = async (rest: string, params: readonly SqlValue[]): Promise<readonly Delivery[]> => {
    const rows = await sql.all<StoredDelivery>(`SELECT ${columns} FROM hook_deliveries d ${rest}`, params);
    return rows.map((row) => ({ ...row, announcement: JSON.parse(row.announcement) as Announcement }));
  };

  /** Of what its alarm was before. */
  const endRepetition = ({ deliveryId, hookId, alarmId }: Delivery) =>
    sql.run(
      "DELETE FROM hook_deliveries WHERE hook_id = ? AND alarm_id = ? AND state = 'repeating' AND id < ?",
      [hookId, alarmId, deliveryId],
    );

  return {
    async dueHooks(now) {
      const rows = await sql.rows<[string]>(
        "SELECT DISTINCT hook_id FROM hook_deliveries WHERE state <> 'failed' AND due_at <= ?",
        [now],
      );
      return rows.map(([hookId]) => hookId);
    },

    async take(hookId, now, until, limit) {
      const found = await read(
        `WHERE d.hook_id = ? AND d.state <> 'failed' AND d.due_at <= ? AND NOT EXISTS (
           SELECT 1 FROM hook_deliveries o
           WHERE o.hook_id = d.hook_id AND o.alarm_id = d.alarm_id AND o.state = 'waiting'
             AND (o.id < d.id OR d.state = 'repeating'))
         ORDER BY d.id LIMIT ?`,
        [hookId, now, limit],
      );
      const taken: Delivery[] = [];
      for (const delivery of found) {
        const { deliveryId, state, tries, dueAt } = delivery;
        // Whoever finds it as it was read has it.
        const changed = await sql.run(
          `UPDATE hook_deliveries SET tries = tries + 1, due_at = ?
           WHERE id = ? AND state = ? AND tries = ? AND due_at = ?`,
          [until, deliveryId, state, tries, dueAt],
        );
        if (changed > 0) taken.push({ ...delivery, tries: tries + 1, dueAt: until });
      }
      return taken;
    },

    async delivered(delivery) {
      await endRepetition(delivery);
      await sql.run('DELETE FROM hook_deliveries WHERE id = ?', [delivery.deliveryId]);
    },

    async repeatLater(delivery, dueAt) {
      await endRepetition(delivery);
      await sql.run(
        `UPDATE hook_deliveries SET state = 'repeating', tries = 0, due_at = ?, error = NULL
         WHERE id = ? AND state <> 'failed'`,
        [dueAt, delivery.deliveryId],
      );
    },

    async retryLater({ deliveryId, state, tries }, dueAt, error) {
      await sql.run(
        'UPDATE hook_deliveries SET due_at = ?, error = ? WHERE id = ? AND state = ? AND tries = ?',
        [dueAt, error, deliveryId, state, tries],
      );
    },

    async failed({ deliveryId, state, tries }, error) {
      await sql.run(
        "UPDATE hook_deliveries SET state = 'failed', error = ? WHERE id = ? AND state = ? AND tries = ?",
        [error, deliveryId, state, tries],
      );
    },

    list: (hookId, { state, after = 0, limit }) =>
      read(
        `WHERE d.hook_id = ? AND d.id > ? AND ${state === undefined ? "d.state <> 'repeating'" : 'd.state = ?'}
         ORDER BY d.id LIMIT ?`,
        [hookId, after, ...(state === undefined ? [] : [state]), limit],
      ),

    retry: (hookId, now, deliveryId) =>
      sql.run(
        `UPDATE hook_deliveries SET state = 'waiting', tries = 0, due_at = ?
         WHERE hook_id = ? AND state = 'failed' ${deliveryId === undefined ? '' : 'AND id = ?'}`,
        [now, hookId, ...(deliveryId === undefined ? [] : [deliveryId])],
      ),

    async drop(hookId) {
      await sql.run('DELETE FROM hook_deliveries WHERE hook_id = ?', [hookId]);
    },

    async counts() {
      const rows = await sql.rows<[DeliveryState, number, number]>(
        `SELECT state, COUNT(*), MIN(created_at) FROM hook_deliveries
         WHERE state <> 'repeating' GROUP BY state`,
      );
      return rows.map(([state, count, oldest]) => ({ state, count: Number(count), oldest: Number(oldest) }));
    },
  };
}
