import type { ProjectionName } from '../../application/projections/projection.ts';
import { rollupLevels } from '../../domain/rollup.ts';
import type { Sql } from './sql.ts';

/** What analysts select from: a name and the SELECT behind it, over the tables of one generation. */
export function viewsOf(
  projection: ProjectionName,
  dialect: Sql['dialect'],
  generation: number,
): Readonly<Record<string, string>> {
  const g = `g${generation}`;
  const { time, metric, entries, member } = dialects[dialect];
  switch (projection) {
    case 'devices':
      return {
        devices: `SELECT device_id, name, type, status, labels, revision, registered_at, updated_at FROM devices_${g}`,
        device_labels: `SELECT device_id, label, value FROM device_labels_${g}`,
      };
    case 'device_history':
      return {
        device_history: `SELECT device_id, revision, event, changes, reason, actor, at, correlation_id, causation_id,
          event_id FROM device_history_${g}`,
      };
    case 'telemetry': {
      const newestAt = member('[1]').whole;
      return {
        telemetry: `SELECT d.device_id, ${time('d.ts')} AS at, d.ts, ${metric} AS metric, ${typed('value', member(''))},
          d.received_at, d.correlation_id, d.position, d.corrected_by FROM telemetry_${g} d, ${entries}`,
        telemetry_latest: `SELECT d.device_id, ${metric} AS metric, ${typed('value', member('[0]'))},
          ${time(newestAt)} AS at, ${newestAt} AS ts FROM telemetry_latest_${g} d, ${entries}`,
        ...Object.fromEntries(rollupLevels.map((level) => [`telemetry_${level}`, rollupView(level)])),
        telemetry_ledger: `SELECT l.device_id, ${time('l.day')} AS day, l.stored_count AS "stored", l.duplicate, l.corrected,
          l.dead_lettered, l.late, l.retracted, COALESCE(e.expired, 0) AS expired, l.stored_count FROM telemetry_ledger_${g} l
          LEFT JOIN telemetry_expired_${g} e ON e.device_id = l.device_id AND e.day = l.day`,
      };
    }
    case 'detection':
      return {
        alarms: `SELECT a.alarm_id, a.rule_id, a.rule_name, a.kind, a.severity, a.device_id, a.metric, a.state,
          ${time('a.raised_at')} AS raised_at, a.value, a.magnitude, a.explanation, a.escalations,
          ${time('a.cleared_at')} AS cleared_at, a.cleared_by, ${time('k.acknowledged_at')} AS acknowledged_at,
          k.acknowledged_by, k.note, a.correlation_id, a.position FROM alarms_${g} a
          LEFT JOIN alarm_acknowledgements k ON k.alarm_id = a.alarm_id`,
        detection_totals: `SELECT part, points, out_of_order, unwatched, text_values, series FROM detection_totals_${g}`,
      };
  }

  /** By the places of `StatsDocument`. */
  function rollupView(level: string): string {
    const numbers = `NULLIF(${member('[1]').whole}, 0)`;
    const sum = member('[2][0]').number;
    return `SELECT d.device_id, ${time('d.bucket')} AS bucket, d.bucket AS ts, ${metric} AS metric,
      ${member('[0]').whole} AS count, ${member('[1]').whole} AS numbers, ${sum} / ${numbers} AS avg, CASE WHEN ${numbers} > 0 THEN ${sum} END AS sum,
      ${member('[3]').number} AS min, ${member('[4]').number} AS max,
      ${typed('first', member('[6]'))}, ${typed('last', member('[8]'))} FROM telemetry_${level}_${g} d, ${entries}`;
  }
}

/** One member of a metric's document, as expressions that are NULL where it is of another type. */
type Member = {
  /** A double. */
  readonly number: string;
  readonly text: string;
  /** 1 or 0. */
  readonly bool: string;
  /** A member that always is a whole number, as such. */
  readonly whole: string;
};

/**
 * One value as four columns, each of one type on every engine. `value` is what can be averaged and drawn: the number, 1
 * or 0 for a boolean, NULL for text.
 */
const typed = (name: string, { number, text, bool }: Member): string =>
  `COALESCE(${number}, ${bool} * 1e0) AS ${name}, ${number} AS ${name}_number, ${text} AS ${name}_text, ${bool} AS ${name}_bool`;

/**
 * How each engine spreads the JSON document `d.metrics` into one row a metric, known as `m`, and reads the member at a
 * path of it. Metric names hold no quote, so they fit a path as they are.
 */
const dialects = {
  sqlite: {
    time: (ms: string) => `strftime('%Y-%m-%dT%H:%M:%fZ', (${ms}) / 1000.0, 'unixepoch')`,
    entries: 'json_each(d.metrics) m',
    metric: 'm.key',
    member(path: string): Member {
      const [value, type] =
        path === ''
          ? ['m.value', 'm.type']
          : [`json_extract(m.value, '$${path}')`, `json_type(m.value, '$${path}')`];
      return {
        // Where the document says `3`, the value is an integer, and so would every quotient of it be.
        number: `CASE WHEN ${type} IN ('integer', 'real') THEN CAST(${value} AS REAL) END`,
        text: `CASE WHEN ${type} = 'text' THEN ${value} END`,
        bool: `CASE ${type} WHEN 'true' THEN 1 WHEN 'false' THEN 0 END`,
        whole: value,
      };
    },
  },
  mysql: {
    time: (ms: string) => `TIMESTAMPADD(MICROSECOND, (${ms}) * 1000, TIMESTAMP'1970-01-01 00:00:00.000')`,
    entries: "JSON_TABLE(JSON_KEYS(d.metrics), '$[*]' COLUMNS (name VARCHAR(128) PATH '$')) m",
    metric: 'm.name',
    member(path: string): Member {
      const value = `JSON_EXTRACT(d.metrics, CONCAT('$."', m.name, '"${path}'))`;
      return {
        number: `CASE WHEN JSON_TYPE(${value}) IN ('INTEGER', 'UNSIGNED INTEGER', 'DOUBLE') THEN CAST(${value} AS DOUBLE) END`,
        text: `CASE WHEN JSON_TYPE(${value}) = 'STRING' THEN JSON_UNQUOTE(${value}) END`,
        bool: `CASE WHEN JSON_TYPE(${value}) = 'BOOLEAN' THEN JSON_UNQUOTE(${value}) = 'true' END`,
        whole: `CAST(${value} AS SIGNED)`,
      };
    },
  },
} as const;
