import type {
  AlarmFilter,
  AlarmKey,
  AlarmQueries,
  AlarmRecords,
  AlarmView,
  Announcement,
  OverdueSeries,
  SummarizedChange,
} from '../../application/ports/detection.ts';
import { withActiveGenerations } from './active-generations.ts';
import { alarmColumns, alarmRow, type StoredAlarm } from './detection-tables.ts';
import { matchingDevices } from './device-queries.ts';
import { tableOf } from './generation-tables.ts';
import { addDeliveries, setSilence } from './hook-deliveries.ts';
import { addToSummaries } from './hook-summaries.ts';
import type { SqlDatabase, SqlQueries, SqlValue } from './sql.ts';

type StoredView = StoredAlarm & {
  readonly acknowledgedAt: number | null;
  readonly acknowledgedBy: string | null;
  readonly note: string | null;
  readonly silencedUntil: number | null;
  readonly silencedBy: string | null;
  readonly silenceNote: string | null;
};

export function sqlAlarmQueries(sql: SqlQueries): AlarmQueries {
  return {
    async list(filter, { limit, after }) {
      const rows = await withActiveGenerations(sql, ({ detection, devices }) => {
        const { where, params } = matchingAlarms(filter, after, devices);
        return sql.all<StoredView>(
          `SELECT ${viewColumns} FROM ${viewOf(detection)} WHERE ${where}
           ORDER BY a.raised_at DESC, a.alarm_id DESC LIMIT ?`,
          [...params, limit],
        );
      });
      return rows.map(alarmView);
    },

    async find(alarmId) {
      const [row] = await withActiveGenerations(sql, ({ detection }) =>
        sql.all<StoredView>(`SELECT ${viewColumns} FROM ${viewOf(detection)} WHERE a.alarm_id = ?`, [
          alarmId,
        ]),
      );
      return row && alarmView(row);
    },

    async openCounts() {
      const rows = await withActiveGenerations(sql, ({ detection }) =>
        sql.rows<[string, number]>(
          `SELECT severity, COUNT(*) FROM ${tableOf('alarms', detection)} WHERE state = 'open' GROUP BY severity`,
        ),
      );
      return rows.map(([severity, count]) => ({ severity, count: Number(count) }));
    },

    async totals() {
      const names = ['points', 'out_of_order', 'unwatched', 'text_values', 'series'];
      const sums = names.map((name) => `COALESCE(SUM(${name}), 0)`).join(', ');
      const [row = []] = await withActiveGenerations(sql, ({ detection }) =>
        sql.rows<readonly (number | string)[]>(
          `SELECT ${sums} FROM ${tableOf('detection_totals', detection)}`,
        ),
      );
      // MySQL sums to a DECIMAL, which its driver gives as text.
      const [points = 0, outOfOrder = 0, unwatched = 0, text = 0, series = 0] = row.map(Number);
      return { points, outOfOrder, unwatched, text, series };
    },
  };
}

const viewColumns = `${alarmColumns}, k.acknowledged_at AS acknowledgedAt, k.acknowledged_by AS acknowledgedBy, k.note,
  s.silent_until AS silencedUntil, s.silenced_by AS silencedBy, s.note AS silenceNote`;

const viewOf = (generation: number): string =>
  `${tableOf('alarms', generation)} a LEFT JOIN alarm_acknowledgements k ON k.alarm_id = a.alarm_id
   LEFT JOIN alarm_silences s
     ON s.rule_id = a.rule_id AND s.device_id = a.device_id AND s.metric = COALESCE(a.metric, '')`;

function matchingAlarms(
  { state, deviceId, ruleId, since, within }: AlarmFilter,
  after: AlarmKey | undefined,
  devices: number,
): { readonly where: string; readonly params: readonly SqlValue[] } {
  const conditions: [condition: string, ...params: SqlValue[]][] = [];
  if (state !== undefined) conditions.push(['a.state = ?', state === 'cleared' ? 'cleared' : 'open']);
  if (state === 'open') conditions.push(['k.alarm_id IS NULL']);
  if (state === 'acknowledged') conditions.push(['k.alarm_id IS NOT NULL']);
  if (deviceId !== undefined) conditions.push(['a.device_id = ?', deviceId]);
  if (ruleId !== undefined) conditions.push(['a.rule_id = ?', ruleId]);
  if (since !== undefined) conditions.push(['a.raised_at >= ?', since]);
  if (within !== undefined) {
    const { from, where, id, params } = matchingDevices({ within }, devices);
    conditions.push([`a.device_id IN (SELECT ${id} FROM ${from} WHERE ${where})`, ...params]);
  }
  if (after)
    conditions.push([
      '(a.raised_at < ? OR (a.raised_at = ? AND a.alarm_id < ?))',
      after.raisedAt,
      after.raisedAt,
      after.alarmId,
    ]);
  return {
    where: conditions.map(([condition]) => condition).join(' AND ') || '1 = 1',
    params: conditions.flatMap(([, ...params]) => params),
  };
}

function alarmView(stored: StoredView): AlarmView {
  const { acknowledgedAt, acknowledgedBy, note, silencedUntil, silencedBy, silenceNote, ...row } = stored;
  const acknowledgement =
    acknowledgedAt === null ? null : { at: acknowledgedAt, by: acknowledgedBy ?? '', note };
  const silencing =
    silencedUntil === null ? null : { until: silencedUntil, by: silencedBy ?? '', note: silenceNote };
  return { ...alarmRow(row), acknowledgement, silencing };
}

export const sqlAlarmRecords = (sql: SqlDatabase): AlarmRecords => ({
  async acknowledge(alarmId, { at, by, note }) {
    await sql.run(
      `INSERT ${sql.dialect === 'mysql' ? '' : 'OR '}IGNORE
       INTO alarm_acknowledgements (alarm_id, acknowledged_at, acknowledged_by, note) VALUES (?, ?, ?, ?)`,
      [alarmId, at, by, note],
    );
  },

  silence: (alarm, silencing, now) => sql.transaction((tx) => setSilence(tx, alarm, silencing, now)),

  overdue: (ruleId, time, limit) =>
    withActiveGenerations(sql, ({ detection }) =>
      sql.all<OverdueSeries>(
        `SELECT device_id AS "deviceId", metric, due FROM ${tableOf('detection_states', detection)}
         WHERE due <= ? AND rule_id = ? AND alarm_id IS NULL ORDER BY due LIMIT ?`,
        [time, ruleId, limit],
      ),
    ),

  async announcements(limit) {
    const rows = await sql.rows<[number, string]>(
      'SELECT seq, announcement FROM alarm_outbox ORDER BY seq LIMIT ?',
      [limit],
    );
    return rows.map(([seq, announcement]) => ({
      seq,
      announcement: JSON.parse(announcement) as Announcement,
    }));
  },

  announced: (done, now) =>
    sql.transaction(async (tx) => {
      const changes: SummarizedChange[] = [];
      for (const { seq, deliveries, summarized } of done) {
        // One after the other: of two processes, the second waits here, and finds it gone.
        const isOurs = (await tx.run('DELETE FROM alarm_outbox WHERE seq = ?', [seq])) > 0;
        if (!isOurs) continue;
        await addDeliveries(tx, deliveries, now);
        if (summarized) changes.push(summarized);
      }
      await addToSummaries(tx, changes, now);
    }),
});
