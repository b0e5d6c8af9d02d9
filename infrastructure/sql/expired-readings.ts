import { comparePositions } from '../../application/ports/event-source.ts';
import type { ExpiredReadings } from '../../application/ports/generations.ts';
import type { ReadingRow } from '../../application/ports/read-models.ts';
import { readMetrics } from './documents.ts';
import { tableOf } from './generation-tables.ts';
import type { SqlReader } from './sql.ts';

type Row = [
  deviceId: string,
  timestamp: number,
  position: string,
  receivedAt: number,
  metrics: string,
  correlationId: string,
  correctedBy: string | null,
];

/** Positions are text that no engine can compare, so every row is scanned, one at a time. */
export const sqlHistoryGap = (sql: SqlReader): ExpiredReadings => ({
  async count({ generation }, expired) {
    let readings = 0;
    let from: number | null = null;
    const select = `SELECT device_id, position, received_at FROM ${tableOf('telemetry', generation)}`;
    for await (const rows of sql.stream<[string, string, number]>(select))
      for (const [deviceId, position, receivedAt] of rows) {
        if (comparePositions(position, expired(deviceId)) > 0) continue;
        readings += 1;
        if (from === null || receivedAt < from) from = receivedAt;
      }
    return { readings, from };
  },

  async *readings({ generation }, expired) {
    const select = `SELECT device_id, ts, position, received_at, metrics, correlation_id, corrected_by
      FROM ${tableOf('telemetry', generation)}`;
    for await (const rows of sql.stream<Row>(select)) {
      const older = rows.filter(
        ([deviceId, , position]) => comparePositions(position, expired(deviceId)) <= 0,
      );
      if (older.length > 0) yield older.map(readingRow);
    }
  },
});

const readingRow = ([
  deviceId,
  timestamp,
  position,
  receivedAt,
  metrics,
  correlationId,
  correctedBy,
]: Row): ReadingRow => ({
  deviceId,
  timestamp,
  position,
  receivedAt,
  metrics: readMetrics(metrics),
  correlationId,
  correctedBy,
});
