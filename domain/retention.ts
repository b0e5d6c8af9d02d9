import { type RollupLevel, rollupLevels, rollupWidth } from './rollup.ts';

/** What a policy speaks of: the points themselves, and the rollups of each level. */
export type RetentionTarget = 'points' | RollupLevel;

export const retentionTargets: readonly RetentionTarget[] = ['points', ...rollupLevels];

/**
 * Retention in whole days, `null` without an expiry. A rule that names a metric comes before one that names a
 * type only, one that names both before either, and one that names none is for all the others. What no rule
 * covers does not expire.
 */
export type RetentionRule = {
  readonly type?: string;
  readonly metric?: string;
  readonly keep: Partial<Readonly<Record<RetentionTarget, number | null>>>;
};

export type RetentionPolicy = readonly RetentionRule[];

/** Policies in the order in which they came into force; `since` is epoch milliseconds, by the time of arrival. */
export type RetentionSchedule = readonly { readonly since: number; readonly policy: RetentionPolicy }[];

/**
 * The types a device has had, in order; the first one counts from the beginning. `null`: its data is erased, until
 * the id is registered anew.
 */
export type TypePeriods = readonly { readonly since: number; readonly type: string | null }[];

/** The retention horizons of one device. */
export type DeviceRetention = {
  /**
   * The horizon at the moment `at`, epoch milliseconds: older data is expired. Always the first instant of a UTC day, and
   * never earlier at a later moment: what has once been too old stays so, whatever policy comes. Everything is expired
   * while the data is erased.
   */
  horizon(kind: RetentionTarget, metric: string, at: number): number;
  /** Data of every metric older than this is expired. */
  oldest(kind: RetentionTarget, at: number): number;
  /** Data of every metric from this moment on is retained. */
  newest(kind: RetentionTarget, at: number): number;
  /** The horizons there are at `at`, each with what it was at `before`; `null` is before the first policy. */
  horizonRanges(
    kind: RetentionTarget,
    before: number | null,
    at: number,
  ): readonly { readonly from: number; readonly to: number }[];
};

type Period = { readonly since: number; readonly until: number; readonly duration: number };

const day = rollupWidth['1d'];
/** The duration while a device's data is erased. */
const nothingKept = Number.NEGATIVE_INFINITY;
const others = '';

/** `undefined` when nothing of the device expires. */
export function deviceRetention(
  schedule: RetentionSchedule,
  types: TypePeriods,
): DeviceRetention | undefined {
  const periods = periodsOf(schedule, types);
  const named = new Set(
    schedule.flatMap(({ policy }) => policy.flatMap(({ metric }) => (metric === undefined ? [] : [metric]))),
  );
  const groups = [others, ...named];
  const limits = new Map(
    retentionTargets.map((kind) => [
      kind,
      new Map(groups.map((metric) => [metric, limitsOf(periods, kind, metric)] as const)),
    ]),
  );
  if ([...limits.values()].every((byMetric) => [...byMetric.values()].every((some) => some.length === 0)))
    return undefined;

  const horizonsAt = (kind: RetentionTarget, at: number) => groups.map((group) => horizon(kind, group, at));
  return {
    horizon,
    oldest: (kind, at) => Math.min(...horizonsAt(kind, at)),
    newest: (kind, at) => Math.max(...horizonsAt(kind, at)),
    horizonRanges(kind, before, at) {
      const to = horizonsAt(kind, at);
      const from = before === null ? to.map(() => Number.NEGATIVE_INFINITY) : horizonsAt(kind, before);
      // Of what is older than every horizon nothing is left, so there is no harm in looking at all of it again.
      const first = Math.min(...to);
      const ranges = to.map((end, i) => ({
        from:
          end === first || from[i] === Number.POSITIVE_INFINITY
            ? Number.NEGATIVE_INFINITY
            : (from[i] as number),
        to: end,
      }));
      return ranges.filter(
        (one, i) => one.from < one.to && ranges.findIndex((other) => same(one, other)) === i,
      );
    },
  };

  function horizon(kind: RetentionTarget, metric: string, at: number): number {
    const some = limits.get(kind)?.get(named.has(metric) ? metric : others) as readonly Period[];
    let reached = Number.NEGATIVE_INFINITY;
    for (const { since, until, duration } of some)
      if (duration === nothingKept) {
        if (since <= at && at < until) return Number.POSITIVE_INFINITY;
      } else if (since <= at) reached = Math.max(reached, Math.min(at, until) - duration);
    return Math.floor(reached / day) * day;
  }
}

const same = (a: { from: number; to: number }, b: { from: number; to: number }): boolean =>
  a.from === b.from && a.to === b.to;

type TypedPolicy = { since: number; until: number; type: string | null; policy: RetentionPolicy };

/** Cut wherever the policy or the type changed. */
function periodsOf(schedule: RetentionSchedule, types: TypePeriods): readonly TypedPolicy[] {
  const typed = types.map((one, i) => (i === 0 ? { ...one, since: Number.NEGATIVE_INFINITY } : one));
  const cuts = [...new Set([...schedule, ...typed].map(({ since }) => since))].sort((a, b) => a - b);
  return cuts.map((since, i) => ({
    since,
    until: cuts[i + 1] ?? Number.POSITIVE_INFINITY,
    type: typed.findLast((one) => one.since <= since)?.type ?? (typed.length === 0 ? '' : null),
    policy: schedule.findLast((one) => one.since <= since)?.policy ?? [],
  }));
}

function limitsOf(periods: readonly TypedPolicy[], kind: RetentionTarget, metric: string): readonly Period[] {
  return periods.flatMap(({ since, until, type, policy }) => {
    if (type === null) return [{ since, until, duration: nothingKept }];
    const days = retentionDays(policy, kind, type, metric);
    return days === null ? [] : [{ since, until, duration: days * day }];
  });
}

/** By the most particular rule that speaks of it; `null` for ever. */
export function retentionDays(
  policy: RetentionPolicy,
  kind: RetentionTarget,
  type: string,
  metric: string,
): number | null {
  let found: number | null = null;
  let weight = -1;
  for (const rule of policy) {
    const days = rule.keep[kind];
    if (days === undefined || weight >= weightOf(rule)) continue;
    if (rule.type !== undefined && rule.type !== type) continue;
    if (rule.metric !== undefined && rule.metric !== metric) continue;
    found = days;
    weight = weightOf(rule);
  }
  return found;
}

const weightOf = ({ type, metric }: RetentionRule): number =>
  (metric === undefined ? 0 : 2) + (type === undefined ? 0 : 1);

/** The first target that is retained for less time than a finer one, for some device and metric; `undefined` when none is. */
export function findShorterCoarse(
  policy: RetentionPolicy,
):
  | { readonly finer: RetentionTarget; readonly coarser: RetentionTarget; readonly rule: RetentionRule }
  | undefined {
  for (const rule of policy) {
    const types = rule.type === undefined ? namesOf(policy, 'type') : [rule.type];
    const metrics = rule.metric === undefined ? namesOf(policy, 'metric') : [rule.metric];
    for (const type of types)
      for (const metric of metrics)
        for (const [i, finer] of retentionTargets.entries()) {
          const coarser = retentionTargets[i + 1];
          if (coarser === undefined) continue;
          const less = retentionDays(policy, coarser, type, metric) ?? Number.POSITIVE_INFINITY;
          const more = retentionDays(policy, finer, type, metric) ?? Number.POSITIVE_INFINITY;
          if (less < more) return { finer, coarser, rule };
        }
  }
  return undefined;
}

const namesOf = (policy: RetentionPolicy, field: 'type' | 'metric'): readonly string[] => [
  others,
  ...policy.flatMap((rule) => rule[field] ?? []),
];

/** Retention targets by the names that operators use. */
export const targetNames = { points: 'points', '1m': 'minutes', '1h': 'hours', '1d': 'days' } as const;

type KeptWord = (typeof targetNames)[RetentionTarget];

/** As an operator writes it: `{"type": "boiler", "points": "90d", "days": "forever"}`. */
export type RetentionRuleConfig = { readonly type?: string; readonly metric?: string } & {
  readonly [Word in KeptWord]?: string;
};

export const formatPolicy = (policy: RetentionPolicy): readonly RetentionRuleConfig[] =>
  policy.map(({ type, metric, keep }) => ({
    ...(type !== undefined && { type }),
    ...(metric !== undefined && { metric }),
    ...Object.fromEntries(
      retentionTargets.flatMap((kind) => {
        const days = keep[kind];
        return days === undefined ? [] : [[targetNames[kind], days === null ? 'forever' : `${days}d`]];
      }),
    ),
  }));
