import type { Comparison, GenerationDigest } from '../ports/projection-control.ts';

/** `samePosition`: that they stood at one when they were read. */
export function compare(active: GenerationDigest, next: GenerationDigest, samePosition: boolean): Comparison {
  const tables = active.tables.map(({ table, rows, digest }) => {
    const other = next.tables.find((one) => one.table === table);
    if (!other) throw new Error(`Generation ${next.generation} has no table ${table}`);
    return {
      table,
      equal: digest === other.digest && rows === other.rows,
      rows: { active: rows, next: other.rows },
    };
  });
  return { samePosition, equal: tables.every(({ equal }) => equal), tables };
}
