import { readFile } from 'node:fs/promises';
import { text as streamText } from 'node:stream/consumers';
import type { Command } from 'commander';
import type { z } from 'zod';
import type { previewAnswer } from '../../http/alarm-schemas.ts';
import type { ruleAnswer } from '../../http/rule-schemas.ts';
import { type ApiOptions, apiCommands, ifMatch, type RevisionOption } from '../api-commands.ts';
import { type CommandContext, print } from '../command-context.ts';
import { exitCodesHelp, UsageError } from '../exit-codes.ts';
import { fieldLines, table } from '../terminal.ts';

const help = `
A rule is a file of JSON, or - for standard input: { "name": "Boiler too hot", "kind": "range", "above": 90, "for": "5m",
"metric": "temperature", "selector": { "type": "boiler" }, "severity": "critical" }. Kinds: range, rate, stuck, silent,
novel; docs/detection.md has all fields.

Examples:
  fieldlog rules preview too-hot.json --from 2026-03-01T00:00:00Z --to 2026-04-01T00:00:00Z
  fieldlog rules create too-hot.json
  fieldlog rules list
  fieldlog rules disable 01a21f42-e640-7002-b656-013c3f47adfa
`;

type Rule = z.output<typeof ruleAnswer>;
type Preview = z.output<typeof previewAnswer>;

export function rulesCommand(program: Command, context: CommandContext): void {
  const rules = program
    .command('rules')
    .description('Create, change, preview and list the rules that raise alarms')
    .addHelpText('after', help + exitCodesHelp);
  const { add, addChange, clientOf } = apiCommands(rules, 'rule', context);

  add(
    'create <file>',
    'Create a rule; the id is generated if the file has no ruleId',
    'create too-hot.json',
  ).action(async (file: string, options: ApiOptions) =>
    send('POST', '/api/v1/rules', await jsonFrom(file), options),
  );

  addChange(
    'change <id> <file>',
    'Change the fields of a rule that are in the file; null removes one',
    'change too-hot change.json',
  ).action(async (id: string, file: string, options: ApiOptions & RevisionOption) =>
    send('PATCH', addressOf(id), await jsonFrom(file), options),
  );

  for (const [action, description] of Object.entries(actions))
    addChange(`${action} <id>`, description, `${action} too-hot`).action(
      (id: string, options: ApiOptions & RevisionOption) =>
        send('POST', `${addressOf(id)}/${action}`, {}, options),
    );

  add('list', 'List rules in order of creation', 'list --json').action(async (options: ApiOptions) => {
    const { rules: found } = await clientOf(options).get<{ rules: Rule[] }>('/api/v1/rules');
    const rows = found.map((rule) => [
      rule.ruleId,
      rule.status,
      rule.kind,
      rule.severity,
      rule.name,
      rule.since,
    ]);
    await print(
      context,
      found,
      () => table(['id', 'status', 'kind', 'severity', 'name', 'since'], rows),
      options,
    );
  });

  add('show <id>', 'Show a rule', 'show too-hot').action(async (id: string, options: ApiOptions) => {
    const rule = await clientOf(options).get<Rule>(addressOf(id));
    await print(context, rule, () => ruleText(rule), options);
  });

  add(
    'preview <file>',
    'Show the alarms a rule would have raised over stored readings',
    'preview too-hot.json --from 2026-03-01T00:00:00Z --to 2026-04-01T00:00:00Z',
  )
    .requiredOption('--from <time>', 'from this time on, in ISO 8601')
    .requiredOption('--to <time>', 'and before this time')
    .action(async (file: string, { from, to, ...options }: ApiOptions & { from: string; to: string }) => {
      const body = { rule: await jsonFrom(file), from, to };
      const found = await clientOf(options).send<Preview>('POST', '/api/v1/rules/preview', body);
      await print(context, found, () => previewText(found), options);
    });

  async function send(
    method: 'POST' | 'PATCH',
    path: string,
    body: unknown,
    options: ApiOptions & RevisionOption,
  ): Promise<void> {
    const rule = await clientOf(options).send<Rule>(method, path, body, ifMatch(options));
    await print(context, rule, () => ruleText(rule), options);
  }
}

const actions = {
  enable: 'Enable a rule',
  disable: 'Disable a rule: its alarms are cleared',
  remove: 'Remove a rule permanently: its alarms are cleared',
} as const;

const addressOf = (id: string): string => `/api/v1/rules/${encodeURIComponent(id)}`;

async function jsonFrom(file: string): Promise<unknown> {
  const text = await (file === '-' ? streamText(process.stdin) : readFile(file, 'utf8')).catch((error) => {
    throw new UsageError(`${file} cannot be read: ${(error as Error).message}`);
  });
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${file} is not JSON: ${(error as Error).message}`);
  }
}

const ruleText = ({ ruleId, ...rule }: Rule): string => fieldLines({ id: ruleId, ...rule });

function previewText({ points, devices, raised, changes, isCut }: Preview): string {
  const rows = changes.map(({ at, deviceId, metric, change, explanation }) => [
    at,
    deviceId,
    metric ?? '',
    change,
    explanation,
  ]);
  const cut = isCut ? `The first ${changes.length} changes are shown.\n` : '';
  return `${table(['at', 'device', 'metric', 'change', 'explanation'], rows)}\n${raised} alarms in ${points} values of ${devices} devices\n${cut}`;
}
