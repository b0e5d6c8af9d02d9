import { type Decider, Rejection } from '../decider.ts';
import type { Labels } from '../device.ts';

/** What an alarm is raised for. Durations are whole milliseconds. */
export type Condition =
  | ({ readonly kind: 'range' } & ValueBounds & {
        /** What `above` and `below` are while an alarm is open: it clears when neither is passed. */
        readonly clearAbove?: number;
        readonly clearBelow?: number;
      } & Persistence)
  | ({
      /** ValueBounds are of the change per second. */ readonly kind: 'rate';
      /** The metric is a counter: a drop is its start from the beginning, and no change. */
      readonly reset?: boolean;
    } & ValueBounds &
      Persistence)
  | {
      readonly kind: 'stuck';
      /** By the device's time. */
      readonly for: number;
      /** What differs by at most this counts as unchanged; 0 when absent. */
      readonly tolerance?: number;
    }
  | { readonly kind: 'silent' /** By time of arrival. */; readonly for: number }
  | { readonly kind: 'novel' /** In usual ranges. */; readonly sensitivity?: number };

export type ValueBounds = { readonly above?: number; readonly below?: number };

export type Persistence = {
  /** The bound must be passed by all readings of so long, by the device's time. */
  readonly for?: number;
  /** The bound must be passed by so many readings in a row. */
  readonly count?: number;
  /** A longer time without a reading starts `for` and `count` anew; an hour or `for`, whichever is more, when absent. */
  readonly maxGap?: number;
};

export type RuleKind = Condition['kind'];
export const ruleKinds = ['range', 'rate', 'stuck', 'silent', 'novel'] as const satisfies readonly RuleKind[];

/** Devices for which all of this holds; every device when empty. */
type RuleSelector = {
  readonly deviceId?: string;
  readonly type?: string;
  readonly labels?: Labels;
};

export const severities = ['info', 'warning', 'critical'] as const;
export type Severity = (typeof severities)[number];

export type RuleDefinition = {
  readonly name: string;
  readonly selector: RuleSelector;
  /** Every metric when absent; for `silent`, any reading at all. */
  readonly metric?: string;
  readonly severity: Severity;
  readonly condition: Condition;
  /** Ids of the hooks that are sent its alarms. */
  readonly notify: readonly string[];
};

// Type names and field names below are stored for ever. Add; never rename.
/** `since`: epoch milliseconds; the event counts for readings that arrive from then on. */
export type RuleEvent =
  | {
      readonly type: 'RuleCreated' | 'RuleChanged';
      readonly data: { readonly ruleId: string; readonly since: number } & RuleDefinition;
    }
  | {
      readonly type: 'RuleEnabled' | 'RuleDisabled' | 'RuleRemoved';
      readonly data: { readonly ruleId: string; readonly since: number };
    };

export type RuleCommand = { readonly ruleId: string; readonly since: number } & (
  | { readonly type: 'CreateRule'; readonly definition: RuleDefinition }
  | { readonly type: 'ChangeRule'; readonly changes: Partial<RuleDefinition> }
  | { readonly type: 'EnableRule' | 'DisableRule' | 'RemoveRule' }
);

type RuleStatus = 'enabled' | 'disabled' | 'removed';

export type Rule =
  | { readonly status: 'missing' }
  | { readonly status: RuleStatus; readonly definition: RuleDefinition };

export const ruleStream = (ruleId: string): string => `rule-${ruleId}`;

/** A rule's life: created once, changed, disabled and enabled at will, removed for good. */
export const ruleDecider: Decider<Rule, RuleCommand, RuleEvent> = {
  initial: { status: 'missing' },
  decide,
  evolve,
};

function decide(command: RuleCommand, rule: Rule): readonly RuleEvent[] {
  const { ruleId, since } = command;
  if (command.type === 'CreateRule') {
    if (rule.status !== 'missing') throw new Rejection('RuleAlreadyExists', `Rule ${ruleId} already exists`);
    return [{ type: 'RuleCreated', data: { ruleId, since, ...command.definition } }];
  }
  if (rule.status === 'missing') throw new Rejection('RuleNotFound', `There is no rule ${ruleId}`);
  if (rule.status === 'removed') {
    if (command.type === 'RemoveRule') return [];
    throw new Rejection('RuleIsRemoved', `Rule ${ruleId} is removed, which is final`);
  }
  switch (command.type) {
    case 'ChangeRule': {
      const definition = { ...rule.definition, ...command.changes };
      if (isSame(definition, rule.definition)) return [];
      return [{ type: 'RuleChanged', data: { ruleId, since, ...definition } }];
    }
    case 'EnableRule':
      return rule.status === 'enabled' ? [] : [{ type: 'RuleEnabled', data: { ruleId, since } }];
    case 'DisableRule':
      return rule.status === 'disabled' ? [] : [{ type: 'RuleDisabled', data: { ruleId, since } }];
    case 'RemoveRule':
      return [{ type: 'RuleRemoved', data: { ruleId, since } }];
  }
}

function evolve(rule: Rule, event: RuleEvent): Rule {
  if (event.type === 'RuleCreated' || event.type === 'RuleChanged') {
    const { ruleId: _, since: __, ...definition } = event.data;
    const isNew = rule.status === 'missing' || event.type === 'RuleCreated';
    return { status: isNew ? 'enabled' : rule.status, definition };
  }
  if (rule.status === 'missing')
    throw new Error(`${event.type} of rule ${event.data.ruleId} comes before its creation`);
  return { status: statusAfter[event.type], definition: rule.definition };
}

/** The rule as it is, once more: an event that changes nothing. None of a rule that nothing can change. */
export function unchangedRule(command: RuleCommand, rule: Rule): readonly RuleEvent[] {
  if (rule.status === 'missing' || rule.status === 'removed') return [];
  const { ruleId, since } = command;
  return [{ type: 'RuleChanged', data: { ruleId, since, ...rule.definition } }];
}

const statusAfter = { RuleEnabled: 'enabled', RuleDisabled: 'disabled', RuleRemoved: 'removed' } as const;

/** One wording of a rule, and from when it counts; `definition` is `null` where the rule is not enabled. */
export type RuleVersion = {
  readonly ruleId: string;
  /** Of the event that made it so. */
  readonly revision: number;
  readonly since: number;
  readonly definition: RuleDefinition | null;
};

/** What a rule was at which times, from its events in order. */
export function ruleVersions(events: readonly RuleEvent[]): readonly RuleVersion[] {
  let rule: Rule = ruleDecider.initial;
  const versions: RuleVersion[] = [];
  for (const [revision, event] of events.entries()) {
    rule = evolve(rule, event);
    const { ruleId, since } = event.data;
    const before = versions.at(-1);
    const definition = rule.status === 'enabled' ? rule.definition : null;
    // An event that changed nothing ends no alarm.
    if (before?.definition && definition && isSame(before.definition, definition)) continue;
    // Clocks of two nodes may differ: a later change must not count earlier.
    versions.push({ ruleId, revision, since: Math.max(before?.since ?? since, since), definition });
  }
  return versions;
}

type ConditionFault = { readonly path: string; readonly message: string };

/** What is wrong between the fields of a condition, each of which is well-formed by itself. */
export function conditionFaults(condition: Condition): readonly ConditionFault[] {
  if (condition.kind !== 'range' && condition.kind !== 'rate') return [];
  const { above, below } = condition;
  const faults: ConditionFault[] = [];
  if (above === undefined && below === undefined)
    faults.push({ path: 'above', message: 'above or below is required, or both' });
  if (above !== undefined && below !== undefined && below > above)
    faults.push({ path: 'below', message: `must not be greater than above, which is ${above}` });
  if (condition.kind === 'rate') return faults;
  const { clearAbove, clearBelow } = condition;
  if (clearAbove !== undefined && (above === undefined || clearAbove > above))
    faults.push({ path: 'clearAbove', message: 'must come with above and not be greater' });
  if (clearBelow !== undefined && (below === undefined || clearBelow < below))
    faults.push({ path: 'clearBelow', message: 'must come with below and not be less' });
  const low = clearBelow ?? below;
  const high = clearAbove ?? above;
  if (faults.length === 0 && low !== undefined && high !== undefined && low > high)
    faults.push({ path: clearAbove === undefined ? 'clearBelow' : 'clearAbove', message: noValueClears });
  return faults;
}

const noValueClears = 'no value would clear the alarm: clearBelow must not be greater than clearAbove';

const isSame = (a: RuleDefinition, b: RuleDefinition): boolean =>
  JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));

/** Keys in one order, so that equal definitions have one text. */
function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.entries(value)
    .filter(([, inner]) => inner !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, inner]) => [key, sorted(inner)]);
}
