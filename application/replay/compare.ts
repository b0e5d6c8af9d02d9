import type { Comparison, GenerationDigest } from '../ports/projection-control.ts';

export function compare(active: GenerationDigest, next: GenerationDigest): Comparison {
  const tables = active.tables.map(({ table, rows, digest }) => {
    const other = next.tables.find((one) => one.table === table);
    if (!other) throw new Error(`Generation ${next.generation} has no table ${table}`);
    return {
      table,
      equal: digest === other.digest && rows === other.rows,
      rows: { active: rows, next: other.rows },
    };
  });
  return { samePosition: sameCheckpoints(active, next), equal: tables.every(({ equal }) => equal), tables };
}

function sameCheckpoints(active: GenerationDigest, next: GenerationDigest): boolean {
  return (
    active.checkpoints.size === next.checkpoints.size &&
    [...active.checkpoints].every(([partition, position]) => next.checkpoints.get(partition) === position)
  );
}
