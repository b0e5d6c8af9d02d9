import type { Comparison, GenerationDigest, GenerationDigests, LeaseOwner } from '../ports/generations.ts';
import type { GenerationId } from '../ports/read-models.ts';
import type { Build } from './build.ts';
import { followDeadLetters } from './dead-letters.ts';
import type { ProjectionPipeline, RebuildPorts } from './projection-pipeline.ts';

/** Looks taken until one catches both generations at the same position, which the live one may leave at any moment. */
const comparisons = 1000;

export const nothingCompared: Comparison = { samePosition: true, equal: true, tables: [] };

type ComparedGenerations = {
  readonly live: GenerationId;
  readonly next: GenerationId;
  /** The live generation was built from another log. */
  readonly isOtherLog: boolean;
};

/**
 * Compares a complete build with the live generation, table by table, at one position of both where they can be brought
 * to one.
 */
export async function compareGenerations(
  build: Build,
  { deadLetterRetry, retention }: ProjectionPipeline,
  { live, next, isOtherLog }: ComparedGenerations,
  { control, deadLetters, readModels }: RebuildPorts,
  { builder, signal }: { readonly builder: LeaseOwner; readonly signal: AbortSignal },
  keepsOlder = false,
): Promise<Comparison> {
  await build.enter('compare');
  return retention ? retention.withoutSweeps(builder, signal, compareTables) : compareTables();

  async function compareTables(): Promise<Comparison> {
    let differed: Comparison | undefined;
    let carried = !keepsOlder;
    for (let attempt = 0; attempt < comparisons; attempt += 1) {
      if (!isOtherLog) await followDeadLetters(live, next, deadLetterRetry, deadLetters, readModels);
      const samePosition = await build.align(async () => {});
      await retention?.catchUpSweeps(live, next, signal);
      if (!carried) await retention?.copyOrphanRollups(live, next, signal);
      carried = true;
      if (!samePosition) break;
      const digests = (await control.digestsIfAligned(live, next)) ?? (await digestsFromHold());
      if (!digests) continue;
      const comparison = compare(...digests, true);
      // Dead letters may have been retried between following them and comparing: compare once more.
      if (comparison.equal || differed) return comparison;
      differed = comparison;
    }
    return differed ?? compare(await control.digest(live), await control.digest(next), false);
  }

  /** A live generation whose events keep coming has moved on before it can be looked at, unless it is still held. */
  async function digestsFromHold(): Promise<GenerationDigests | undefined> {
    if (retention) return undefined;
    let digests: Promise<GenerationDigests> | undefined;
    const samePosition = await build.align(async ({ beginDigests }) => {
      digests = (await beginDigests?.(next))?.digests;
    }, 'committed');
    const found = await digests;
    return samePosition ? found : undefined;
  }
}

/** `samePosition`: that they stood at one when they were read. */
function compare(active: GenerationDigest, next: GenerationDigest, samePosition: boolean): Comparison {
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

/** The tables of the next generation that have fewer rows; what retention has removed is removed in both. */
export const losses = ({ tables }: Comparison): readonly string[] =>
  tables
    .filter(({ rows }) => rows.next < rows.active)
    .map(({ table, rows }) => `${table} ${rows.next} of ${rows.active}`);
