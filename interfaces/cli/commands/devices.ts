import type { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { exitCodesHelp } from '../exit-codes.ts';
import { jsonOption, urlOption } from '../options.ts';
import { deviceChangeCommands } from './device-changes.ts';
import type { AddCommand } from './device-command.ts';
import { deviceQueryCommands } from './device-queries.ts';

const examples = `
Examples:
  fieldlog devices register boiler-7 --name "Boiler 7" --type boiler --label site=basement
  fieldlog devices list --type boiler
  fieldlog devices suspend boiler-7 --reason "Sensor drifts"
  fieldlog devices history boiler-7
`;

export function devicesCommand(program: Command, context: CommandContext): void {
  const devices = program
    .command('devices')
    .description('Register devices, change them, and see what is known of them')
    .addHelpText('after', examples + exitCodesHelp);
  const add: AddCommand = (name, description, example) =>
    devices
      .command(name)
      .description(description)
      .addOption(urlOption('the server (default: the one on this machine)'))
      .addOption(jsonOption())
      .addHelpText('after', `\nExample:\n  fieldlog devices ${example}\n${exitCodesHelp}`);
  deviceQueryCommands(add, context);
  deviceChangeCommands(add, context);
}
