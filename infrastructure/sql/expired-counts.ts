import { bucketOf } from '../../domain/rollup.ts';
import { inChunks, placeholders } from './chunks.ts';
import { tableOf } from './schema.ts';
import type { Sql } from './sql.ts';

/** Counts rows of a device that have expired, by the day on which they came, as the ledger does. */
export async function countExpired(
  tx: Sql,
  generation: number,
  deviceId: string,
  receivedAt: readonly number[],
): Promise<void> {
  const table = tableOf('telemetry_expired', generation);
  const counts = new Map<number, number>();
  for (const at of receivedAt) counts.set(bucketOf('1d', at), (counts.get(bucketOf('1d', at)) ?? 0) + 1);
  const before = new Map(
    await inChunks([...counts.keys()], (days) =>
      tx.rows<[number, number]>(
        `SELECT day, expired FROM ${table} WHERE device_id = ? AND day IN (${placeholders(days)})${lockOn(tx)}`,
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
}

/** For rows that are read to be changed: SQLite has one writer at a time anyway. */
export const lockOn = ({ dialect }: Sql): string => (dialect === 'mysql' ? ' FOR UPDATE' : '');
