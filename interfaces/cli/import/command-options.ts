import { type Command, Option } from 'commander';
import { inputFormats } from '../../import/cells.ts';
import { metricColumn } from '../../import/columns.ts';
import { encodingNamed } from '../../import/decoding.ts';
import { delimiterNamed, type ImportOptions, mostSkipped } from '../../import/import-options.ts';
import { each, jsonOption, urlOption, whole } from '../command-context.ts';
import { UsageError } from '../exit-codes.ts';

/** As they are given on the command line. */
export type ImportCommandOptions = Omit<ImportOptions, 'batch'> & {
  readonly batch?: number;
  readonly dryRun?: boolean;
  readonly url?: string;
  readonly retry: number;
  readonly rejects?: string;
  readonly fromRejects?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
};

export function addImportOptions(command: Command): Command {
  return command
    .option('--device <id>', 'the device all lines are of')
    .option(
      '--device-column <name>',
      'the column that holds the device; repeat it for ids of several',
      each(String),
    )
    .option('--device-prefix <text>', 'put before every id that a column holds')
    .option('--device-slug', 'make ids of names: letters without accents, _ for what an id cannot have')
    .option('--time-column <name>', 'the column that holds the time')
    .option('--time-columns <names>', 'the columns that hold it together, such as Date,Time')
    .option(
      '--time-format <form>',
      'auto, iso, epoch-s, -ms, -us, -ns, or such as "dd.MM.yyyy HH:mm"',
      'auto',
    )
    .option('--tz <zone>', 'whose clocks show the times that come without an offset', 'UTC')
    .option(
      '--metric <column[=metric]>',
      'a column to import; repeat it; only those then',
      each(metricColumn),
    )
    .option('--text <column[=metric]>', 'a column to import as text; repeat it', each(metricColumn))
    .option('--metric-column <name>', 'the column that names the metric, where each line has one')
    .option('--value-column <name>', 'the column that holds its value')
    .option('--unit-column <name>', 'the column that holds its unit, which must be the same in all lines')
    .option(
      '--ignore-columns <names>',
      'columns to leave out, such as note,id; * for all of text',
      each(String),
    )
    .option(
      '--null <text>',
      'cells that stand for nothing, as NaN, NA, N/A, null and - do; repeat it',
      each(String),
    )
    .option('--overwrite', 'of lines that contradict each other, the last counts, instead of the first')
    .option('--dry-run', 'show columns, times and the first readings, and import nothing')
    .option('--no-register', 'refuse devices that are not registered, instead of registering them')
    .option('--name <name>', 'name of the device where it is registered (default: its id)')
    .option('--type <type>', 'type of devices that are registered', 'imported')
    .addOption(new Option('--format <format>', 'what the files are').choices(inputFormats).default('auto'))
    .option('--encoding <name>', 'such as windows-1252 (default: UTF-8, or UTF-16 by content)', encodingNamed)
    .option('--delimiter <char>', 'what separates columns (default: by content)', delimiterNamed)
    .addOption(new Option('--decimal <char>', 'the decimal point (default: by content)').choices(['.', ',']))
    .option('--skip <lines>', 'lines before the column names', whole(0, mostSkipped), 0)
    .option(
      '--skip-rows <rows>',
      'rows after the column names, such as one of units',
      whole(0, mostSkipped),
      0,
    )
    .option('--comment <text>', 'leave out lines that begin with it')
    .option('--records <path>', 'where JSON has the records, such as features or data.rows')
    .option('--flatten', 'import what objects in JSON hold, as columns such as battery.level')
    .option('--batch <readings>', 'readings sent at a time (default: 1000, to a server 5000)', whole(1, 5000))
    .addOption(urlOption('send to the server there (default: work on the configured stores directly)'))
    .option('--retry <seconds>', 'how long to retry while the server cannot serve', whole(0, 86_400), 60)
    .option('--rejects <file>', 'write every refused line there, as NDJSON, if there are any')
    .option('--from-rejects', 'the files are rejects of earlier imports: import what they hold')
    .option('--force', 'overwrite a rejects file that is there already')
    .option('--show <lines>', 'refused lines in the report', whole(0, 100_000), 10)
    .addOption(jsonOption());
}

/** What goes together with `--from-rejects`: the rest is in the rejects. */
const ofRejects = new Set([
  ...['fromRejects', 'overwrite', 'dryRun', 'register', 'type', 'batch', 'url', 'retry'],
  ...['rejects', 'force', 'show', 'json'],
]);

/** Throws `UsageError` for options of `command` that do not go together. */
export function checkTogether(command: Command, options: ImportCommandOptions): void {
  if (options.dryRun && options.rejects !== undefined)
    throw new UsageError('--dry-run writes nothing: leave out --rejects, or raise --show');
  if (!options.fromRejects) return;
  const other = command.options.find((option) => {
    const name = option.attributeName();
    return !ofRejects.has(name) && command.getOptionValueSource(name) === 'cli';
  });
  if (other)
    throw new UsageError(`--from-rejects reads lines as they were read before: leave out ${other.long}`);
}
