import type { Generation } from '../../application/ports/read-models.ts';
import type { TrimOrder } from '../../application/ports/retention.ts';
import { rollupLevels } from '../../domain/rollup.ts';
import { forgetCaches, lockCheckpoints } from './checkpoint-locks.ts';
import { tableOf } from './schema.ts';
import type { Sql, SqlDatabase } from './sql.ts';
import { whole } from './whole-times.ts';

type Document = Record<string, unknown>;

const rowsAtOnce = 1000;

/** Rollups of points that are removed, and the newest values among these, from one generation into another. */
export async function carryRemains(
  db: SqlDatabase,
  from: Generation,
  to: Generation,
  { deviceId, horizonOf, to: end }: Pick<TrimOrder, 'deviceId' | 'horizonOf' | 'to'>,
): Promise<void> {
  for (const level of rollupLevels)
    for (let next: number | null = Number.NEGATIVE_INFINITY; next !== null; ) {
      const start: number = next;
      next = await db.transaction(async (tx) => {
        await lockCheckpoints(tx, to);
        const last = await carryRollups(tx, `telemetry_${level}`, start);
        await forgetCaches(tx, to);
        return last;
      });
    }
  await db.transaction(async (tx) => {
    await lockCheckpoints(tx, to);
    await carryLatest(tx);
    await forgetCaches(tx, to);
  });

  async function carryRollups(tx: Sql, base: string, start: number): Promise<number | null> {
    const select = (
      generation: number,
      until: string,
    ) => `SELECT bucket, metrics FROM ${tableOf(base, generation)}
      WHERE device_id = ? AND bucket >= ? AND bucket ${until} ORDER BY bucket`;
    const rows = await tx.rows<[number, string]>(`${select(from.generation, '< ?')} LIMIT ?`, [
      deviceId,
      whole(start),
      whole(end),
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
