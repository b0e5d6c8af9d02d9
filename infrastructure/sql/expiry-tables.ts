import type { ExpiryTables, GenerationId, TrimOrder } from '../../application/ports/read-models.ts';
import { sweptAt } from '../../application/ports/retention.ts';
import { tableOf, tablesOf } from './generation-tables.ts';
import { readSweep } from './retention.ts';
import { chunks, clampToInteger, placeholders, type Sql, type SqlValue } from './sql.ts';
import { countExpired, forUpdate } from './telemetry-tables.ts';

/** Whole rows, so that those that change are written back by the engine's fastest way. A point's fourth column is when it came. */
type Row = readonly [deviceId: string, time: number, metrics: string, ...others: SqlValue[]];

export const sqlExpiryTables = (sql: Sql, generation: GenerationId, partition: number): ExpiryTables => ({
  async sweptAt(deviceId) {
    const sweep = await readSweep(sql, generation);
    return sweep ? sweptAt(sweep, deviceId) : null;
  },

  trim: async (order) => (await trim(sql, generation.generation, partition, order)).result.next,
});

export const placeOf = (kind: TrimOrder['kind'], generation: number) => {
  const base = kind === 'points' ? 'telemetry' : `telemetry_${kind}`;
  const { columns } = tablesOf('telemetry').find((one) => one.base === base) ?? { columns: [] };
  return { table: tableOf(base, generation), time: kind === 'points' ? 'ts' : 'bucket', columns };
};

/** One step of an order; `touched` are the times of the rows that lost a metric. Counts in the totals of `partition`. */
export async function trim(
  tx: Sql,
  generation: number,
  partition: number,
  { kind, deviceId, from, to, horizonOf, limit }: TrimOrder,
) {
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
      partition,
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
