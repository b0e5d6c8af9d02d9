import type {
  AuditedReading,
  AuditOutcome,
  AuditOutcomes,
  AuditScope,
  AuditTables,
  AuditVisitor,
} from '../../application/ports/audit.ts';
import { rollupLevels } from '../../domain/rollup.ts';
import { readLatest, readMetrics, readRollup } from './documents.ts';
import { tableOf } from './generation-tables.ts';
import { comparedTotals } from './ledger-totals.ts';
import { chunks, placeholders, type SqlDatabase, type SqlReader, type SqlValue } from './sql.ts';

type LedgerColumns = [string, number, number, number, number, number, number, number];

export const sqlAuditTables = (db: SqlDatabase): AuditTables => ({
  read: ({ projection, generation }, scope, visit) =>
    db.snapshot(async (sql) => {
      const checkpoints = await sql.rows<[number, string | null]>(
        'SELECT part, position FROM checkpoints WHERE projection = ? AND generation = ?',
        [projection, generation],
      );
      const deviceIds = await devicesOf(sql, generation, scope);
      const parts = deviceIds === undefined ? [undefined] : chunks(deviceIds);
      for (const part of parts) await readTables(sql, generation, scope, part, visit);
      return new Map(
        checkpoints.flatMap(([part, position]) => (position === null ? [] : [[part, position]])),
      );
    }),

  totals: ({ generation }) => comparedTotals(db, generation),
});

/** `undefined` for all. */
async function devicesOf(
  sql: SqlReader,
  generation: number,
  { deviceId, includes }: AuditScope,
): Promise<readonly string[] | undefined> {
  if (deviceId !== undefined) return [deviceId];
  if (!includes) return undefined;
  const deviceIds = new Set<string>();
  for (const base of ['telemetry_ledger', 'telemetry_latest'] as const) {
    const select = `SELECT DISTINCT device_id FROM ${tableOf(base, generation)}`;
    for await (const rows of sql.stream<[string]>(select))
      for (const [id] of rows) if (includes(id)) deviceIds.add(id);
  }
  return [...deviceIds].sort();
}

type StoredReading = [deviceId: string, timestamp: number, receivedAt: number, metrics: string];

async function readTables(
  sql: SqlReader,
  generation: number,
  { from, to }: AuditScope,
  deviceIds: readonly string[] | undefined,
  visit: AuditVisitor,
): Promise<void> {
  const ofDevices = deviceIds === undefined ? '' : `AND device_id IN (${placeholders(deviceIds)})`;
  const select = (columns: string, base: string, where: string) =>
    `SELECT ${columns} FROM ${tableOf(base, generation)} WHERE ${where} ${ofDevices}`;
  const params = (...range: SqlValue[]) => [...range, ...(deviceIds ?? [])];
  const ofDay = 'day >= ? AND day < ?';

  const counts = 'device_id, day, stored_count, duplicate, corrected, dead_lettered, late, retracted';
  const ledger = select(counts, 'telemetry_ledger', ofDay);
  for await (const rows of sql.stream<LedgerColumns>(ledger, params(from, to)))
    for (const [deviceId, day, stored, duplicate, corrected, deadLettered, late, retracted] of rows)
      visit.ledger({ deviceId, day, stored, duplicate, corrected, deadLettered, late, retracted });

  const expired = select('device_id, day, expired', 'telemetry_expired', ofDay);
  for await (const rows of sql.stream<[string, number, number]>(expired, params(from, to)))
    for (const [deviceId, day, count] of rows) visit.expired(deviceId, day, count);

  const inRange = '((received_at >= ? AND received_at < ?) OR (ts >= ? AND ts < ?))';
  const readings = select('device_id, ts, received_at, metrics', 'telemetry', inRange);
  const byTime = 'ORDER BY device_id, ts';
  for await (const rows of sql.stream<StoredReading>(`${readings} ${byTime}`, params(from, to, from, to)))
    await visit.readings(rows.map(auditedReading));
  visit.tableEnd();

  for (const level of rollupLevels) {
    const rollups = select('device_id, bucket, metrics', `telemetry_${level}`, 'bucket >= ? AND bucket < ?');
    const byBucket = 'ORDER BY device_id, bucket';
    for await (const rows of sql.stream<[string, number, string]>(`${rollups} ${byBucket}`, params(from, to)))
      await visit.rollups(
        rows.map(([deviceId, bucket, text]) => ({ deviceId, level, bucket, metrics: readRollup(text) })),
      );
    visit.tableEnd();
  }

  const latest = select('device_id, ts, metrics', 'telemetry_latest', '1 = 1');
  for await (const rows of sql.stream<[string, number, string]>(`${latest} ORDER BY device_id`, params()))
    await visit.latest(
      rows.map(([deviceId, timestamp, text]) => ({ deviceId, timestamp, metrics: readLatest(text) })),
    );
  visit.tableEnd();
}

const auditedReading = ([deviceId, timestamp, receivedAt, text]: StoredReading): AuditedReading => ({
  deviceId,
  timestamp,
  receivedAt,
  metrics: readMetrics(text),
});

export const sqlAuditOutcomes = (db: SqlDatabase): AuditOutcomes => ({
  save: ({ at, differences }) =>
    db.write(
      'replace',
      'audits',
      ['projection', 'ended_at', 'differences'],
      [['telemetry', at, differences]],
    ),

  async last() {
    const [outcome] = await db.all<AuditOutcome>(
      `SELECT ended_at AS "at", differences FROM audits WHERE projection = 'telemetry'`,
    );
    return outcome;
  },
});
