import path from 'node:path';
import type { Command } from 'commander';
import { type Config, configFrom } from '../../../infrastructure/config/config.ts';
import { type CommandContext, jsonOption, print } from '../command-context.ts';
import { configWithData } from '../data-folder.ts';
import { exitCodesHelp, Refused, UsageError } from '../exit-codes.ts';
import { serverOf } from '../running-servers.ts';
import { count, counted, table } from '../terminal.ts';

const backupHelp = `
Copies events, telemetry, read models and API keys while servers write to them, reads the copies back, and writes
manifest.json with their digests. FOLDER is there once the backup is whole. Database servers, Kafka and EventStoreDB are
backed up with their own tools: docs/backup.md.

Examples:
  fieldlog backup /backups/2026-11-27
  fieldlog backup /backups/logs --logs-only
`;

const restoreHelp = `
Checks the backup against its manifest and copies it into DATA_DIR, which must have no data. Read models that the backup
does not have are built from the logs when a server starts. Cut short, run it again.

Example:
  DATA_DIR=/var/lib/fieldlog fieldlog restore /backups/2026-11-27
`;

type Manifest = Awaited<ReturnType<typeof import('../../composition/backups.ts').backUpStore>>;

export function backupCommands(program: Command, context: CommandContext): void {
  program
    .command('backup <folder>')
    .description('Back up the embedded files of a store that may be in use')
    .option('--logs-only', 'without read models, which can be rebuilt')
    .addOption(jsonOption())
    .addHelpText('after', backupHelp + exitCodesHelp)
    .action(async (folder: string, { logsOnly = false, json }: { logsOnly?: boolean; json?: boolean }) => {
      const config = requireFiles(configWithData(context, 'nothing'));
      const { backUpStore } = await import('../../composition/backups.ts');
      const manifest = await backUpStore(config, folder, logsOnly);
      await print(context, manifest, () => manifestText(manifest, `backed up to ${path.resolve(folder)}`), {
        json,
      });
    });

  program
    .command('restore <folder>')
    .description('Put a backup into an empty data folder')
    .addOption(jsonOption())
    .addHelpText('after', restoreHelp + exitCodesHelp)
    .action(async (folder: string, { json }: { json?: boolean }) => {
      const config = requireFiles(configFrom(context.env));
      const server = serverOf(config.DATA_DIR);
      if (server)
        throw new Refused(
          `the server at ${server.url} (process ${server.pid}) runs on ${server.dataDir}: stop it first`,
        );
      const { restoreStore } = await import('../../composition/backups.ts');
      const manifest = await restoreStore(config, folder);
      const done = `restored to ${path.resolve(config.DATA_DIR)}`;
      await print(context, manifest, () => manifestText(manifest, done), { json });
    });
}

function requireFiles(config: Config): Config {
  const { EVENTSTORE_URL, KAFKA_BROKERS, MYSQL_URL } = config;
  if (EVENTSTORE_URL !== undefined && KAFKA_BROKERS !== undefined && MYSQL_URL !== undefined)
    throw new UsageError('there are no embedded files: docs/backup.md says how each server is backed up');
  return config;
}

function manifestText({ release, createdAt, files }: Manifest, done: string): string {
  const rows = files.map(({ name, bytes, position }) => [
    name,
    count(bytes),
    position === null ? '-' : count(position),
  ]);
  const listed = table(['file', 'bytes', 'last position'], rows, ['bytes', 'last position']);
  return `${listed}${counted(files.length, 'file')} of ${createdAt}, by release ${release}, ${done}.\n`;
}
