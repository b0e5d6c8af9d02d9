import type { ProjectionName } from '../../application/projections/projection.ts';
import { rollupLevels } from '../../domain/rollup.ts';
import { createTable, hasIndex } from './ddl.ts';
import { detectionColumns, detectionIndexes } from './detection-schema.ts';
import type { Sql } from './sql.ts';
import { viewsOf } from './views.ts';

/** A table of one generation: `telemetry_g2`. */
export const tableOf = (base: string, generation: number): string => `${base}_g${generation}`;

/** The tables of a projection's generation by base name, with their columns. */
export function tablesOf(
  projection: ProjectionName,
): readonly { base: string; columns: readonly string[] }[] {
  return Object.entries(generationTables[projection]).map(([base, definitions]) => ({
    base,
    columns: definitions
      .filter((text) => !text.startsWith('PRIMARY'))
      .map((text) => text.split(' ')[0] as string),
  }));
}

export async function createGeneration(
  sql: Sql,
  projection: ProjectionName,
  generation: number,
): Promise<void> {
  for (const [base, columns] of Object.entries(generationTables[projection])) {
    const keys = Object.entries(indexes[base] ?? {}).map(
      ([index, key]) => `KEY ${tableOf(index, generation)} (${key})`,
    );
    const all = [...columns, ...(sql.dialect === 'mysql' ? keys : [])];
    await sql.run(createTable(sql.dialect, tableOf(base, generation), all, 'clustered'));
    if (sql.dialect === 'sqlite') await addIndexes(sql, base, generation);
  }
}

/** Those that a table of an older release lacks. */
export async function addIndexes(sql: Sql, base: string, generation: number): Promise<void> {
  const table = tableOf(base, generation);
  for (const [index, key] of Object.entries(indexes[base] ?? {})) {
    const name = tableOf(index, generation);
    if (sql.dialect === 'sqlite') await sql.run(`CREATE INDEX IF NOT EXISTS ${name} ON ${table} (${key})`);
    else if (!(await hasIndex(sql, table, name)))
      await sql.run(`ALTER TABLE ${table} ADD KEY ${name} (${key})`);
  }
}

/** The columns by which rows are found besides their key, by table and index. */
const indexes: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  devices: { devices_by_status: 'status', devices_by_type: 'type' },
  ...detectionIndexes,
};

export async function dropGeneration(
  sql: Sql,
  projection: ProjectionName,
  generation: number,
): Promise<void> {
  for (const { base } of tablesOf(projection))
    await sql.run(`DROP TABLE IF EXISTS ${tableOf(base, generation)}`);
}

/** Points what analysts select from at a generation. */
export async function publishViews(sql: Sql, projection: ProjectionName, generation: number): Promise<void> {
  for (const [name, select] of Object.entries(viewsOf(projection, sql.dialect, generation))) {
    if (sql.dialect === 'mysql') await sql.run(`CREATE OR REPLACE VIEW ${name} AS ${select}`);
    else {
      await sql.run(`DROP VIEW IF EXISTS ${name}`);
      await sql.run(`CREATE VIEW ${name} AS ${select}`);
    }
  }
}

export const lateColumn = 'late BIGINT NOT NULL DEFAULT 0';

const rollupColumns = [
  'device_id VARCHAR(128) NOT NULL',
  'bucket BIGINT NOT NULL',
  'metrics MEDIUMTEXT NOT NULL',
  'PRIMARY KEY (device_id, bucket)',
];

/** Times are epoch milliseconds; documents are JSON. */
const generationTables: Record<ProjectionName, Record<string, readonly string[]>> = {
  devices: {
    devices: [
      'device_id VARCHAR(128) NOT NULL PRIMARY KEY',
      'name VARCHAR(200) NOT NULL',
      'type VARCHAR(64) NOT NULL',
      'status VARCHAR(16) NOT NULL',
      'labels MEDIUMTEXT NOT NULL',
      'search MEDIUMTEXT NOT NULL',
      'revision BIGINT NOT NULL',
      'registered_at VARCHAR(32) NOT NULL',
      'updated_at VARCHAR(32) NOT NULL',
    ],
    device_labels: [
      'device_id VARCHAR(128) NOT NULL',
      'label VARCHAR(64) NOT NULL',
      'value VARCHAR(256) NOT NULL',
      'PRIMARY KEY (label, value, device_id)',
    ],
  },
  device_history: {
    device_history: [
      'device_id VARCHAR(128) NOT NULL',
      'revision BIGINT NOT NULL',
      'event VARCHAR(64) NOT NULL',
      'changes MEDIUMTEXT NOT NULL',
      'reason MEDIUMTEXT',
      'actor VARCHAR(160) NOT NULL',
      'at VARCHAR(32) NOT NULL',
      'correlation_id VARCHAR(160) NOT NULL',
      'causation_id VARCHAR(160) NOT NULL',
      'event_id VARCHAR(64) NOT NULL',
      'state MEDIUMTEXT NOT NULL',
      'PRIMARY KEY (device_id, revision)',
    ],
  },
  telemetry: {
    telemetry: [
      'device_id VARCHAR(128) NOT NULL',
      'ts BIGINT NOT NULL',
      'metrics MEDIUMTEXT NOT NULL',
      'received_at BIGINT NOT NULL',
      'correlation_id VARCHAR(160) NOT NULL',
      'position VARCHAR(64) NOT NULL',
      'corrected_by VARCHAR(160)',
      'PRIMARY KEY (device_id, ts)',
    ],
    telemetry_latest: [
      'device_id VARCHAR(128) NOT NULL PRIMARY KEY',
      'ts BIGINT NOT NULL',
      'metrics MEDIUMTEXT NOT NULL',
    ],
    ...Object.fromEntries(rollupLevels.map((level) => [`telemetry_${level}`, rollupColumns])),
    telemetry_ledger: [
      'device_id VARCHAR(128) NOT NULL',
      'day BIGINT NOT NULL',
      'stored_count BIGINT NOT NULL',
      'duplicate BIGINT NOT NULL',
      'corrected BIGINT NOT NULL',
      'dead_lettered BIGINT NOT NULL',
      'retracted BIGINT NOT NULL',
      lateColumn,
      'PRIMARY KEY (device_id, day)',
    ],
    // Apart from the ledger, whose rows the projector alone writes.
    telemetry_expired: [
      'device_id VARCHAR(128) NOT NULL',
      'day BIGINT NOT NULL',
      'expired BIGINT NOT NULL',
      'PRIMARY KEY (device_id, day)',
    ],
  },
  detection: detectionColumns,
};
