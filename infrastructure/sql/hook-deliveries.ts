import type {
  AlarmSummary,
  Announcement,
  NewDelivery,
  Silencing,
} from '../../application/ports/detection.ts';
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

type AlarmedSeries = Pick<Announcement, 'ruleId' | 'deviceId' | 'metric'>;

/** Puts down what is to be sent of one change of an alarm, at `now` or when the silence of its series ends. */
export async function addDeliveries(tx: Sql, deliveries: readonly NewDelivery[], now: number): Promise<void> {
  const [first] = deliveries;
  if (!first) return;
  const isEnd = first.announcement.change === 'cleared';
  const wanted: NewDelivery[] = [];
  for (const delivery of deliveries)
    if (!isEnd || !(await endedInSilence(tx, delivery))) wanted.push(delivery);
  const until = isEnd ? now : await silencedUntil(tx, first.announcement);
  const [state, dueAt] = until > now ? ['silenced', until] : ['waiting', now];
  const rows = wanted.map(({ hookId, alarmId, eventId, announcement }) => [
    ...[hookId, alarmId, eventId, JSON.stringify(announcement)],
    ...[state, 0, dueAt, now],
  ]);
  if (rows.length > 0) await tx.write('insert', 'hook_deliveries', deliveryColumns, rows);
}

/** Drops what a silence has held back of an alarm that is cleared. Answers whether nobody knows that it was raised. */
async function endedInSilence(tx: Sql, { hookId, alarmId }: NewDelivery): Promise<boolean> {
  const held = "FROM hook_deliveries WHERE hook_id = ? AND alarm_id = ? AND state = 'silenced'";
  const rows = await tx.rows<[string]>(`SELECT announcement ${held}`, [hookId, alarmId]);
  if (rows.length > 0) await tx.run(`DELETE ${held}`, [hookId, alarmId]);
  return rows.some(([text]) => (JSON.parse(text) as Announcement).change === 'raised');
}

async function silencedUntil(tx: Sql, { ruleId, deviceId, metric }: AlarmedSeries): Promise<number> {
  const [[until] = [0]] = await tx.rows<[number]>(
    'SELECT silent_until FROM alarm_silences WHERE rule_id = ? AND device_id = ? AND metric = ?',
    [ruleId, deviceId, metric ?? ''],
  );
  return Number(until);
}

/** Silences a series in place of any silence before, with what is held back already. */
export async function setSilence(
  tx: Sql,
  series: AlarmedSeries,
  { until, by, note }: Silencing,
  now: number,
): Promise<void> {
  const { ruleId, deviceId, metric } = series;
  await tx.write(
    'replace',
    'alarm_silences',
    ['rule_id', 'device_id', 'metric', 'silent_until', 'silenced_by', 'note'],
    [[ruleId, deviceId, metric ?? '', until, by, note]],
  );
  const held = await tx.rows<[number, string]>(
    "SELECT id, announcement FROM hook_deliveries WHERE state = 'silenced'",
  );
  for (const [id, text] of held) {
    const one = JSON.parse(text) as Announcement;
    if (one.ruleId === ruleId && one.deviceId === deviceId && one.metric === metric)
      await tx.run('UPDATE hook_deliveries SET due_at = ? WHERE id = ?', [Math.max(until, now), id]);
  }
}

type StoredDelivery = Omit<Delivery, 'announcement'> & { readonly announcement: string };

const columns = `id AS "deliveryId", hook_id AS "hookId", alarm_id AS "alarmId", event_id AS "eventId",
  announcement, state, tries, due_at AS "dueAt", created_at AS "createdAt", error`;

const parsed = (row: StoredDelivery): Delivery => ({
  ...row,
  announcement: JSON.parse(row.announcement) as Announcement | AlarmSummary,
});

export function sqlHookDeliveries(sql: Sql): HookDeliveries {
  const read = (rest: string, params: readonly SqlValue[]) =>
    sql.all<StoredDelivery>(`SELECT ${columns} FROM hook_deliveries d ${rest}`, params);

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
           WHERE o.hook_id = d.hook_id AND o.alarm_id = d.alarm_id AND o.state IN ('waiting', 'silenced')
             AND (o.id < d.id OR d.state = 'repeating'))
         ORDER BY d.id LIMIT ?`,
        [hookId, now, limit],
      );
      const taken: Delivery[] = [];
      for (const stored of found) {
        const delivery = parsed(stored);
        const { deliveryId, state, tries, dueAt } = delivery;
        const isHeld = state === 'silenced' || state === 'gathering';
        const next = {
          ...delivery,
          state: isHeld ? ('waiting' as const) : state,
          tries: tries + 1,
          dueAt: until,
          createdAt: isHeld ? now : delivery.createdAt,
        };
        // Whoever finds it as it was read has it: a summary may have come to count more.
        const changed = await sql.run(
          `UPDATE hook_deliveries SET state = ?, tries = ?, due_at = ?, created_at = ?
           WHERE id = ? AND state = ? AND tries = ? AND due_at = ? AND announcement = ?`,
          [
            ...[next.state, next.tries, next.dueAt, next.createdAt],
            ...[deliveryId, state, tries, dueAt, stored.announcement],
          ],
        );
        if (changed > 0) taken.push(next);
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

    async list(hookId, { state, after = 0, limit }) {
      const rows = await read(
        `WHERE d.hook_id = ? AND d.id > ? AND ${state === undefined ? "d.state <> 'repeating'" : 'd.state = ?'}
         ORDER BY d.id LIMIT ?`,
        [hookId, after, ...(state === undefined ? [] : [state]), limit],
      );
      return rows.map(parsed);
    },

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
         WHERE state IN ('waiting', 'failed') GROUP BY state`,
      );
      return rows.map(([state, count, oldest]) => ({ state, count: Number(count), oldest: Number(oldest) }));
    },
  };
}
