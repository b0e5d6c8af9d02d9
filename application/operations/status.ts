import { formatPolicy, type RetentionRuleConfig } from '../../domain/retention.ts';
import type { ProgressQueries } from '../ports/queries.ts';
import type { LedgerTotals } from '../ports/read-models.ts';
import type { RetentionRecords } from '../ports/retention.ts';
import type { WriteAheadLog } from '../ports/storage.ts';
import { lagWithinMilliseconds, type ProgressReader, type ProjectionStatus } from '../progress.ts';
import { isProjectionName } from '../projections/projection.ts';
import { initialSweep } from '../retention/sweep.ts';

export type SystemStatus = {
  readonly projections: readonly (ProjectionStatus & {
    readonly projection: string;
    readonly generation: number;
    readonly version: number;
    /** Dead letters waiting, by cause. */
    readonly deadLetters: Readonly<Record<string, number>>;
  })[];
  /** What became of every reading the telemetry projection has consumed; each is counted once. */
  readonly ledger: LedgerTotals;
  readonly retention: RetentionStatus;
  /** Of the embedded read models; `null` where they are elsewhere, or the server was not asked. */
  readonly writeAheadLog: ReturnType<WriteAheadLog['state']> | null;
};

/** How far everything has come. Throws `ReadModelsUnavailable`; of a log that does not answer the lag is not known. */
export async function systemStatus(
  progress: ProgressQueries,
  freshness: ProgressReader,
  records: Pick<RetentionRecords, 'schedule' | 'activeSweep'>,
  log?: WriteAheadLog,
): Promise<SystemStatus> {
  const [generations, deadLetters, ledger, retention] = await Promise.all([
    progress.progress(),
    progress.deadLetterCounts(),
    progress.ledgerTotals(),
    retentionStatus(records),
  ]);
  const projections = generations.map(async ({ projection, generation, version }) => ({
    projection,
    generation,
    version,
    ...(await freshness.status(isProjectionName(projection) ? [projection] : [], lagWithinMilliseconds)),
    deadLetters: Object.fromEntries(
      deadLetters.filter((some) => some.projection === projection).map(({ cause, count }) => [cause, count]),
    ),
  }));
  return {
    projections: await Promise.all(projections),
    ledger,
    retention,
    writeAheadLog: log?.state() ?? null,
  };
}

/** Times are ISO 8601. */
export type RetentionStatus = {
  /** The newest policy; empty without an expiry. */
  readonly policy: readonly RetentionRuleConfig[];
  /** From when on it counts; `null` when there never was one. */
  readonly since: string | null;
  /** Of the active generation: all data expired at this moment has been removed. */
  readonly sweptTo: string | null;
  /** The running sweep and its current device; `null` when there is none. */
  readonly sweeping: { readonly to: string; readonly after: string } | null;
  readonly endedAt: string | null;
  /** Rows removed so far; `trimmed` are rows that lost a metric and stay. */
  readonly removed: Readonly<Record<'points' | 'minutes' | 'hours' | 'days' | 'trimmed', number>>;
};

/** Throws `ReadModelsUnavailable`. */
export async function retentionStatus(
  records: Pick<RetentionRecords, 'schedule' | 'activeSweep'>,
): Promise<RetentionStatus> {
  const [schedule, sweep] = await Promise.all([records.schedule(), records.activeSweep('telemetry')]);
  const { policy, since } = schedule.at(-1) ?? { policy: [], since: null };
  const { sweptTo, target, after, removed, endedAt } = sweep ?? initialSweep;
  const { points, '1m': minutes, '1h': hours, '1d': days, trimmed } = removed;
  return {
    policy: formatPolicy(policy),
    since: isoTime(since),
    sweptTo: isoTime(sweptTo),
    sweeping: target === null ? null : { to: new Date(target).toISOString(), after },
    endedAt: isoTime(endedAt),
    removed: { points, minutes, hours, days, trimmed },
  };
}

const isoTime = (at: number | null): string | null => (at === null ? null : new Date(at).toISOString());
