import type { Argument, Command, Option } from 'commander';
import { z } from 'zod';
import { configSchema } from '../../../infrastructure/config/config.ts';
import { exitCodeOf } from '../../../interfaces/cli/exit-code-of.ts';
import { Interrupted } from '../../../interfaces/cli/exit-codes.ts';
import { program } from '../../../interfaces/cli/program.ts';
import { runCli } from '../cli.ts';
import { fieldsOf } from './json-fields.ts';
import type { ObservedCommand } from './scenario.ts';

/** Commands, their arguments, options and the values these may have. */
export async function commandNames(): Promise<ReadonlySet<string>> {
  const unused = { env: {}, terminal: {}, signal: new AbortController().signal, parts: {}, exitCode: 0 };
  return new Set(namesBelow(await program(unused as never), ''));
}

/** What a process ends with, by what came of it. */
export function exitCodeNames(observed: readonly ObservedCommand[]): ReadonlySet<string> {
  const codeOf = (line: string) => observed.find((command) => command.line === line)?.code;
  const codes = {
    done: codeOf('config'),
    refused: codeOf('devices erase d-nobody --reason asked --yes'),
    'wrong use': codeOf('devices list --none'),
    unavailable: codeOf('status --url http://127.0.0.1:1'),
    unexpected: exitCodeOf(new TypeError('broken')),
    SIGHUP: exitCodeOf(new Interrupted('SIGHUP')),
    SIGINT: exitCodeOf(new Interrupted('SIGINT')),
    SIGTERM: exitCodeOf(new Interrupted('SIGTERM')),
  };
  return new Set(Object.entries(codes).map(([outcome, code]) => `${code} ${outcome}`));
}

function namesBelow(command: Command, path: string): readonly string[] {
  const at = `${path} ${command.name()}`.trimStart();
  return [
    at,
    ...command.aliases().map((alias) => `${path} ${alias}`.trimStart()),
    ...command.registeredArguments.flatMap((argument) =>
      argumentNames(argument).map((name) => `${at} ${name}`),
    ),
    ...command.options.flatMap((option) => optionNames(option).map((name) => `${at} ${name}`)),
    ...command.commands.flatMap((one) => namesBelow(one, at)),
  ];
}

function argumentNames(argument: Argument): readonly string[] {
  const name = `${argument.name()}${argument.variadic ? '...' : ''}`;
  const shown = argument.required ? `<${name}>` : `[${name}]`;
  return [shown, ...(argument.argChoices ?? []).map((choice) => `${shown} = ${choice}`)];
}

/** The word that stands for the value is prose. */
function optionNames({
  short,
  long,
  required,
  optional,
  variadic,
  argChoices = [],
}: Option): readonly string[] {
  const value = variadic ? 'value...' : 'value';
  const takes = required ? ` <${value}>` : optional ? ` [${value}]` : '';
  return [short, long]
    .filter((flag) => flag !== undefined)
    .flatMap((flag) => [`${flag}${takes}`, ...argChoices.map((choice) => `${flag} = ${choice}`)]);
}

/** The fields of what each command answers with `--json`. Those of `config` are the variables. */
export async function commandJsonNames(
  observed: readonly ObservedCommand[],
  rejects: string,
): Promise<ReadonlySet<string>> {
  const known = await commandNames();
  const names = new Set<string>();
  for (const { line, out } of observed) {
    const [first = '', second = ''] = line.split(' ');
    const command = known.has(`fieldlog ${first} ${second}`) ? `${first} ${second}` : first;
    if (out === '' || command === 'config') continue;
    for (const field of fieldsOf(JSON.parse(out))) names.add(`${command} ${field}`);
  }
  for (const refused of rejects.split('\n').filter(Boolean))
    for (const field of fieldsOf(JSON.parse(refused))) names.add(`import --rejects ${field}`);
  return names;
}

/** Defaults that name a place or a thing, and not a quantity. */
const namedDefaults = ['HOST', 'PORT', 'WORKER_PORT', 'DATA_DIR', 'KAFKA_TOPIC', 'KAFKA_GROUP'];

/** Variables, the values of those that have names for values, and the one that names a file of them. */
export async function variableNames(): Promise<ReadonlySet<string>> {
  const { properties = {} } = z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' }) as {
    properties?: Readonly<Record<string, { enum?: readonly string[]; default?: unknown }>>;
  };
  const names = Object.entries(properties).flatMap(([name, { enum: values = [], default: value }]) => [
    name,
    ...values.map((one) => `${name} = ${one}`),
    ...(namedDefaults.includes(name) ? [`${name} default ${value}`] : []),
  ]);
  const { err } = await runCli(['config'], { env: { FIELDLOG_CONFIG: '/nowhere/fieldlog.env' } });
  return new Set([...names, ...(err.includes('/nowhere/fieldlog.env') ? ['FIELDLOG_CONFIG'] : [])]);
}
