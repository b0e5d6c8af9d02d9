import type { Freshness, ProjectionStatus } from './freshness.ts';
import type { ProgressQueries } from './ports/queries.ts';
import type { RetentionRecords } from './ports/retention.ts';
import { isProjectionName } from './projections/projection.ts';
import { type RetentionStatus, retentionStatus } from './retention/retention-status.ts';

export type SystemStatus = {
  readonly projections: readonly (ProjectionStatus & {
    readonly projection: string;
    readonly generation: number;
    readonly version: number;
    /** Dead letters waiting, by cause. */
    readonly deadLetters: Readonly<Record<string, number>>;
  })[];
  /** What became of every reading the telemetry projection has consumed; each is counted once. */
  readonly ledger: Awaited<ReturnType<ProgressQueries['ledgerTotals']>>;
  readonly retention: RetentionStatus;
};

/** How far everything has come. Throws `ReadModelsUnavailable` and what the logs throw when they are. */
export async function systemStatus(
  progress: ProgressQueries,
  freshness: Freshness,
  records: Pick<RetentionRecords, 'schedule' | 'activeSweep'>,
): Promise<SystemStatus> {
  const [generations, letters, ledger, retention] = await Promise.all([
    progress.progress(),
    progress.deadLetterCounts(),
    progress.ledgerTotals(),
    retentionStatus(records),
  ]);
  const projections = generations.map(async ({ projection, generation, version }) => ({
    projection,
    generation,
    version,
    ...(await freshness.status(isProjectionName(projection) ? [projection] : [])),
    deadLetters: Object.fromEntries(
      letters.filter((some) => some.projection === projection).map(({ cause, count }) => [cause, count]),
    ),
  }));
  return { projections: await Promise.all(projections), ledger, retention };
}
