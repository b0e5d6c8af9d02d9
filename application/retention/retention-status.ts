import { policyInWords, type RetentionRuleInWords } from '../../domain/retention.ts';
import type { RetentionRecords } from '../ports/retention.ts';
import { noSweep } from './sweeping.ts';

/** Times are ISO 8601. */
export type RetentionStatus = {
  /** The newest; empty when everything is kept for ever. */
  readonly policy: readonly RetentionRuleInWords[];
  /** From when on it counts; `null` when there never was one. */
  readonly since: string | null;
  /** Of the active generation: everything is gone that was too old at this moment. */
  readonly sweptTo: string | null;
  /** What the sweep under way removes, and the device it has come to; `null` when there is none. */
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
  const { sweptTo, target, after, removed, endedAt } = sweep ?? noSweep;
  const { points, '1m': minutes, '1h': hours, '1d': days, trimmed } = removed;
  return {
    policy: policyInWords(policy),
    since: isoTime(since),
    sweptTo: isoTime(sweptTo),
    sweeping: target === null ? null : { to: new Date(target).toISOString(), after },
    endedAt: isoTime(endedAt),
    removed: { points, minutes, hours, days, trimmed },
  };
}

const isoTime = (at: number | null): string | null => (at === null ? null : new Date(at).toISOString());
