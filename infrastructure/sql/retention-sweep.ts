import type { GenerationId, TrimOrder } from '../../application/ports/read-models.ts';
import type { RetentionTables } from '../../application/ports/retention.ts';
import { bucketOf, rollupLevels } from '../../domain/rollup.ts';
import { placeOf, trim } from './expiry-tables.ts';
import { tableOf } from './generation-tables.ts';
import { besideProjectors, completeTotals } from './ledger-totals.ts';
import { bumpEpoch, lockCheckpoints } from './read-models.ts';
import { clampToInteger, type Sql, type SqlDatabase } from './sql.ts';

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
      const { result, touched } = await trim(tx, generation.generation, besideProjectors, order);
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
