import type { Command } from 'commander';
import { configFrom, configSchema, maskedConfig } from '../../../infrastructure/config/config.ts';
import { type CommandContext, describeStores, jsonOption, withSession } from '../command-context.ts';
import { exitCodesHelp } from '../exit-codes.ts';

export function configCommand(program: Command, context: CommandContext): void {
  program
    .command('config')
    .description('Show the configuration in force, with secrets masked')
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
  const file = [
    'FIELDLOG_CONFIG',
    'file of NAME=value lines; environment variables take precedence',
  ] as const;
  const width = Math.max(...[...rows, file].map(([name]) => name.length));
  const lines = [...rows, file].map(([name, text]) => `  ${name.padEnd(width)}  ${text}`);
  return `Environment variables:\n${lines.join('\n')}`;
}

const help = `
Creates the tables of the read models, or migrates them to this release, and creates the topic of the telemetry log if
it does not exist. Every role does so when it starts; this does it once beforehand, as a step of a deployment. Running
it again changes nothing.

Example:
  FIELDLOG_CONFIG=/etc/fieldlog.env fieldlog migrate
`;

export function migrateCommand(program: Command, context: CommandContext): void {
  program
    .command('migrate')
    .description('Migrate the configured stores to this release')
    .addHelpText('after', help + exitCodesHelp)
    .action(() =>
      withSession(
        context,
        'migrate',
        (_, config) =>
          context.terminal.out(`The stores are ready for this release: ${describeStores(config)}\n`),
        'store',
      ),
    );
}
