import type { AlarmFacts } from '../../domain/detection/alarm.ts';
import type { Transition } from '../../domain/detection/evaluators.ts';
import type { RuleDefinition, RuleVersion } from '../../domain/detection/rule.ts';
import type { AlarmRow, Announcement } from '../ports/detection.ts';
import type { Position } from '../ports/event-source.ts';
import type { Ids } from '../ports/system.ts';

/** The reading that changes an alarm, as the log has it. */
export type Cause = { readonly position: Position; readonly correlationId: string };

/** What a rule has found in a series. */
type Finding = {
  readonly rule: RuleVersion & { readonly definition: RuleDefinition };
  readonly deviceId: string;
  readonly metric: string;
};

/** The same for the same rule, device, metric and reading, whenever and by whomever the log is consumed. */
function alarmId(ids: Ids, { rule, deviceId, metric }: Finding, key: string): string {
  return ids.uuidV5('alarm', rule.ruleId, deviceId, metric, key);
}

/** Of silence, which no reading raises: it follows from the last arrival. */
const silenceKey = (due: number): string => `silence-${due}`;

/** The alarms that a batch changes, and who is to hear of it. */
export class AlarmChanges {
  readonly #ids: Ids;
  readonly #partition: number;
  #rows = new Map<string, AlarmRow>();
  #announcements: Announcement[] = [];

  constructor(ids: Ids, partition: number) {
    this.#ids = ids;
    this.#partition = partition;
  }

  raise(finding: Finding, transition: Transition, cause: Cause): AlarmRow {
    const { rule, deviceId, metric } = finding;
    const { name, severity, condition, notify } = rule.definition;
    const { at, value, magnitude, explanation } = transition;
    const key = condition.kind === 'silent' ? silenceKey(at) : cause.position;
    const facts: AlarmFacts = {
      alarmId: alarmId(this.#ids, finding, key),
      ruleId: rule.ruleId,
      ruleRevision: rule.revision,
      ruleName: name,
      kind: condition.kind,
      severity,
      deviceId,
      metric: metric === '' ? null : metric,
    };
    const row: AlarmRow = {
      ...facts,
      partition: this.#partition,
      state: 'open',
      raisedAt: at,
      position: cause.position,
      correlationId: cause.correlationId,
      value,
      magnitude,
      explanation,
      escalations: 0,
      clearedAt: null,
      clearedBy: null,
      notify,
    };
    return this.#put(row, transition, cause);
  }

  escalate(alarm: AlarmRow, transition: Transition, cause: Cause): AlarmRow {
    const { value, magnitude, explanation } = transition;
    const isGreater = magnitude > alarm.magnitude;
    const escalations = alarm.escalations + 1;
    const row = isGreater
      ? { ...alarm, escalations, value, magnitude, explanation }
      : { ...alarm, escalations };
    return this.#put(row, transition, cause);
  }

  /** `actor`: the person who did it. */
  clear(alarm: AlarmRow, transition: Omit<Transition, 'change'>, cause: Cause, actor?: string): void {
    const { at, explanation } = transition;
    const row = { ...alarm, state: 'cleared' as const, clearedAt: at, clearedBy: explanation };
    this.#put(row, { ...transition, change: 'cleared' }, cause, actor);
  }

  /** What has been gathered, which is then forgotten. */
  take(): { readonly alarms: readonly AlarmRow[]; readonly announcements: readonly Announcement[] } {
    const taken = { alarms: [...this.#rows.values()], announcements: this.#announcements };
    this.#rows = new Map();
    this.#announcements = [];
    return taken;
  }

  #put(
    row: AlarmRow,
    { change, at, value, magnitude, explanation }: Transition,
    cause: Cause,
    actor?: string,
  ): AlarmRow {
    const { alarmId, ruleId, ruleRevision, ruleName, kind, severity, deviceId, metric, notify } = row;
    const facts = { alarmId, ruleId, ruleRevision, ruleName, kind, severity, deviceId, metric };
    const { correlationId } = cause;
    this.#rows.set(row.alarmId, row);
    const changed = { change, at, value, magnitude, explanation };
    const by = actor === undefined ? {} : { actor };
    this.#announcements.push({ ...facts, ...changed, correlationId, notify, ...by });
    return row;
  }
}
