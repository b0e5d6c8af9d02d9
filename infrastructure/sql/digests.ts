import { hash } from 'node:crypto';
import type { TableDigest } from '../../application/ports/generations.ts';
import type { ProjectionName } from '../../application/projections/projection.ts';
import { tableOf, tablesOf } from './generation-tables.ts';
import type { SqlReader } from './sql.ts';

const size = 1n << 128n;

/** Of every table of a generation: how many rows, and the sum of their hashes, which no order changes. */
export async function generationDigest(
  sql: SqlReader,
  projection: ProjectionName,
  generation: number,
): Promise<readonly TableDigest[]> {
  const digests: TableDigest[] = [];
  for (const { base, columns } of tablesOf(projection)) {
    let rows = 0;
    let sum = 0n;
    const select = `SELECT ${columns.join(', ')} FROM ${tableOf(base, generation)}`;
    for await (const chunk of sql.stream<readonly unknown[]>(select))
      for (const row of chunk) {
        rows += 1;
        sum = (sum + hashOf(row)) % size;
      }
    digests.push({ table: base, rows, digest: sum.toString(16).padStart(32, '0') });
  }
  return digests;
}

function hashOf(row: readonly unknown[]): bigint {
  const canonical = JSON.stringify(row.map(canonicalValue));
  return BigInt(`0x${hash('sha256', canonical).slice(0, 32)}`);
}

/** JSON documents are equal when they say the same, in whatever order their keys were written. */
function canonicalValue(value: unknown): unknown {
  if (typeof value !== 'string' || !/^[[{]/.test(value))
    return typeof value === 'bigint' ? Number(value) : value;
  try {
    return sorted(JSON.parse(value));
  } catch {
    return value;
  }
}

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(sorted);
  return Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, inner]) => [key, sorted(inner)]);
}
