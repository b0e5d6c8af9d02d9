import type { Command } from 'commander';
import { configFrom, configSchema, maskedConfig } from '../../../infrastructure/config/config.ts';
import type { CommandContext } from '../command-context.ts';
import { exitCodesHelp } from '../exit-codes.ts';
import { jsonOption } from '../options.ts';

export function configCommand(program: Command, context: CommandContext): void {
  program
    .command('config')
    .description('Show the configuration that is in force, without its passwords')
    .addOption(jsonOption())
    .addHelpText('after', () => `\n${variables()}\n${examples}${exitCodesHelp}`)
    .action(({ json }: { json?: boolean }) => showConfig(context, json));
}

async function showConfig({ env, terminal }: CommandContext, json?: boolean): Promise<void> {
  const config = maskedConfig(configFrom(env));
  const lines = Object.entries(config).map(([name, value]) => `${name}=${value}\n`);
  await terminal.out(json ? `${JSON.stringify(config, null, 2)}\n` : lines.join(''));
}

const examples = `
Examples:
  fieldlog config
  PORT=9000 DATA_DIR=/var/lib/fieldlog fieldlog config --json
  FIELDLOG_CONFIG=/etc/fieldlog.env fieldlog config
`;

function variables(): string {
  const rows = Object.entries(configSchema.shape).map(([name, schema]) => {
    const fallback = String(schema.safeParse(undefined).data ?? '');
    return [name, `${schema.description}${fallback === '' ? '' : ` (default: ${fallback})`}`] as const;
  });
  const file = ['FIELDLOG_CONFIG', 'file of NAME=value lines; the environment goes before it'] as const;
  const width = Math.max(...[...rows, file].map(([name]) => name.length));
  const lines = [...rows, file].map(([name, text]) => `  ${name.padEnd(width)}  ${text}`);
  return `Environment variables:\n${lines.join('\n')}`;
}
