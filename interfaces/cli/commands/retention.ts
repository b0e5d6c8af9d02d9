import type { Command } from 'commander';
import type { RetentionStatus } from '../../../application/operations/status.ts';
import type { RetentionOperations } from '../../composition/retention.ts';
import { type CommandContext, jsonOption, withApplication } from '../command-context.ts';
import { exitCodesHelp } from '../exit-codes.ts';
import { count, table } from '../terminal.ts';

const help = `
RETENTION says how long points, and the rollups of minutes, hours and days, are kept: rules in JSON or a file of them.
The most particular rule that speaks of something counts; what none speaks of is kept for ever. Projectors bring it
into force when they start. Works on the configured stores directly: see docs/retention.md.

Examples:
  fieldlog retention show
  RETENTION='[{"points": "90d", "minutes": "1y"}, {"metric": "vibration", "points": "7d"}]' fieldlog retention preview
  fieldlog retention sweep
`;

type Json = { readonly json?: boolean };

export function retentionCommand(program: Command, context: CommandContext): void {
  const retention = program
    .command('retention')
    .description('How long telemetry is kept: show it, see what it would remove, remove it now')
    .addHelpText('after', help + exitCodesHelp);
  const add = (
    name: string,
    description: string,
    work: (operations: RetentionOperations, options: Json) => Promise<void>,
  ) =>
    retention
      .command(name)
      .description(description)
      .addOption(jsonOption())
      .addHelpText('after', `\nExample:\n  fieldlog retention ${name}\n${exitCodesHelp}`)
      .action((options: Json) => withRetention(context, (operations) => work(operations, options)));

  add(
    'show',
    'The policy in force, how far it has been applied and what it has removed',
    async (operations, options) => {
      const status = await operations.status();
      await answer(status, retentionText(status).trimStart() || 'Everything is kept for ever.\n', options);
    },
  );

  add(
    'preview',
    'What the configured policy would remove now; removes nothing',
    async (operations, options) => {
      const found = await operations.preview(context.signal);
      await answer(found, removedText('would be removed', found), options);
    },
  );

  add(
    'sweep',
    'Remove now what the policy in force no longer keeps, and end',
    async (operations, options) => {
      const status = await operations.sweep(context.signal);
      await answer(status, retentionText(status).trimStart() || 'Everything is kept for ever.\n', options);
    },
  );

  const answer = (value: unknown, text: string, { json }: Json) =>
    context.terminal.out(json ? `${JSON.stringify(value)}\n` : text);
}

const withRetention = (
  context: CommandContext,
  work: (operations: RetentionOperations) => Promise<void>,
): Promise<void> =>
  withApplication(context, 'retention', async (application) => work(await application.retention()));

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

function removedText(heading: string, removed: RetentionStatus['removed']): string {
  const rows = [
    ...words.map((word) => [word, count(removed[word])]),
    ['rows that lost a metric', count(removed.trimmed)],
  ];
  return table([heading, 'rows'], rows, ['rows']);
}
