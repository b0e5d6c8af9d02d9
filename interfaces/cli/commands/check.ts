import type { Command } from 'commander';
import type { CheckedFile } from '../../composition/file-checks.ts';
import { type CommandContext, jsonOption, print } from '../command-context.ts';
import { configWithData } from '../data-folder.ts';
import { exitCodes, exitCodesHelp } from '../exit-codes.ts';
import { count, table } from '../terminal.ts';

const help = `
Reads every page of the embedded files, servers may run meanwhile, and compares indexes with tables. \`fieldlog audit\`
compares what the files say with each other.

Example:
  fieldlog check
`;

export function checkCommand(program: Command, context: CommandContext): void {
  program
    .command('check')
    .description('Check the embedded files for damage; exit code 1 on any')
    .addOption(jsonOption())
    .addHelpText('after', help + exitCodesHelp)
    .action(async ({ json }: { json?: boolean }) => {
      const config = configWithData(context, 'nothing', ['events.db']);
      const files = (await import('../../composition/file-checks.ts')).checkFiles(config);
      if (files.some(({ damage }) => damage !== null)) context.exitCode = exitCodes.refused;
      await print(context, files, () => checkText(files), { json });
    });
}

function checkText(files: readonly CheckedFile[]): string {
  if (files.length === 0) return 'There are no embedded files.\n';
  const rows = files.map(({ name, bytes, damage }) => [
    name,
    count(bytes),
    damage === null ? 'whole' : 'damaged',
  ]);
  const damage = files.flatMap((file) => (file.damage === null ? [] : [`${file.damage}\n`]));
  return `${table(['file', 'bytes', ''], rows, ['bytes'])}${damage.join('')}`;
}
