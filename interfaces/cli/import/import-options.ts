import { type Command, Option } from 'commander';
import { registration } from '../../http/device-schemas.ts';
import { each, jsonOption, urlOption, whole } from '../command-context.ts';
import { UsageError } from '../exit-codes.ts';
import type { Decimal } from './cells.ts';
import { type MetricColumn, metricColumn } from './columns.ts';
import { encodingNamed } from './decoding.ts';
import type { HistoryOptions, SendingOptions } from './import-file.ts';
import { type InputFormat, inputFormats } from './input-rows.ts';
import { timeReader } from './timestamps.ts';

/** As they are given on the command line. */
export type ImportOptions = {
  readonly device?: string;
  readonly deviceColumn?: readonly string[];
  readonly devicePrefix?: string;
  readonly deviceSlug?: boolean;
  readonly timeColumn?: string;
  readonly timeColumns?: string;
  readonly timeFormat: string;
  readonly tz: string;
  readonly metric?: readonly MetricColumn[];
  readonly text?: readonly MetricColumn[];
  readonly metricColumn?: string;
  readonly valueColumn?: string;
  readonly unitColumn?: string;
  readonly ignoreColumns?: readonly string[];
  readonly null?: readonly string[];
  readonly register: boolean;
  readonly name?: string;
  readonly type: string;
  readonly format: InputFormat;
  readonly encoding?: string;
  readonly delimiter?: string;
  readonly decimal?: Decimal;
  readonly skip: number;
  readonly skipRows: number;
  readonly comment?: string;
  readonly records?: string;
  readonly flatten?: boolean;
  readonly overwrite?: boolean;
  readonly dryRun?: boolean;
  readonly batch: number;
  readonly url?: string;
  readonly retry: number;
  readonly rejects?: string;
  readonly fromRejects?: boolean;
  readonly force?: boolean;
  readonly show: number;
  readonly json?: boolean;
};

const mostLines = 1_000_000;

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
    .option('--delimiter <char>', 'what separates columns (default: by content)', delimiter)
    .addOption(new Option('--decimal <char>', 'the decimal point (default: by content)').choices(['.', ',']))
    .option('--skip <lines>', 'lines before the column names', whole(0, mostLines), 0)
    .option('--skip-rows <rows>', 'rows after the column names, such as one of units', whole(0, mostLines), 0)
    .option('--comment <text>', 'leave out lines that begin with it')
    .option('--records <path>', 'where JSON has the records, such as features or data.rows')
    .option('--flatten', 'import what objects in JSON hold, as columns such as battery.level')
    .option('--batch <readings>', 'readings sent at a time', whole(1, 5000), 5000)
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
export function checkTogether(command: Command, options: ImportOptions): void {
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

/** Throws `UsageError` for what makes no sense before anything is read. */
export function historyOptions(options: ImportOptions): HistoryOptions {
  const { device, deviceColumn = [], timeColumn, timeColumns, timeFormat, tz } = options;
  if (device !== undefined && deviceColumn.length > 0)
    throw new UsageError(
      '--device says that all lines are of one device, and --device-column that they are not',
    );
  if (device !== undefined && (options.devicePrefix !== undefined || options.deviceSlug))
    throw new UsageError('--device-prefix and --device-slug are for the ids in a column, not for --device');
  if (timeColumn !== undefined && timeColumns !== undefined)
    throw new UsageError('--time-column names one column, --time-columns several: leave one of them out');
  const time = { format: timeFormat, zone: tz };
  timeReader(time);
  return {
    input: {
      format: options.format,
      encoding: options.encoding,
      csv: {
        delimiter: options.delimiter,
        skip: options.skip,
        skipRows: options.skipRows,
        comment: options.comment,
      },
      records: options.records?.split('.') ?? [],
    },
    columns: {
      device,
      deviceColumns: deviceColumn,
      devicePrefix: options.devicePrefix ?? '',
      deviceSlug: options.deviceSlug ?? false,
      timeColumn,
      timeColumns,
      metricColumn: options.metricColumn,
      valueColumn: options.valueColumn,
      unitColumn: options.unitColumn,
      metrics: options.metric ?? [],
      texts: options.text ?? [],
      ignored: options.ignoreColumns ?? [],
      nulls: options.null ?? [],
      decimal: options.decimal,
      flatten: options.flatten ?? false,
    },
    time,
  };
}

/** Throws `UsageError` for what no device can be registered with. */
export function sendingOptions({ name, type, device, ...options }: ImportOptions): SendingOptions {
  if (name !== undefined && device === undefined)
    throw new UsageError('--name is for one device: name it with --device');
  const { error } = registration.safeParse({ name: name ?? type, type });
  const fault = error?.issues.at(-1);
  if (fault) throw new UsageError(`--${fault.path.join('.')} ${fault.message}`);
  const nameOf = (deviceId: string, deviceName: string | undefined) =>
    name ?? registration.shape.name.safeParse(deviceName).data ?? deviceId;
  return {
    batch: options.batch,
    register: options.register ? { type, nameOf } : undefined,
    shown: options.show,
    overwrite: options.overwrite ?? false,
  };
}

function delimiter(text: string): string {
  const char = text === '\\t' || text.toLowerCase() === 'tab' ? '\t' : text;
  if (char.length === 1 && !/["\r\n]/.test(char)) return char;
  throw new UsageError('--delimiter must be one character, or tab');
}
