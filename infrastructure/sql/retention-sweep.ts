import type { GenerationId } from '../../application/ports/read-models.ts';
import type { RetentionTables, TrimOrder } from '../../application/ports/retention.ts';
import { bucketOf, rollupLevels } from '../../domain/rollup.ts';
import { tableOf, tablesOf } from './generation-tables.ts';
import { besideProjectors, completeTotals } from './ledger-totals.ts';
import { bumpEpoch, lockCheckpoints } from './read-models.ts';
import { chunks, clampToInteger, placeholders, type Sql, type SqlDatabase, type SqlValue } from './sql.ts';
import { countExpired, forUpdate } from './telemetry-tables.ts';

/** Whole rows, so that those that change are written back by the engine's fastest way. A point's fourth column is when it came. */
type Row = readonly [deviceId: string, time: number, metrics: string, ...others: SqlValue[]];

export const sqlRetentionTables = (db: SqlDatabase): RetentionTables => ({
  async devices({ generation }, after, limit) {
    const ledger = tableOf('telemetry_ledger', generation);
    const rows = await db.rows<[string]>(
      `SELECT DISTINCT device_id FROM ${ledger} WHERE device_id > ? ORDER BY device_id LIMIT ?`,
      [after, limit],
    );
    return rows.map(([deviceId]) => deviceId);
  },

  trim: (generation, order) =>
    db.transaction(async (tx) => {
      if (order.shared) await lockCheckpoints(tx, generation);
      const { result, touched } = await trim(tx, generation.generation, order);
      if (order.shared && (await isOpenBucket(tx, generation, order, touched)))
        await bumpEpoch(tx, generation);
      return result;
    }),

  carry: (from, to, order) => copyOrphanRollups(db, from, to, order),

  completeTotals: ({ generation }, now) => completeTotals(db, generation, now),

  async hasOrphanRollups({ generation }) {
    const rows = await db.rows(`SELECT 1 FROM ${tableOf('telemetry_expired', generation)} LIMIT 1`);
    return rows.length > 0;
  },

  async count({ generation }, { kind, deviceId, from, to }) {
    const { table, time } = placeOf(kind, generation);
    const [row] = await db.rows<[number]>(
      `SELECT COUNT(*) FROM ${table} WHERE device_id = ? AND ${time} >= ? AND ${time} < ?`,
      [deviceId, clampToInteger(from), clampToInteger(to)],
    );
    return Number(row?.[0] ?? 0);
  },
});

const placeOf = (kind: TrimOrder['kind'], generation: number) => {
  const base = kind === 'points' ? 'telemetry' : `telemetry_${kind}`;
  const { columns } = tablesOf('telemetry').find((one) => one.base === base) ?? { columns: [] };
  return { table: tableOf(base, generation), time: kind === 'points' ? 'ts' : 'bucket', columns };
};

async function trim(tx: Sql, generation: number, { kind, deviceId, from, to, horizonOf, limit }: TrimOrder) {
  const { table, time, columns } = placeOf(kind, generation);
  // Locked, so that of two that remove at once each row is counted by one.
  const rows = await tx.rows<Row>(
    `SELECT ${columns.join(', ')} FROM ${table} WHERE device_id = ? AND ${time} >= ? AND ${time} < ?
     ORDER BY ${time} LIMIT ?${forUpdate(tx)}`,
    [deviceId, clampToInteger(from), clampToInteger(to), limit],
  );
  const { gone, changed } = judged(rows, horizonOf);
  if (gone.length === rows.length) await removeFrom(gone[0]?.[1] ?? 0, gone.at(-1)?.[1] ?? -1);
  else
    for (const some of chunks(gone))
      await tx.run(`DELETE FROM ${table} WHERE device_id = ? AND ${time} IN (${placeholders(some)})`, [
        deviceId,
        ...some.map(([, at]) => at),
      ]);
  await tx.write('replace', table, columns, changed);
  if (kind === 'points' && gone.length > 0)
    await countExpired(
      tx,
      generation,
      besideProjectors,
      deviceId,
      gone.map(([, , , receivedAt]) => Number(receivedAt)),
    );
  const last = rows.at(-1);
  const next = last && rows.length === limit ? last[1] + 1 : null;
  return {
    result: { removed: gone.length, trimmed: changed.length, next },
    touched: changed.map(([, at]) => at),
  };

  /** Adjacent rows are deleted in one range of the key. */
  async function removeFrom(first: number, last: number): Promise<void> {
    if (last >= first)
      await tx.run(`DELETE FROM ${table} WHERE device_id = ? AND ${time} >= ? AND ${time} <= ?`, [
        deviceId,
        first,
        last,
      ]);
  }
}

function judged(rows: readonly Row[], horizonOf: TrimOrder['horizonOf']) {
  const gone: Row[] = [];
  const changed: Row[] = [];
  for (const row of rows) {
    const [deviceId, at, text, ...others] = row;
    const metrics = Object.entries(JSON.parse(text) as Record<string, unknown>);
    const deviceRetention = metrics.filter(([metric]) => at >= horizonOf(metric));
    if (deviceRetention.length === 0) gone.push(row);
    else if (deviceRetention.length < metrics.length)
      changed.push([deviceId, at, JSON.stringify(Object.fromEntries(deviceRetention)), ...others]);
  }
  return { gone, changed };
}

/** Whether one of the buckets is the newest of its device: a projector may have it cached. */
async function isOpenBucket(
  tx: Sql,
  { generation }: GenerationId,
  { kind, deviceId }: TrimOrder,
  buckets: readonly number[],
): Promise<boolean> {
  if (kind === 'points' || buckets.length === 0) return false;
  const [latest] = await tx.rows<[number]>(
    `SELECT ts FROM ${tableOf('telemetry_latest', generation)} WHERE device_id = ?`,
    [deviceId],
  );
  return latest !== undefined && buckets.includes(bucketOf(kind, latest[0]));
}

type Document = Record<string, unknown>;

const rowsAtOnce = 1000;

/** Rollups of points that are removed, and the newest values among these, from one generation into another. */
async function copyOrphanRollups(
  db: SqlDatabase,
  from: GenerationId,
  to: GenerationId,
  { deviceId, horizonOf, to: end }: Pick<TrimOrder, 'deviceId' | 'horizonOf' | 'to'>,
): Promise<void> {
  for (const level of rollupLevels)
    for (let next: number | null = Number.NEGATIVE_INFINITY; next !== null; ) {
      const start: number = next;
      next = await db.transaction(async (tx) => {
        await lockCheckpoints(tx, to);
        const last = await carryRollups(tx, `telemetry_${level}`, start);
        await bumpEpoch(tx, to);
        return last;
      });
    }
  await db.transaction(async (tx) => {
    await lockCheckpoints(tx, to);
    await carryLatest(tx);
    await bumpEpoch(tx, to);
  });

  async function carryRollups(tx: Sql, base: string, start: number): Promise<number | null> {
    const select = (
      generation: number,
      until: string,
    ) => `SELECT bucket, metrics FROM ${tableOf(base, generation)}
      WHERE device_id = ? AND bucket >= ? AND bucket ${until} ORDER BY bucket`;
    const rows = await tx.rows<[number, string]>(`${select(from.generation, '< ?')} LIMIT ?`, [
      deviceId,
      clampToInteger(start),
      clampToInteger(end),
      rowsAtOnce,
    ]);
    const [first, last] = [rows[0], rows.at(-1)];
    if (!first || !last) return null;
    const there = new Map(
      await tx.rows<[number, string]>(select(to.generation, '<= ?'), [deviceId, first[0], last[0]]),
    );
    await tx.write(
      'replace',
      tableOf(base, to.generation),
      ['device_id', 'bucket', 'metrics'],
      rows.flatMap(([bucket, metrics]) => {
        const carried = Object.entries(parsed(metrics)).filter(([name]) => bucket < horizonOf(name));
        const merged = { ...parsed(there.get(bucket)), ...Object.fromEntries(carried) };
        return carried.length === 0 ? [] : [[deviceId, bucket, JSON.stringify(merged)]];
      }),
    );
    return rows.length === rowsAtOnce ? last[0] + 1 : null;
  }

  async function carryLatest(tx: Sql): Promise<void> {
    const select = (generation: number) =>
      tx.rows<[number, string]>(
        `SELECT ts, metrics FROM ${tableOf('telemetry_latest', generation)} WHERE device_id = ?`,
        [deviceId],
      );
    const [[old], [there]] = [await select(from.generation), await select(to.generation)];
    if (!old) return;
    const found = parsed(there?.[1]);
    const carried = Object.entries(parsed(old[1])).filter(
      ([name, value]) => !(name in found) && (value as [unknown, number])[1] < horizonOf(name),
    );
    if (carried.length === 0) return;
    await tx.write(
      'replace',
      tableOf('telemetry_latest', to.generation),
      ['device_id', 'ts', 'metrics'],
      [
        [
          deviceId,
          Math.max(
            there?.[0] ?? Number.MIN_SAFE_INTEGER,
            ...carried.map(([, value]) => (value as [unknown, number])[1]),
          ),
          JSON.stringify({ ...found, ...Object.fromEntries(carried) }),
        ],
      ],
    );
  }
}

const parsed = (text: string | undefined): Document =>
  text === undefined ? {} : (JSON.parse(text) as Document);
