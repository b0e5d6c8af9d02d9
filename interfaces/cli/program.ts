import { Command, CommanderError } from 'commander';
import { storageFaultOf } from '../../application/ports/storage.ts';
import packageJson from '../../package.json' with { type: 'json' };
import type { CommandContext } from './command-context.ts';
import { auditCommand } from './commands/audit.ts';
import { backupCommands } from './commands/backup.ts';
import { checkCommand } from './commands/check.ts';
import { configCommand, migrateCommand } from './commands/config.ts';
import { deadLettersCommand } from './commands/dead-letters.ts';
import { devicesCommand } from './commands/devices.ts';
import { exportCommand } from './commands/export.ts';
import { importCommand } from './commands/import.ts';
import { keysCommand } from './commands/keys.ts';
import { projectionsCommand } from './commands/projections.ts';
import { retentionCommand } from './commands/retention.ts';
import { roleCommands } from './commands/serve.ts';
import { simulateCommand } from './commands/simulate.ts';
import { statusCommand } from './commands/status.ts';
import { topicsCommand } from './commands/topics.ts';
import { exitCodeOf, exitCodesHelp } from './exit-codes.ts';
import { printable } from './terminal.ts';

const examples = `
Examples:
  fieldlog serve
  fieldlog devices register boiler-7 --name "Boiler 7" --type boiler
  fieldlog import seattle-weather.csv --device seattle
  fieldlog simulate --devices 200 --seconds 30
  fieldlog status

Configuration comes from environment variables: \`fieldlog config --help\` lists them.
`;

/** Runs one command line and resolves with what the process should end with; errors are one line each. */
export async function run(args: readonly string[], context: CommandContext): Promise<number> {
  const { terminal, env } = context;
  try {
    await program(context, args.includes('--json')).parseAsync(args, { from: 'user' });
    return context.exitCode;
  } catch (error) {
    const isJson = args.includes('--json') && exitCodeOf(error) !== 0;
    if (isJson) terminal.note(JSON.stringify({ error: messageOf(error), exitCode: exitCodeOf(error) }));
    else if (!(error instanceof CommanderError)) terminal.note(`fieldlog: ${messageOf(error)}`);
    if (env.LOG_LEVEL === 'debug' && error instanceof Error) terminal.note(error.stack ?? '');
    return exitCodeOf(error);
  }
}

/** With `isJson`, what is wrong with the arguments is thrown and not written. */
export function program(context: CommandContext, isJson = false): Command {
  const { terminal } = context;
  const root = new Command('fieldlog')
    .description('Event-sourced IoT backend: devices and their telemetry, kept as events, queried as tables')
    .version(packageJson.version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void terminal.out(text),
      writeErr: (text) => terminal.note(text.trimEnd()),
      outputError: (text, write) => {
        if (!isJson) write(text.replace(/^error: /, 'fieldlog: '));
      },
    })
    .addHelpText('after', examples + exitCodesHelp);
  for (const add of [
    roleCommands,
    importCommand,
    exportCommand,
    simulateCommand,
    devicesCommand,
    statusCommand,
    projectionsCommand,
    deadLettersCommand,
    auditCommand,
    retentionCommand,
    backupCommands,
    checkCommand,
    migrateCommand,
    topicsCommand,
    keysCommand,
    configCommand,
  ])
    add(root, context);
  return root;
}

/** What an operator has to do about a file says more than what could not be done without it. */
const reasonOf = (error: unknown): string =>
  storageFaultOf(error)?.reason ?? (error instanceof Error ? error.message : String(error));

/** On one line that steers no terminal, whatever the error brought along. */
const messageOf = (error: unknown): string =>
  printable(
    reasonOf(error)
      .replace(/^error: /, '')
      .replace(/\s*\n\s*/g, ' '),
  );
