import { setImmediate as nextTurn } from 'node:timers/promises';
import { Command, CommanderError, Help } from 'commander';
import { storageFaultOf } from '../../application/ports/storage.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { printable } from '../printable.ts';
import type { CommandContext } from './command-context.ts';
import { exitCodes, exitCodesHelp } from './exit-codes.ts';
import type { Terminal } from './terminal.ts';

const examples = `
Examples:
  fieldlog serve
  fieldlog devices register boiler-7 --name "Boiler 7" --type boiler
  fieldlog import seattle-weather.csv --device seattle
  fieldlog simulate --devices 200 --seconds 30
  fieldlog status

Configuration comes from environment variables: \`fieldlog config --help\` lists them.
`;

type AddCommand = (program: Command, context: CommandContext) => void;

/**
 * Every command, in the order of the help. Each is loaded when it is asked for, since together they load libraries for
 * everything that Fieldlog can do; the help of all shows these descriptions alone.
 */
const commands: Readonly<Record<string, readonly [description: string, load: () => Promise<AddCommand>]>> = {
  serve: ['Run everything in one process: the HTTP API and the projectors', roles],
  api: ['Run the HTTP API alone, one of any number, on shared servers', roles],
  'device-projector': ['Run the projectors of devices alone, on shared servers', roles],
  'telemetry-projector': ['Run a projector of telemetry alone, one of any number, on shared servers', roles],
  import: [
    'Bring in the history of one device or many from CSV, JSON or Parquet',
    async () => (await import('./commands/import.ts')).importCommand,
  ],
  export: [
    'Write the points of devices to a file of CSV, NDJSON or Parquet',
    async () => (await import('./commands/export.ts')).exportCommand,
  ],
  simulate: [
    'Send readings as a fleet of devices would, and check that all of them arrive',
    async () => (await import('./commands/simulate.ts')).simulateCommand,
  ],
  devices: [
    'Register, change, list and show devices',
    async () => (await import('./commands/devices.ts')).devicesCommand,
  ],
  rules: [
    'Create, change, preview and list the rules that raise alarms',
    async () => (await import('./commands/rules.ts')).rulesCommand,
  ],
  alarms: [
    'List, show, acknowledge, silence and clear alarms',
    async () => (await import('./commands/alarms.ts')).alarmsCommand,
  ],
  hooks: [
    'Create, change and list the hooks that alarms are sent to, and retry failed deliveries',
    async () => (await import('./commands/hooks.ts')).hooksCommand,
  ],
  tail: [
    'Follow readings, device changes and alarms as they come',
    async () => (await import('./commands/tail.ts')).tailCommand,
  ],
  status: [
    'Show projection lag, dead letters and the ledger',
    async () => (await import('./commands/status.ts')).statusCommand,
  ],
  projections: [
    'List, rebuild, switch, roll back, pause and compare read models, while they are read',
    async () => (await import('./commands/projections.ts')).projectionsCommand,
  ],
  'dead-letters': [
    'List, show, retry and discard events that a projection could not apply',
    async () => (await import('./commands/dead-letters.ts')).deadLettersCommand,
  ],
  audit: [
    'Check that every accepted reading is stored; exit code 1 on any difference',
    async () => (await import('./commands/audit.ts')).auditCommand,
  ],
  retention: [
    'Show the retention of telemetry, preview what it would remove, remove it now',
    async () => (await import('./commands/retention.ts')).retentionCommand,
  ],
  backup: ['Back up the embedded files of a store that may be in use', backups],
  restore: ['Put a backup into an empty data folder', backups],
  check: [
    'Check the embedded files for damage; exit code 1 on any',
    async () => (await import('./commands/check.ts')).checkCommand,
  ],
  migrate: [
    'Migrate the configured stores to this release',
    async () => (await import('./commands/config.ts')).migrateCommand,
  ],
  topics: [
    'Copy the telemetry topic to one with more partitions',
    async () => (await import('./commands/topics.ts')).topicsCommand,
  ],
  keys: ['Create, list and revoke API keys', async () => (await import('./commands/keys.ts')).keysCommand],
  config: [
    'Show the configuration in force, with secrets masked',
    async () => (await import('./commands/config.ts')).configCommand,
  ],
};

/** Commands that are in one module bring each other along. */
async function roles(): Promise<AddCommand> {
  return (await import('./commands/serve.ts')).roleCommands;
}

async function backups(): Promise<AddCommand> {
  return (await import('./commands/backup.ts')).backupCommands;
}

/** Runs one command line and resolves with what the process should end with; errors are one line each. */
export async function run(args: readonly string[], context: CommandContext): Promise<number> {
  const { terminal, env } = context;
  const isJson = args.includes('--json');
  try {
    const named = args.find((one) => !one.startsWith('-') && one !== 'help') ?? '';
    const root = await program(context, Object.hasOwn(commands, named) ? [named] : [], isJson);
    // Help of what is no command would be that of all, as if nothing were wrong.
    const isKnownName = named === '' || isKnown(root, named);
    const asked = isKnownName ? args : args.filter((one) => one !== '--help' && one !== '-h');
    await root.parseAsync(asked, { from: 'user' }).catch(throwUnlessHelp);
    await assertWritten(terminal);
    return context.exitCode;
  } catch (error) {
    const exitCode = await exitCodeOf(error);
    if (isJson && exitCode !== exitCodes.ok)
      terminal.note(JSON.stringify({ error: messageOf(error), exitCode }));
    else if (!(error instanceof CommanderError)) terminal.note(`fieldlog: ${messageOf(error)}`);
    if (env.LOG_LEVEL === 'debug' && error instanceof Error) terminal.note(error.stack ?? '');
    return exitCode;
  }
}

/** Commander throws when it has shown help or the version. */
function throwUnlessHelp(error: unknown): void {
  if (!(error instanceof CommanderError) || error.exitCode !== 0) throw error;
}

/** Throws where standard output cannot be written to: what was written last may not have failed yet. */
async function assertWritten(terminal: Terminal): Promise<void> {
  await nextTurn();
  await terminal.out('');
}

/**
 * The command line with these commands as they are, and of all others only what they are for. With `isJson`, what is
 * wrong with the arguments is thrown and not written.
 */
export async function program(
  context: CommandContext,
  wanted: readonly string[] = Object.keys(commands),
  isJson = false,
): Promise<Command> {
  const { terminal } = context;
  const root: Command = new Command('fieldlog')
    .description('Event-sourced IoT backend: devices and their telemetry, kept as events, queried as tables')
    .version(packageJson.version)
    .exitOverride()
    .configureOutput({
      // A failure is noticed at the end.
      writeOut: (text) => void terminal.out(text).catch(() => {}),
      writeErr: (text) => terminal.note(text.trimEnd()),
      outputError: (text, write) => {
        if (!isJson) write(text.replace(/^error: /, 'fieldlog: '));
      },
    })
    .configureHelp({
      // The arguments of a command that is not loaded are not known.
      subcommandTerm: (command) =>
        command.parent === root ? command.name() : new Help().subcommandTerm(command),
    })
    .addHelpText('after', examples + exitCodesHelp);
  for (const [name, [description, load]] of Object.entries(commands)) {
    if (isKnown(root, name)) continue;
    if (wanted.includes(name)) (await load())(root, context);
    else if (!wanted.some((one) => commands[one]?.[1] === load)) root.command(name).description(description);
  }
  return root;
}

const isKnown = (root: Command, name: string): boolean => root.commands.some((one) => one.name() === name);

/** The errors of every layer take long to load. */
async function exitCodeOf(error: unknown): Promise<number> {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  return (await import('./exit-code-of.ts')).exitCodeOf(error);
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
