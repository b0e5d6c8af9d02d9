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
  const on = dialects[dialect];
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
    case 'telemetry':
      return {
        telemetry: `SELECT d.device_id, ${on.time('d.ts')} AS at, d.ts, ${on.metric} AS metric, ${on.value('')} AS value,
          d.received_at, d.correlation_id, d.position, d.corrected_by FROM telemetry_${g} d, ${on.entries}`,
        telemetry_latest: `SELECT d.device_id, ${on.metric} AS metric, ${on.value('[0]')} AS value,
          ${on.time(on.value('[1]'))} AS at FROM telemetry_latest_${g} d, ${on.entries}`,
        ...Object.fromEntries(rollupLevels.map((level) => [`telemetry_${level}`, rollupView(level)])),
        telemetry_ledger: `SELECT l.device_id, ${on.time('l.day')} AS day, l.stored_count AS "stored", l.duplicate, l.corrected,
          l.dead_lettered, l.late, l.retracted, COALESCE(e.expired, 0) AS expired, l.stored_count FROM telemetry_ledger_${g} l
          LEFT JOIN telemetry_expired_${g} e ON e.device_id = l.device_id AND e.day = l.day`,
      };
  }

  function rollupView(level: string): string {
    return `SELECT d.device_id, ${on.time('d.bucket')} AS bucket, ${on.metric} AS metric, ${on.value('[0]')} AS count,
      ${on.value('[2][0]')} / ${on.value('[1]')} AS avg, ${on.value('[2][0]')} AS sum, ${on.value('[3]')} AS min,
      ${on.value('[4]')} AS max, ${on.value('[6]')} AS first, ${on.value('[8]')} AS last
      FROM telemetry_${level}_${g} d, ${on.entries}`;
  }
}

/**
 * How each engine spreads the JSON document `d.metrics` into one row a metric, known as `m`. Metric names hold no
 * quote, so they fit a path as they are.
 */
const dialects = {
  sqlite: {
    time: (ms: string) => `strftime('%Y-%m-%dT%H:%M:%fZ', (${ms}) / 1000.0, 'unixepoch')`,
    entries: 'json_each(d.metrics) m',
    metric: 'm.key',
    value: (path: string) => (path === '' ? 'm.value' : `json_extract(m.value, '$${path}')`),
  },
  mysql: {
    time: (ms: string) => `TIMESTAMPADD(MICROSECOND, (${ms}) * 1000, TIMESTAMP'1970-01-01 00:00:00.000')`,
    entries: "JSON_TABLE(JSON_KEYS(d.metrics), '$[*]' COLUMNS (name VARCHAR(128) PATH '$')) m",
    metric: 'm.name',
    value: (path: string) => `JSON_UNQUOTE(JSON_EXTRACT(d.metrics, CONCAT('$."', m.name, '"${path}')))`,
  },
} as const;
