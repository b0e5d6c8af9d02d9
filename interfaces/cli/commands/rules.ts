import { readFile } from 'node:fs/promises';
import { text as streamText } from 'node:stream/consumers';
import type { Command } from 'commander';
import type { z } from 'zod';
import type { previewAnswer } from '../../http/alarm-schemas.ts';
import type { ruleAnswer } from '../../http/rule-schemas.ts';
import { apiClient } from '../api-client.ts';
import {
  type CommandContext,
  clientOptions,
  jsonOption,
  localUrl,
  print,
  urlOption,
  whole,
} from '../command-context.ts';
import { exitCodesHelp, UsageError } from '../exit-codes.ts';
import { printable, table } from '../terminal.ts';

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
type ApiOptions = { readonly url?: string; readonly json?: boolean };
type Condition = { readonly ifRevision?: number };

export function rulesCommand(program: Command, context: CommandContext): void {
  const rules = program
    .command('rules')
    .description('Create, change, preview and list the rules that raise alarms')
    .addHelpText('after', help + exitCodesHelp);
  const add = (name: string, description: string, example: string) =>
    rules
      .command(name)
      .description(description)
      .addOption(urlOption('the server (default: the one on this machine)'))
      .addOption(jsonOption())
      .addHelpText('after', `\nExample:\n  fieldlog rules ${example}\n${exitCodesHelp}`);
  const conditional = (name: string, description: string, example: string) =>
    add(name, description, example).option(
      '--if-revision <revision>',
      'only if the rule is still at this revision',
      whole(0, 999_999_999),
    );

  add(
    'create <file>',
    'Create a rule; the id is generated if the file has no ruleId',
    'create too-hot.json',
  ).action(async (file: string, options: ApiOptions) =>
    send('POST', '/api/v1/rules', await jsonFrom(file), options),
  );

  conditional(
    'change <id> <file>',
    'Change the fields of a rule that are in the file; null removes one',
    'change too-hot change.json',
  ).action(async (id: string, file: string, options: ApiOptions & Condition) =>
    send('PATCH', addressOf(id), await jsonFrom(file), options),
  );

  for (const [action, description] of Object.entries(actions))
    conditional(`${action} <id>`, description, `${action} too-hot`).action(
      (id: string, options: ApiOptions & Condition) =>
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

  const clientOf = ({ url }: ApiOptions) => apiClient(url ?? localUrl(context), clientOptions(context));

  async function send(
    method: 'POST' | 'PATCH',
    path: string,
    body: unknown,
    { ifRevision, ...options }: ApiOptions & Condition,
  ): Promise<void> {
    const headers = ifRevision === undefined ? {} : { 'If-Match': `"${ifRevision}"` };
    const rule = await clientOf(options).send<Rule>(method, path, body, headers);
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

function ruleText({ ruleId, ...rule }: Rule): string {
  const lines = Object.entries({ id: ruleId, ...rule });
  const width = Math.max(...lines.map(([name]) => name.length));
  return lines
    .map(([name, value]) => {
      const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
      return `${name.padEnd(width)}  ${printable(text)}\n`;
    })
    .join('');
}

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
