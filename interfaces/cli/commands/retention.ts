import type { Command } from 'commander';
import type { RetentionStatus } from '../../../application/operations/status.ts';
import type { RetentionOperations } from '../../composition/retention.ts';
import { type CommandContext, jsonOption, print, withApplication } from '../command-context.ts';
import { exitCodesHelp } from '../exit-codes.ts';
import { count, table } from '../terminal.ts';

const help = `
RETENTION says how long points, and rollups of minutes, hours and days, are stored: rules in JSON or a file of them.
The most specific rule that matches applies; what none matches never expires. Projectors announce it when they start.
Works on the configured stores directly: see docs/retention.md.

Examples:
  fieldlog retention show
  RETENTION='[{"points": "90d", "minutes": "1y"}, {"metric": "vibration", "points": "7d"}]' fieldlog retention preview
  fieldlog retention sweep
`;

type Json = { readonly json?: boolean };

export function retentionCommand(program: Command, context: CommandContext): void {
  const retention = program
    .command('retention')
    .description('Show the retention of telemetry, preview what it would remove, remove it now')
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
    'Show the policy in force, the last sweep and what was removed',
    async (operations, options) => {
      const status = await operations.status();
      await print(context, status, () => retentionText(status).trimStart() || neverExpires, options);
    },
  );

  add(
    'preview',
    'Show what the configured policy would remove now; removes nothing',
    async (operations, options) => {
      const found = await operations.preview(context.signal);
      await print(context, found, () => removedText('would be removed', found), options);
    },
  );

  add('sweep', 'Remove now what has expired under the policy in force', async (operations, options) => {
    const status = await operations.sweep(context.signal);
    await print(context, status, () => retentionText(status).trimStart() || neverExpires, options);
  });
}

const withRetention = (
  context: CommandContext,
  work: (operations: RetentionOperations) => Promise<void>,
): Promise<void> =>
  withApplication(context, 'retention', async (application) => work(await application.retention()));

const neverExpires = 'Telemetry never expires.\n';
const targets = ['points', 'minutes', 'hours', 'days'] as const;

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
    ...targets.map((target) => rule[target] ?? '-'),
  ]);
  const policyText =
    rules.length === 0 ? neverExpires : table(['type', 'metric', ...targets], rules, [...targets]);
  const next =
    sweeping === null ? '' : `, the next is in progress, at ${sweeping.after || 'the first device'}`;
  const last =
    endedAt === null ? `No sweep has ended yet${next}` : `Swept to ${sweptTo}, by ${endedAt}${next}`;
  return `\n${policyText}In force since ${since}. ${last}.\n\n${removedText('removed', removed)}`;
}

function removedText(heading: string, removed: RetentionStatus['removed']): string {
  const rows = [
    ...targets.map((target) => [target, count(removed[target])]),
    ['rows that lost a metric', count(removed.trimmed)],
  ];
  return table([heading, 'rows'], rows, ['rows']);
}
