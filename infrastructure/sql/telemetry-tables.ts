import type {
  LatestRow,
  LedgerRow,
  ReadingRow,
  RollupKey,
  RollupRow,
  TelemetryChanges,
  TelemetryTables,
} from '../../application/ports/read-models.ts';
import { bucketOf, type RollupLevel, rollupLevels, rollupWidth } from '../../domain/rollup.ts';
import { latestDocument, readLatest, readMetrics, readRollup, rollupDocument } from './documents.ts';
import { tableOf } from './generation-tables.ts';
import { addToTotals } from './ledger-totals.ts';
import { chunks, inChunks, placeholders, rowsOf, type Sql, type SqlValue } from './sql.ts';

type StoredReading = Omit<ReadingRow, 'metrics'> & { metrics: string };
type StoredRollup = { deviceId: string; bucket: number; metrics: string };

const readingColumns = `device_id AS deviceId, ts AS timestamp, metrics, received_at AS receivedAt,
  correlation_id AS correlationId, position, corrected_by AS correctedBy`;
const writtenColumns = [
  'device_id',
  'ts',
  'metrics',
  'received_at',
  'correlation_id',
  'position',
  'corrected_by',
];
const ledgerColumns = [
  'device_id',
  'day',
  'stored_count',
  'duplicate',
  'corrected',
  'dead_lettered',
  'late',
  'retracted',
];

export function sqlTelemetryTables(sql: Sql, generation: number, partition: number): TelemetryTables {
  const { readings, latest, rollups } = tableNames(generation);

  return {
    latest: async (deviceIds) =>
      (
        await inChunks(deviceIds, (ids) =>
          sql.all<{ deviceId: string; timestamp: number; metrics: string }>(
            `SELECT device_id AS deviceId, ts AS timestamp, metrics FROM ${latest}
             WHERE device_id IN (${placeholders(ids)})`,
            ids,
          ),
        )
      ).map((row): LatestRow => ({ ...row, metrics: readLatest(row.metrics) })),

    readings: async (keys) =>
      (
        await byKey<StoredReading>(
          sql,
          (where) => `SELECT ${readingColumns} FROM ${readings} WHERE ${where}`,
          'ts',
          keys.map((key) => [key.deviceId, key.timestamp]),
        )
      ).map(readingRow),

    readingsBetween: async (deviceId, from, to, limit) =>
      (
        await sql.all<StoredReading>(
          `SELECT ${readingColumns} FROM ${readings} WHERE device_id = ? AND ts >= ? AND ts < ? ORDER BY ts
           ${limit === undefined ? '' : `LIMIT ${limit}`}`,
          [deviceId, from, to],
        )
      ).map(readingRow),

    lastReading: (deviceId, metric, before) =>
      metric === null
        ? newestReading(sql, readings, deviceId, before)
        : lastWithMetric(sql, { readings, days: rollups('1d') }, deviceId, metric, before),

    async rollups(keys) {
      const rows: RollupRow[] = [];
      for (const level of rollupLevels) {
        const rollupKeys = keys.filter((key) => key.level === level);
        const found = await byKey<StoredRollup>(
          sql,
          (where) => `SELECT device_id AS deviceId, bucket, metrics FROM ${rollups(level)} WHERE ${where}`,
          'bucket',
          rollupKeys.map((key) => [key.deviceId, key.bucket]),
        );
        for (const row of found) rows.push(rollupRow(level, row));
      }
      return rows;
    },

    rollupsBetween: async (level, deviceId, from, to) =>
      (
        await sql.all<StoredRollup>(
          `SELECT device_id AS deviceId, bucket, metrics FROM ${rollups(level)}
           WHERE device_id = ? AND bucket >= ? AND bucket < ? ORDER BY bucket`,
          [deviceId, from, to],
        )
      ).map((row) => rollupRow(level, row)),

    write: (changes) => writeChanges(sql, generation, partition, changes),
  };
}

async function newestReading(
  sql: Sql,
  table: string,
  deviceId: string,
  before: number,
  { from, metric }: { readonly from?: number; readonly metric?: string } = {},
): Promise<ReadingRow | undefined> {
  const since = from === undefined ? '' : 'AND ts >= ?';
  const having = metric === undefined ? '' : 'AND JSON_EXTRACT(metrics, ?) IS NOT NULL';
  const [row] = await sql.all<StoredReading>(
    `SELECT ${readingColumns} FROM ${table} WHERE device_id = ? AND ts < ? ${since} ${having} ORDER BY ts DESC LIMIT 1`,
    [
      deviceId,
      before,
      ...(from === undefined ? [] : [from]),
      ...(metric === undefined ? [] : [memberOf(metric)]),
    ],
  );
  return row && readingRow(row);
}

/**
 * The rollups by day say on which one it stands, and are kept as long as the points: a metric that is rare, or has no
 * value before, would be looked for in every reading of years.
 */
async function lastWithMetric(
  sql: Sql,
  { readings, days }: { readonly readings: string; readonly days: string },
  deviceId: string,
  metric: string,
  before: number,
): Promise<ReadingRow | undefined> {
  const day = bucketOf('1d', before);
  const onSameDay = await newestReading(sql, readings, deviceId, before, { from: day, metric });
  if (onSameDay) return onSameDay;
  const [last] = await sql.rows<[number]>(
    `SELECT bucket FROM ${days} WHERE device_id = ? AND bucket < ? AND JSON_EXTRACT(metrics, ?) IS NOT NULL
     ORDER BY bucket DESC LIMIT 1`,
    [deviceId, day, memberOf(metric)],
  );
  if (!last) return undefined;
  const [from] = last;
  return newestReading(sql, readings, deviceId, from + rollupWidth['1d'], { from, metric });
}

const memberOf = (metric: string): string => `$."${metric}"`;

const tableNames = (generation: number) => ({
  readings: tableOf('telemetry', generation),
  latest: tableOf('telemetry_latest', generation),
  ledger: tableOf('telemetry_ledger', generation),
  rollups: (level: RollupLevel) => tableOf(`telemetry_${level}`, generation),
});

async function writeChanges(
  sql: Sql,
  generation: number,
  partition: number,
  changes: Partial<TelemetryChanges>,
): Promise<void> {
  const { latest, ledger } = tableNames(generation);
  await writeReadings(sql, generation, partition, changes);
  await sql.write(
    'replace',
    latest,
    ['device_id', 'ts', 'metrics'],
    rowsOf(changes.latest ?? [], (row) => [row.deviceId, row.timestamp, latestDocument(row.metrics)]),
  );
  for (const ids of chunks(changes.forgotten ?? []))
    await sql.run(`DELETE FROM ${latest} WHERE device_id IN (${placeholders(ids)})`, ids);
  await writeRollups(sql, generation, changes);
  await sql.write('add', ledger, ledgerColumns, (changes.ledger ?? []).map(ledgerValues));
  await addToTotals(sql, generation, partition, changes.ledger ?? []);
}

async function writeReadings(
  sql: Sql,
  generation: number,
  partition: number,
  { expired = [], inserted = [], replaced = [], removed = [] }: Partial<TelemetryChanges>,
): Promise<void> {
  const { readings } = tableNames(generation);
  await deleteKeys(
    sql,
    readings,
    'ts',
    expired.filter(({ isStored }) => isStored).map((row) => [row.deviceId, row.timestamp]),
  );
  for (const [deviceId, some] of Map.groupBy(expired, (row) => row.deviceId))
    await countExpired(
      sql,
      generation,
      partition,
      deviceId,
      some.map((row) => row.receivedAt),
    );
  await sql.write('insert', readings, writtenColumns, rowsOf(inserted, readingValues));
  await sql.write('replace', readings, writtenColumns, rowsOf(replaced, readingValues));
  await deleteKeys(
    sql,
    readings,
    'ts',
    removed.map((key) => [key.deviceId, key.timestamp]),
  );
}

async function writeRollups(
  sql: Sql,
  generation: number,
  { rollups: buckets = [], emptied = [] }: Partial<TelemetryChanges>,
): Promise<void> {
  const { rollups } = tableNames(generation);
  for (const level of rollupLevels) {
    await sql.write(
      'replace',
      rollups(level),
      ['device_id', 'bucket', 'metrics'],
      rowsOf(ofLevel(buckets, level), (row) => [row.deviceId, row.bucket, rollupDocument(row.metrics)]),
    );
    await deleteKeys(
      sql,
      rollups(level),
      'bucket',
      ofLevel(emptied, level).map((key) => [key.deviceId, key.bucket]),
    );
  }
}

/** Rows by (device, time): a row value in a list is no index range on every engine, an OR of both columns is. */
function byKey<Row>(
  sql: Sql,
  select: (where: string) => string,
  column: string,
  keys: readonly (readonly SqlValue[])[],
): Promise<Row[]> {
  return inChunks(keys, (some) => sql.all<Row>(select(keysMatch(column, some)), some.flat()), 200);
}

async function deleteKeys(
  sql: Sql,
  table: string,
  column: string,
  keys: readonly (readonly SqlValue[])[],
): Promise<void> {
  for (const some of chunks(keys, 200))
    await sql.run(`DELETE FROM ${table} WHERE ${keysMatch(column, some)}`, some.flat());
}

const keysMatch = (column: string, keys: readonly unknown[]): string =>
  keys.map(() => `(device_id = ? AND ${column} = ?)`).join(' OR ');

const readingRow = (row: StoredReading): ReadingRow => ({ ...row, metrics: readMetrics(row.metrics) });

const rollupRow = (level: RollupLevel, row: StoredRollup): RollupRow => ({
  deviceId: row.deviceId,
  level,
  bucket: row.bucket,
  metrics: readRollup(row.metrics),
});

const readingValues = (row: ReadingRow): readonly SqlValue[] => [
  row.deviceId,
  row.timestamp,
  JSON.stringify(row.metrics),
  row.receivedAt,
  row.correlationId,
  row.position,
  row.correctedBy,
];

const ledgerValues = (row: LedgerRow): readonly SqlValue[] => [
  row.deviceId,
  row.day,
  row.stored,
  row.duplicate,
  row.corrected,
  row.deadLettered,
  row.late,
  row.retracted,
];

const ofLevel = <T extends RollupKey>(rows: readonly T[], level: RollupLevel): readonly T[] =>
  rows.filter((row) => row.level === level);

/** Counts rows of a device that have expired, by the day on which they came, as the ledger does. */
export async function countExpired(
  tx: Sql,
  generation: number,
  partition: number,
  deviceId: string,
  receivedAt: readonly number[],
): Promise<void> {
  const table = tableOf('telemetry_expired', generation);
  const counts = new Map<number, number>();
  for (const at of receivedAt) counts.set(bucketOf('1d', at), (counts.get(bucketOf('1d', at)) ?? 0) + 1);
  const before = new Map(
    await inChunks([...counts.keys()], (days) =>
      tx.rows<[number, number]>(
        `SELECT day, expired FROM ${table} WHERE device_id = ? AND day IN (${placeholders(days)})${forUpdate(tx)}`,
        [deviceId, ...days],
      ),
    ),
  );
  await tx.write(
    'replace',
    table,
    ['device_id', 'day', 'expired'],
    [...counts].map(([day, count]) => [deviceId, day, count + (before.get(day) ?? 0)]),
  );
  await addToTotals(tx, generation, partition, [{ expired: receivedAt.length }]);
}

/** For rows that are read to be changed: SQLite has one writer at a time anyway. */
export const forUpdate = ({ dialect }: Sql): string => (dialect === 'mysql' ? ' FOR UPDATE' : '');
