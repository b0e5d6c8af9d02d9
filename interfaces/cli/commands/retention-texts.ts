import type { RetentionStatus } from '../../../application/operations/status.ts';
import { count, table } from '../format.ts';

const words = ['points', 'minutes', 'hours', 'days'] as const;

/** The policy in force and what it has done; nothing where there never was one. */
export function retentionText({
  policy,
  since,
  sweptTo,
  sweeping,
  endedAt,
  removed,
}: RetentionStatus): string {
  if (since === null) return '';
  const rules = policy.map((rule) => [
    rule.type ?? 'any',
    rule.metric ?? 'any',
    ...words.map((word) => rule[word] ?? '-'),
  ]);
  const told =
    rules.length === 0
      ? 'Everything is kept for ever.\n'
      : table(['kept of type', 'metric', ...words], rules, [...words]);
  const under =
    sweeping === null ? '' : `, the next is under way and has come to ${sweeping.after || 'no device yet'}`;
  const last =
    endedAt === null ? `No sweep has ended yet${under}` : `Swept to ${sweptTo}, by ${endedAt}${under}`;
  return `\n${told}In force since ${since}. ${last}.\n\n${removedText('removed', removed)}`;
}

export function removedText(heading: string, removed: RetentionStatus['removed']): string {
  const rows = [
    ...words.map((word) => [word, count(removed[word])]),
    ['rows that lost a metric', count(removed.trimmed)],
  ];
  return table([heading, 'rows'], rows, ['rows']);
}
