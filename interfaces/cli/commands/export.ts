import path from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { DeviceFilter } from '../../../application/ports/queries.ts';
import { isDeviceId, isMetricName, isTimestamp } from '../../../domain/telemetry.ts';
import { parseIsoTime } from '../../http/iso-time.ts';
import { isoTimeFault } from '../../http/value-faults.ts';
import { apiClient } from '../api-client.ts';
import {
  type CommandContext,
  clientOptions,
  describeStores,
  each,
  jsonOption,
  type Label,
  label,
  print,
  urlOption,
  whole,
  withSession,
} from '../command-context.ts';
import { exitCodesHelp, UsageError } from '../exit-codes.ts';
import { ExportFile, type ExportFormat, exportFormats, lineWriter } from '../export/export-file.ts';
import { type ExportQuery, type PointSource, serverSource, sessionSource } from '../export/point-source.ts';
import { counted, perSecond, seconds, showProgress } from '../terminal.ts';

const help = `
Writes every point of one device, of some, of those a filter matches, or of all: by device, time and metric. The file gets
its name when it is whole; until then it is FILE.part, and --resume continues an export that was stopped. Without --url
the command reads the configured stores directly.

CSV and NDJSON are what the API answers, and \`fieldlog import\` takes them back exactly, as it does Parquet. In Parquet
\`value\` is a number, and 1 or 0 for a boolean; \`value_text\` and \`value_bool\` hold what is no number.

Examples:
  fieldlog export all.parquet
  fieldlog export boiler-7.csv --device boiler-7 --from 2026-01-01T00:00Z --to 2026-02-01T00:00Z
  fieldlog export north.ndjson --type meter --label site=north --metric energy --url http://127.0.0.1:8080
  fieldlog export all.parquet --resume
  fieldlog export - --format csv --device boiler-7 | gzip > boiler-7.csv.gz
`;

type ExportOptions = {
  readonly format?: ExportFormat;
  readonly device?: readonly string[];
  readonly metric?: readonly string[];
  readonly from?: number;
  readonly to?: number;
  readonly status?: DeviceFilter['status'];
  readonly type?: string;
  readonly label?: readonly Label[];
  readonly q?: string;
  readonly url?: string;
  readonly retry: number;
  readonly resume?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
};

export function exportCommand(program: Command, context: CommandContext): void {
  program
    .command('export')
    .description('Write the points of devices to a file of CSV, NDJSON or Parquet')
    .argument('<file>', 'file to write, - for standard output')
    .addOption(
      new Option('--format <format>', 'the form (default: by the name of the file)').choices(exportFormats),
    )
    .option('--device <id>', 'this device; repeatable', each(checked('a device id', isDeviceId)))
    .addOption(
      new Option('--status <status>', 'devices in this state').choices([
        'active',
        'suspended',
        'decommissioned',
        'erased',
      ]),
    )
    .option('--type <type>', 'devices of this type')
    .option('--label <key=value>', 'devices with this label; repeatable', each(label))
    .option('--q <text>', 'devices with this text in their id or name')
    .option(
      '--metric <name>',
      'this metric; repeatable (default: all)',
      each(checked('a metric name', isMetricName)),
    )
    .option('--from <time>', 'from this time on, in ISO 8601 or epoch milliseconds', time)
    .option('--to <time>', 'and before this', time)
    .addOption(urlOption('ask the server there (default: read the configured stores directly)'))
    .option('--retry <seconds>', 'how long to retry while the server cannot serve', whole(0, 86_400), 60)
    .option('--resume', 'continue an export that was stopped')
    .option('--force', 'overwrite a file that is there already')
    .addOption(jsonOption())
    .addHelpText('after', help + exitCodesHelp)
    .action((file: string, options: ExportOptions) => exportTo(file, options, context));
}

async function exportTo(file: string, options: ExportOptions, context: CommandContext): Promise<void> {
  const format = options.format ?? formatOf(file);
  const query = queryOf(options);
  const { url, retry } = options;
  if (url !== undefined) {
    const client = apiClient(url, clientOptions(context, { retryMilliseconds: retry * 1000 }));
    return run(serverSource(client));
  }
  await withSession(context, 'export', (session, config) =>
    run(sessionSource(session, describeStores(config))),
  );

  function run(source: PointSource): Promise<void> {
    return file === '-'
      ? toOutput(source, query, format, context)
      : toFile(source, query, { file, format, options }, context);
  }
}

async function toOutput(
  source: PointSource,
  query: ExportQuery,
  format: ExportFormat,
  { terminal, signal }: CommandContext,
): Promise<void> {
  if (format === 'parquet') throw new UsageError('Parquet is written to a file, not to standard output');
  const { header, line } = lineWriter(format);
  await terminal.out(header);
  for await (const { points } of source.pages(query, undefined)) {
    signal.throwIfAborted();
    await terminal.out(points.map(line).join(''));
  }
}

async function toFile(
  source: PointSource,
  query: ExportQuery,
  {
    file,
    format,
    options,
  }: { readonly file: string; readonly format: ExportFormat; readonly options: ExportOptions },
  context: CommandContext,
): Promise<void> {
  const { resume = false, force = false } = options;
  const { terminal, signal } = context;
  const output = await ExportFile.open(file, format, {
    query: { from: source.name, format, ...query },
    resume,
    force,
  });
  const before = output.points;
  const started = Date.now();
  let device = '';
  const rate = () => perSecond(output.points - before, Date.now() - started);
  const hideProgress = showProgress(
    terminal,
    () => `exported ${counted(output.points, 'point')}, ${rate()}, ${device}`,
  );
  try {
    for await (const { points, place } of source.pages(query, output.place)) {
      signal.throwIfAborted();
      await output.add(points, place);
      device = points.at(-1)?.deviceId ?? device;
    }
    await output.finish();
  } catch (error) {
    await output.abandon();
    terminal.note(
      `fieldlog: ${file}.part has ${counted(output.written, 'point')}: --resume continues the export`,
    );
    throw error;
  } finally {
    hideProgress();
  }
  const milliseconds = Date.now() - started;
  const report = {
    file,
    from: source.name,
    format,
    points: output.points,
    resumed: before,
    seconds: milliseconds / 1000,
  };
  await print(
    context,
    report,
    () =>
      `Exported ${counted(output.points, 'point')} to ${file} in ${seconds(milliseconds)}, from ${source.name}\n`,
    options,
  );
}

function queryOf({
  device = [],
  metric = [],
  from,
  to,
  status,
  type,
  label = [],
  q,
}: ExportOptions): ExportQuery {
  const filter: DeviceFilter = {
    ...(status !== undefined && { status }),
    ...(type !== undefined && { type }),
    ...(label.length > 0 && { labels: label.map(([key, value]) => ({ key, value })) }),
    ...(q !== undefined && { text: q }),
  };
  if (device.length > 0 && Object.keys(filter).length > 0)
    throw new UsageError('--device names the devices: leave --status, --type, --label and --q out');
  if (from !== undefined && to !== undefined && to <= from)
    throw new UsageError('--to must be later than --from');
  return { devices: [...new Set(device)], filter, metrics: metric, from, to };
}

function formatOf(file: string): ExportFormat {
  const ending = path.extname(file).slice(1).toLowerCase();
  const format = exportFormats.find((one) => one === ending);
  if (format) return format;
  throw new UsageError(`${file} does not end with .csv, .ndjson or .parquet: name the form with --format`);
}

const checked = (noun: string, isGood: (text: string) => boolean) => (text: string) => {
  if (isGood(text)) return text;
  throw new InvalidArgumentError(`It must be ${noun}.`);
};

function time(text: string): number {
  const at = /^-?\d{1,15}$/.test(text) ? Number(text) : parseIsoTime(text);
  if (isTimestamp(at)) return at;
  throw new InvalidArgumentError(`It ${isoTimeFault(text)}.`);
}
