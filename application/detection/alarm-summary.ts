import { timeText } from '../../domain/detection/explanation-texts.ts';
import type { AlarmSummary, Announcement, SummarizedChange } from '../ports/detection.ts';

type CountedRule = AlarmSummary['rules'][number];
type Change = Pick<SummarizedChange, 'raisedAt' | 'announcement'>;

/** What `changes`, after those that `before` has counted, are told as when they are too old to be told each. */
export function summaryOf(changes: readonly Change[], before?: AlarmSummary): AlarmSummary {
  const rules = new Map(before?.rules.map((rule) => [keyOf(rule), rule]));
  let { from, to, raisedSince } = before ?? {
    from: Number.POSITIVE_INFINITY,
    to: Number.NEGATIVE_INFINITY,
    raisedSince: Number.POSITIVE_INFINITY,
  };
  for (const { raisedAt, announcement } of changes) {
    const { ruleId, ruleName, severity, change, at } = announcement;
    from = Math.min(from, at);
    to = Math.max(to, at);
    raisedSince = Math.min(raisedSince, raisedAt);
    const key = keyOf({ ruleId, severity });
    const counted = rules.get(key) ?? { ruleId, severity, raised: 0, escalated: 0, cleared: 0 };
    rules.set(key, { ...counted, ruleName, [change]: counted[change] + 1 });
  }
  return { change: 'summarized', from, to, raisedSince, rules: [...rules.values()] };
}

/** A rule that was changed meanwhile may have another severity. */
const keyOf = ({ ruleId, severity }: Pick<CountedRule, 'ruleId' | 'severity'>): string =>
  `${severity} ${ruleId}`;

/** What a hook is told of many alarms that were old when they were found, with where they are listed: of a CloudEvent. */
export function summaryEvent(hookId: string, summary: AlarmSummary) {
  const [from, to, since] = [summary.from, summary.to, summary.raisedSince].map(timeText);
  const sum = (of: Announcement['change']) => summary.rules.reduce((total, rule) => total + rule[of], 0);
  const rules = summary.rules.map((rule) => ({
    ...rule,
    alarms: `/api/v1/alarms?rule=${encodeURIComponent(rule.ruleId)}&since=${since}`,
  }));
  const [raised, escalated, cleared] = [sum('raised'), sum('escalated'), sum('cleared')];
  const explanation = `${alarmsText(raised)} raised, ${escalated} escalated and ${cleared} cleared from ${from} to ${to}: they are told together, since they were old when they were found`;
  return {
    about: { source: '/api/v1/alarms', type: 'fieldlog.alarms.summarized', subject: hookId, time: to },
    data: { raised, escalated, cleared, from, to, explanation, rules },
  };
}

const alarmsText = (count: number): string => (count === 1 ? '1 alarm was' : `${count} alarms were`);
