import type { LedgerCounts, LedgerTotals } from '../../application/ports/read-models.ts';
import { createTable } from './ddl.ts';
import { tableOf } from './generation-tables.ts';
import type { Sql, SqlDatabase, SqlQueries } from './sql.ts';

/**
 * Sums of the ledgers, changed in the transactions that change their rows: a row for each partition, since workers of
 * two of them would wait for each other in one, and a row for what is done beside the projectors.
 */
export const ledgerTotalsTable = (dialect: Sql['dialect']): string =>
  createTable(dialect, 'telemetry_totals', [
    'generation INTEGER NOT NULL',
    'part INTEGER NOT NULL',
    ...totalsColumns.map((column) => `${column} BIGINT NOT NULL`),
    'PRIMARY KEY (generation, part)',
  ]);

/** The row of sweeps, erasures and repairs of single devices. */
export const besideProjectors = -1;

/**
 * Of a checkpoint, its epoch for as long as all that it stands for is in the totals. A worker of a release without
 * totals leaves NULL or an older epoch.
 */
export const countedEpochColumn = 'counted_epoch BIGINT';

const ledgerColumns = ['stored_count', 'duplicate', 'corrected', 'dead_lettered', 'late', 'retracted'];
const totalsColumns = [...ledgerColumns, 'expired'];

type Sums = readonly (number | string)[];

// MySQL sums to a DECIMAL, which its driver gives as text.
const totalsOf = (sums: Sums): LedgerTotals => {
  const [stored = 0, duplicate = 0, corrected = 0, deadLettered = 0, late = 0, retracted = 0, expired = 0] =
    sums.map(Number);
  return { stored, duplicate, corrected, deadLettered, late, retracted, expired };
};

const valuesOf = (totals: LedgerTotals): readonly number[] => [
  totals.stored,
  totals.duplicate,
  totals.corrected,
  totals.deadLettered,
  totals.late,
  totals.retracted,
  totals.expired,
];

const noTotals: LedgerTotals = totalsOf([]);

export async function addToTotals(
  tx: Sql,
  generation: number,
  partition: number,
  changes: readonly Partial<LedgerCounts & LedgerTotals>[],
): Promise<void> {
  const sums = totalsColumns.map(() => 0);
  for (const change of changes)
    valuesOf({ ...noTotals, ...change }).forEach((count, i) => {
      sums[i] = (sums[i] ?? 0) + count;
    });
  if (sums.every((sum) => sum === 0)) return;
  await tx.write(
    'add',
    'telemetry_totals',
    ['generation', 'part', ...totalsColumns],
    [[generation, partition, ...sums]],
  );
}

/** Runs what changes the ledger of one device beside its projector. */
export async function countingDevice(
  tx: Sql,
  generation: number,
  deviceId: string,
  work: () => Promise<void>,
): Promise<void> {
  const select = ledgerSums(generation, 'WHERE device_id = ?');
  const sums = async () => totalsOf((await tx.rows<Sums>(select, [deviceId, deviceId]))[0] ?? []);
  const before = await sums();
  await work();
  await addToTotals(tx, generation, besideProjectors, [difference(await sums(), before)]);
}

/** Sums over a ledger; a condition stands for its table and for that of what has expired. */
const ledgerSums = (generation: number, where = ''): string =>
  `SELECT ${ledgerColumns.map(sumOf).join(', ')},
   (SELECT ${sumOf('expired')} FROM ${tableOf('telemetry_expired', generation)} ${where})
   FROM ${tableOf('telemetry_ledger', generation)} ${where}`;

const sumOf = (column: string): string => `COALESCE(SUM(${column}), 0)`;

const difference = (a: LedgerTotals, b: LedgerTotals): LedgerTotals =>
  totalsOf(valuesOf(a).map((count, i) => count - (valuesOf(b)[i] ?? 0)));

/** The totals of the active generation; `undefined` where some of its readings are not in them. */
export async function activeTotals(sql: SqlQueries): Promise<LedgerTotals | undefined> {
  // In one statement, so that nobody can drop the generation in between.
  const [[uncounted, ...sums] = [1]] = await sql.rows<[number, ...Sums]>(
    `SELECT (SELECT COUNT(*) FROM checkpoints c JOIN projections p ON p.name = c.projection AND p.active = c.generation
       WHERE c.projection = 'telemetry' AND (c.counted_epoch IS NULL OR c.counted_epoch <> c.epoch)), ${totalsColumns.map(sumOf).join(', ')}
     FROM telemetry_totals t JOIN projections p ON p.name = 'telemetry' AND p.active = t.generation`,
  );
  return Number(uncounted) === 0 ? totalsOf(sums) : undefined;
}

export async function recountedTotals(sql: SqlQueries, generation: number): Promise<LedgerTotals> {
  return totalsOf((await sql.rows<Sums>(ledgerSums(generation)))[0] ?? []);
}

/** A ledger's sums and its totals at one moment: every transaction changes both. */
export async function comparedTotals(
  sql: SqlQueries,
  generation: number,
): Promise<{ readonly ledger: LedgerTotals; readonly totals: LedgerTotals }> {
  // The one statement reads one state of the tables.
  const [sums = []] = await sql.rows<Sums>(
    `SELECT * FROM (${ledgerSums(generation)}) l CROSS JOIN
     (SELECT ${totalsColumns.map(sumOf).join(', ')} FROM telemetry_totals WHERE generation = ?) t`,
    [generation],
  );
  const width = totalsColumns.length;
  return { ledger: totalsOf(sums.slice(0, width)), totals: totalsOf(sums.slice(width)) };
}

type Counted = [part: number, epoch: number, countedEpoch: number | null, position: string | null];

/**
 * Adds what the totals of a generation lack, and answers whether they are whole: not while a worker of a release
 * without totals has written since.
 */
export async function countMissing(tx: Sql, generation: number): Promise<boolean> {
  const select = `SELECT part, epoch, counted_epoch, position FROM checkpoints
    WHERE projection = 'telemetry' AND generation = ? ORDER BY part`;
  const before = await tx.rows<Counted>(select, [generation]);
  const { ledger, totals } = await comparedTotals(tx, generation);
  // The sums take long: only now are projectors to wait.
  const since = await tx.rows<Counted>(select + (tx.dialect === 'mysql' ? ' FOR UPDATE' : ''), [generation]);
  if (JSON.stringify(since.flatMap(uncounted)) !== JSON.stringify(before.flatMap(uncounted))) return false;
  await addToTotals(tx, generation, besideProjectors, [difference(ledger, totals)]);
  await tx.run(
    `UPDATE checkpoints SET counted_epoch = epoch WHERE projection = 'telemetry' AND generation = ?`,
    [generation],
  );
  return true;
}

/** A worker that has been silent for so many milliseconds has ended, or has nothing to do. */
const silence = 60_000;

/** Does so once no worker of such a release writes any longer. */
export async function completeTotals(db: SqlDatabase, generation: number, now: number): Promise<void> {
  const [[missing, changing] = [0, 0]] = await db.rows<[number, number | string | null]>(
    `SELECT COUNT(*), SUM(CASE WHEN counted_epoch IS NULL AND updated_at > ? THEN 1 ELSE 0 END) FROM checkpoints
     WHERE projection = 'telemetry' AND generation = ? AND (counted_epoch IS NULL OR counted_epoch <> epoch)`,
    [now - silence, generation],
  );
  if (Number(missing) > 0 && Number(changing) === 0)
    await db.transaction((tx) => countMissing(tx, generation));
}

/** Workers of this release, which count what they write, may move a checkpoint meanwhile. */
const uncounted = ([part, epoch, countedEpoch, position]: Counted): readonly unknown[] =>
  countedEpoch === epoch ? [] : [part, epoch, countedEpoch, countedEpoch === null ? position : null];
