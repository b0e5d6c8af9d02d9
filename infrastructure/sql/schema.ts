import { type ProjectionName, projectionNames, versionOf } from '../../application/projections/projection.ts';
import { StartupError } from '../startup-error.ts';
import { createTable, hasColumn, sequence } from './ddl.ts';
import { alarmTables } from './detection-schema.ts';
import { eventPlacesTable } from './event-places.ts';
import { addIndexes, createGeneration, lateColumn, publishViews, tableOf } from './generation-tables.ts';
import { countedEpochColumn, countMissing, ledgerTotalsTable } from './ledger-totals.ts';
import type { Sql, SqlDatabase, SqlQueries } from './sql.ts';

/** Grows with every change below; a database that says more was written by a newer release. */
const schemaVersion = 14;

/** Brings the read-model tables up to this release, from nothing or from any older one. */
export async function migrateReadModels(db: SqlDatabase, now: number): Promise<void> {
  // Fast path: the schema is current, so a reader never opens a write connection.
  const isThere = await hasColumn(db, 'schema_migrations', 'version');
  if (isThere && (await storedVersion(db)) === schemaVersion) return;
  await db.run(
    `CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)`,
  );
  await db.transaction((tx) =>
    alone(tx, async () => {
      const found = await storedVersion(tx);
      if (found > schemaVersion)
        throw new StartupError(
          `The read models have schema ${found}, this release knows ${schemaVersion}: start the newer release that wrote them`,
        );
      if (found < schemaVersion) await upgrade(tx, found, now);
    }),
  );
}

/** MySQL commits with every change of a schema, so the transaction alone keeps nobody out. */
async function alone(tx: Sql, work: () => Promise<void>): Promise<void> {
  if (tx.dialect !== 'mysql') return work();
  const [[isHeld] = [0]] = await tx.rows<[number]>(`SELECT GET_LOCK(${migrationLock}, 60)`);
  if (Number(isHeld) !== 1)
    throw new StartupError(
      'Another process has migrated the read models for more than a minute: wait until it is done, then start again',
    );
  try {
    await work();
  } finally {
    // The lock is the connection's, which others are to use; one that was lost has released it.
    await tx.all(`SELECT RELEASE_LOCK(${migrationLock})`).catch(() => {});
  }
}

/** MySQL takes names of 64 characters. Two databases that share one only wait for each other. */
const migrationLock = "LEFT(CONCAT('fieldlog migrates ', DATABASE()), 64)";

/** May be cut short anywhere in MySQL, and is then run again. */
async function upgrade(tx: Sql, found: number, now: number): Promise<void> {
  if (found < 1) for (const statement of controlTables(tx.dialect)) await tx.run(statement);
  if (found < 2) await tx.run(apiKeysTable(tx.dialect));
  if (found < 3) await tx.run(auditsTable(tx.dialect));
  if (found < 4) for (const statement of retentionTables(tx.dialect)) await tx.run(statement);
  for (const statement of alarmTables(tx.dialect)) await tx.run(statement);
  await addProjections(tx, now);
  await upgradeLedgers(tx);
  await upgradeColumns(tx);
  await upgradeIndexes(tx);
  await tx.run(logPartitionsTable(tx.dialect));
  await tx.run(erasuresTable(tx.dialect));
  await tx.run(eventPlacesTable(tx.dialect));
  await upgradeTotals(tx);
  const projections = await tx.rows<[ProjectionName, number]>('SELECT name, published FROM projections');
  for (const [name, published] of projections) await publishViews(tx, name, published);
  await tx.write('replace', 'schema_migrations', ['version', 'applied_at'], [[schemaVersion, now]]);
}

async function storedVersion(sql: SqlQueries): Promise<number> {
  const [row] = await sql.all<{ version: number | null }>(
    'SELECT MAX(version) AS version FROM schema_migrations',
  );
  return row?.version ?? 0;
}

/** Those that this release has and the database lacks. */
async function addProjections(tx: Sql, now: number): Promise<void> {
  const known = new Set((await tx.rows<[string]>('SELECT name FROM projections')).map(([name]) => name));
  for (const name of projectionNames) {
    if (known.has(name)) continue;
    await createGeneration(tx, name, 1);
    await tx.write('replace', 'projections', ['name', 'active', 'published', 'paused'], [[name, 1, 1, 0]]);
    await tx.write(
      'replace',
      'generations',
      ['projection', 'generation', 'version', 'status', 'created_at'],
      [[name, 1, versionOf(name), 'active', now]],
    );
  }
}

const apiKeysTable = (dialect: Sql['dialect']): string =>
  createTable(dialect, 'api_keys', [
    'name VARCHAR(64) NOT NULL PRIMARY KEY',
    'hash VARCHAR(64) NOT NULL',
    'scopes VARCHAR(255) NOT NULL',
    'created_at BIGINT NOT NULL',
    'expires_at BIGINT',
    'revoked_at BIGINT',
    boundColumn,
  ]);

const auditsTable = (dialect: Sql['dialect']): string =>
  createTable(dialect, 'audits', [
    'projection VARCHAR(32) NOT NULL PRIMARY KEY',
    'ended_at BIGINT NOT NULL',
    'differences BIGINT NOT NULL',
  ]);

/** Adds the tables and columns that the generations of older releases lack. */
async function upgradeLedgers(tx: Sql): Promise<void> {
  const generations = await tx.rows<[number]>(
    "SELECT generation FROM generations WHERE projection = 'telemetry'",
  );
  for (const [generation] of generations) {
    await createGeneration(tx, 'telemetry', generation);
    const ledger = tableOf('telemetry_ledger', generation);
    if (!(await hasColumn(tx, ledger, 'late')))
      await tx.run(`ALTER TABLE ${ledger} ADD COLUMN ${lateColumn}`);
    // A reserved word of MySQL.
    if (await hasColumn(tx, ledger, 'stored'))
      await tx.run(`ALTER TABLE ${ledger} RENAME COLUMN "stored" TO stored_count`);
  }
}

/** Counts what releases without totals have counted in the ledgers. */
async function upgradeTotals(tx: Sql): Promise<void> {
  await tx.run(ledgerTotalsTable(tx.dialect));
  const generations = await tx.rows<[number]>(
    "SELECT generation FROM generations WHERE projection = 'telemetry'",
  );
  // One that a worker of an older release writes at this moment is counted when that has ended.
  for (const [generation] of generations) await countMissing(tx, generation);
}

/** Finds devices by their state and type in the generations of older releases, too. */
async function upgradeIndexes(tx: Sql): Promise<void> {
  const generations = await tx.rows<[number]>(
    "SELECT generation FROM generations WHERE projection = 'devices'",
  );
  for (const [generation] of generations) await addIndexes(tx, 'devices', generation);
}

/** Adds what older releases lack beside checkpoints; what was not written then is not known. */
async function upgradeColumns(tx: Sql): Promise<void> {
  const added = [
    ...[eventIdColumn, logIdColumn, ...skippedColumns, countedEpochColumn].map(
      (column) => ['checkpoints', column] as const,
    ),
    ['projections', refusedColumn] as const,
    ['api_keys', boundColumn] as const,
  ];
  for (const [table, column] of added)
    if (!(await hasColumn(tx, table, column.split(' ')[0] as string)))
      await tx.run(`ALTER TABLE ${table} ADD COLUMN ${column}`);
}

const logPartitionsTable = (dialect: Sql['dialect']): string =>
  createTable(dialect, 'log_partitions', [
    'log_id VARCHAR(160) NOT NULL PRIMARY KEY',
    'partitions INTEGER NOT NULL',
    'since BIGINT NOT NULL',
  ]);

/** What is done already of the erasures of devices. */
const erasuresTable = (dialect: Sql['dialect']): string =>
  createTable(dialect, 'erasures', [
    'device_id VARCHAR(128) NOT NULL PRIMARY KEY',
    'revision BIGINT NOT NULL',
    'truncated_at BIGINT NOT NULL',
    'done_at BIGINT',
  ]);

const retentionTables = (dialect: Sql['dialect']): readonly string[] => [
  createTable(dialect, 'retention_policies', [
    'since BIGINT NOT NULL PRIMARY KEY',
    'policy MEDIUMTEXT NOT NULL',
  ]),
  createTable(dialect, 'retention_sweeps', [
    'projection VARCHAR(32) NOT NULL',
    'generation INTEGER NOT NULL',
    'swept_to BIGINT',
    'target BIGINT',
    'after_device VARCHAR(128) NOT NULL',
    'removed MEDIUMTEXT NOT NULL',
    'ended_at BIGINT',
    'PRIMARY KEY (projection, generation)',
  ]),
  createTable(dialect, 'retention_turn', [
    'projection VARCHAR(32) NOT NULL PRIMARY KEY',
    'runner VARCHAR(160)',
    'heard_at BIGINT NOT NULL',
  ]),
];

/** The event of another program up to which the log has nothing to consume behind the checkpoint. */
const skippedColumns = ['skipped_to VARCHAR(64)', 'skipped_event VARCHAR(160)'];

const eventIdColumn = 'event_id VARCHAR(160)';
const logIdColumn = 'log_id VARCHAR(160)';
const boundColumn = 'bound_to TEXT';
const refusedColumn = 'refused MEDIUMTEXT';

function controlTables(dialect: Sql['dialect']): readonly string[] {
  return [
    createTable(dialect, 'projections', [
      'name VARCHAR(32) NOT NULL PRIMARY KEY',
      'active INTEGER NOT NULL',
      'published INTEGER NOT NULL',
      'paused INTEGER NOT NULL',
      refusedColumn,
    ]),
    createTable(dialect, 'generations', [
      'projection VARCHAR(32) NOT NULL',
      'generation INTEGER NOT NULL',
      'version INTEGER NOT NULL',
      'status VARCHAR(16) NOT NULL',
      'device VARCHAR(128)',
      'runner VARCHAR(160)',
      'heard_at BIGINT',
      'progress MEDIUMTEXT',
      'outcome MEDIUMTEXT',
      'created_at BIGINT NOT NULL',
      'retired_at BIGINT',
      'PRIMARY KEY (projection, generation)',
    ]),
    createTable(dialect, 'checkpoints', [
      'projection VARCHAR(32) NOT NULL',
      'generation INTEGER NOT NULL',
      'part INTEGER NOT NULL',
      'position VARCHAR(64)',
      eventIdColumn,
      logIdColumn,
      'epoch BIGINT NOT NULL',
      'updated_at BIGINT NOT NULL',
      ...skippedColumns,
      countedEpochColumn,
      'PRIMARY KEY (projection, generation, part)',
    ]),
    createTable(dialect, 'dead_letters', [
      `id ${sequence(dialect)}`,
      'projection VARCHAR(32) NOT NULL',
      'generation INTEGER NOT NULL',
      'part INTEGER NOT NULL',
      'position VARCHAR(64) NOT NULL',
      'stream VARCHAR(160) NOT NULL',
      'event_id VARCHAR(160) NOT NULL',
      'event_type VARCHAR(160) NOT NULL',
      'cause VARCHAR(32) NOT NULL',
      'error MEDIUMTEXT NOT NULL',
      'stack MEDIUMTEXT',
      'correlation_id VARCHAR(160) NOT NULL',
      'event MEDIUMTEXT NOT NULL',
      'parked_at BIGINT NOT NULL',
      'discarded_at BIGINT',
      'discarded_by VARCHAR(160)',
      'discard_reason MEDIUMTEXT',
      'UNIQUE (projection, generation, part, position)',
      // MySQL has no CREATE INDEX that may be run again, which a migration cut short will be.
      ...(dialect === 'mysql' ? ['KEY dead_letters_by_stream (projection, generation, stream)'] : []),
    ]),
    ...(dialect === 'sqlite'
      ? ['CREATE INDEX IF NOT EXISTS dead_letters_by_stream ON dead_letters (projection, generation, stream)']
      : []),
  ];
}
