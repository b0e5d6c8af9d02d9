import type { Command } from 'commander';
import { type CommandContext, withSession } from '../command-context.ts';
import { exitCodesHelp } from '../exit-codes.ts';
import { whereDataIs } from '../where-data-is.ts';

const help = `
Makes the tables of the read models, or brings them up to this release, and makes the topic of the telemetry log where
there is none. Every role does so when it starts; this does it once before any of them does, as a step of a deployment.
Nothing changes when all is as it should be.

Example:
  FIELDLOG_CONFIG=/etc/fieldlog.env fieldlog migrate
`;

export function migrateCommand(program: Command, context: CommandContext): void {
  program
    .command('migrate')
    .description('Prepare the configured stores for this release, and end')
    .addHelpText('after', help + exitCodesHelp)
    .action(() =>
      withSession(context, 'migrate', (_, config) =>
        context.terminal.out(`The stores are ready for this release: ${whereDataIs(config)}\n`),
      ),
    );
}
