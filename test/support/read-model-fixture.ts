import type { DeviceQueries, ProgressQueries, TelemetryQueries } from '../../application/ports/queries.ts';
import type {
  DeviceHistoryRow,
  DeviceRow,
  LatestMetrics,
  LedgerRow,
  ProjectionTables,
  RollupRow,
} from '../../application/ports/read-models.ts';
import { type ProjectionName, projectionNames } from '../../application/projections/projection.ts';
import { addPoint, bucketOf, type RollupStats, rollupLevels } from '../../domain/rollup.ts';
import type { Reading } from '../../domain/telemetry.ts';
import { sqlDeviceQueries } from '../../infrastructure/sql/device-queries.ts';
import { sqlProjectionTables } from '../../infrastructure/sql/device-tables.ts';
import {
  createGeneration,
  dropGeneration,
  publishViews,
  tableOf,
  tablesOf,
} from '../../infrastructure/sql/generation-tables.ts';
import { sqlProgressQueries } from '../../infrastructure/sql/progress-queries.ts';
import { migrateReadModels } from '../../infrastructure/sql/schema.ts';
import type { SqlDatabase, SqlQueries } from '../../infrastructure/sql/sql.ts';
import { sqlTelemetryQueries } from '../../infrastructure/sql/telemetry-queries.ts';

/** Read models filled without a projector, and the queries over them. */
export type ReadModelFixture = {
  readonly db: SqlDatabase;
  readonly devices: DeviceQueries;
  readonly telemetry: TelemetryQueries;
  readonly progress: ProgressQueries;
  empty(): Promise<void>;
  registered(...devices: readonly (Partial<DeviceRow> & { deviceId: string })[]): Promise<void>;
  happened(
    ...entries: readonly (Partial<DeviceHistoryRow> & { deviceId: string; revision: number })[]
  ): Promise<void>;
  /** Readings of devices that have none yet, no two of one moment. */
  measured(...readings: readonly Reading[]): Promise<void>;
  ledgered(...rows: readonly LedgerRow[]): Promise<void>;
  /** Rows that are gone, by when they came. */
  expired(deviceId: string, receivedAt: readonly number[]): Promise<void>;
  /** Copies the active generation, makes the copy the active one and drops the other. */
  replaceGeneration(projection: ProjectionName): Promise<void>;
  /** The same queries, but every active generation is replaced between a query's asking for it and its reading it. */
  replacedUnderWay(): Pick<ReadModelFixture, 'devices' | 'telemetry' | 'progress'>;
};

export async function readModelFixture(db: SqlDatabase): Promise<ReadModelFixture> {
  await migrateReadModels(db, 0);
  return {
    db,
    ...queriesOver(db),

    async empty() {
      for (const projection of projectionNames)
        for (const { base } of tablesOf(projection))
          await db.run(`DELETE FROM ${tableOf(base, await activeGeneration(projection))}`);
      for (const table of ['checkpoints', 'dead_letters', 'telemetry_totals'])
        await db.run(`DELETE FROM ${table}`);
    },

    registered: (...devices) => write('devices', (tables) => tables.devices.put(devices.map(deviceLike))),

    happened: (...entries) => write('device_history', (tables) => tables.history.put(entries.map(entryLike))),

    measured: (...readings) =>
      write('telemetry', (tables) =>
        tables.telemetry.write({
          inserted: readings.map((reading, i) => ({
            ...reading,
            receivedAt: 0,
            correlationId: 'c-1',
            position: String(i),
            correctedBy: null,
          })),
          latest: latestOf(readings),
          rollups: rollupsOf(readings),
        }),
      ),

    ledgered: (...ledger) => write('telemetry', (tables) => tables.telemetry.write({ ledger })),

    expired: (deviceId, receivedAt) =>
      write('telemetry', (tables) =>
        tables.telemetry.write({
          expired: receivedAt.map((at) => ({ deviceId, timestamp: at, receivedAt: at, isStored: false })),
        }),
      ),

    replaceGeneration,
    replacedUnderWay: () => queriesOver(replacing(db, replaceGeneration)),
  };

  async function write(
    projection: ProjectionName,
    work: (tables: ProjectionTables) => Promise<void>,
  ): Promise<void> {
    const generation = await activeGeneration(projection);
    await db.transaction((tx) => work(sqlProjectionTables(tx, { projection, generation }, 0)));
  }

  async function activeGeneration(projection: ProjectionName): Promise<number> {
    const [row] = await db.rows<[number]>('SELECT active FROM projections WHERE name = ?', [projection]);
    return row?.[0] ?? 0;
  }

  async function replaceGeneration(projection: ProjectionName): Promise<void> {
    const active = await activeGeneration(projection);
    const next = active + 1;
    await createGeneration(db, projection, next);
    for (const { base } of tablesOf(projection))
      await db.run(`INSERT INTO ${tableOf(base, next)} SELECT * FROM ${tableOf(base, active)}`);
    if (projection === 'telemetry')
      await db.run('UPDATE telemetry_totals SET generation = ? WHERE generation = ?', [next, active]);
    await db.run('UPDATE projections SET active = ? WHERE name = ?', [next, projection]);
    await publishViews(db, projection, next);
    await dropGeneration(db, projection, active);
  }
}

const queriesOver = (sql: SqlQueries) => ({
  devices: sqlDeviceQueries(sql),
  telemetry: sqlTelemetryQueries(sql),
  progress: sqlProgressQueries(sql),
});

/** Replaces all generations once, right after somebody asked which are active. */
function replacing(db: SqlDatabase, replace: (projection: ProjectionName) => Promise<void>): SqlQueries {
  let replaced = false;
  const thenReplace = async <T>(text: string, answer: Promise<T>): Promise<T> => {
    const rows = await answer;
    if (!replaced && /\bactive FROM projections/.test(text)) {
      replaced = true;
      for (const projection of projectionNames) await replace(projection);
    }
    return rows;
  };
  return {
    dialect: db.dialect,
    all: (text, params) => thenReplace(text, db.all(text, params)),
    rows: (text, params) => thenReplace(text, db.rows(text, params)),
  };
}

export const deviceLike = (device: Partial<DeviceRow> & { deviceId: string }): DeviceRow => ({
  name: device.deviceId,
  type: 'sensor',
  status: 'active',
  labels: {},
  revision: 0,
  registeredAt: '2024-01-01T00:00:00.000Z',
  updatedAt: '2024-01-01T00:00:00.000Z',
  ...device,
});

export const entryLike = (
  entry: Partial<DeviceHistoryRow> & { deviceId: string; revision: number },
): DeviceHistoryRow => ({
  event: 'DeviceRegistered',
  changes: [],
  reason: null,
  actor: 'operator',
  at: '2024-01-01T00:00:00.000Z',
  correlationId: 'c-1',
  causationId: 'c-1',
  eventId: `${entry.deviceId}-${entry.revision}`,
  state: { name: 'n', type: 't', labels: {}, status: 'active' },
  ...entry,
});

function latestOf(readings: readonly Reading[]) {
  const devices = new Map<
    string,
    { timestamp: number; metrics: Map<string, [Reading['metrics'][string], number]> }
  >();
  for (const { deviceId, timestamp, metrics } of [...readings].sort((a, b) => a.timestamp - b.timestamp)) {
    const latest = devices.get(deviceId) ?? { timestamp, metrics: new Map() };
    latest.timestamp = timestamp;
    for (const [metric, value] of Object.entries(metrics)) latest.metrics.set(metric, [value, timestamp]);
    devices.set(deviceId, latest);
  }
  return [...devices].map(([deviceId, { timestamp, metrics }]) => ({
    deviceId,
    timestamp,
    metrics: metrics as LatestMetrics,
  }));
}

function rollupsOf(readings: readonly Reading[]): readonly RollupRow[] {
  const rows = new Map<string, RollupRow & { metrics: Map<string, RollupStats> }>();
  for (const { deviceId, timestamp, metrics } of readings)
    for (const level of rollupLevels) {
      const bucket = bucketOf(level, timestamp);
      const key = `${deviceId} ${level} ${bucket}`;
      const row = rows.get(key) ?? { deviceId, level, bucket, metrics: new Map<string, RollupStats>() };
      for (const [metric, value] of Object.entries(metrics))
        row.metrics.set(metric, addPoint(row.metrics.get(metric), value, timestamp));
      rows.set(key, row);
    }
  return [...rows.values()];
}
