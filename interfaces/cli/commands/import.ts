import { type Command, Option } from 'commander';
import { apiClient } from '../api-client.ts';
import {
  type CommandContext,
  clientOptions,
  each,
  jsonOption,
  urlOption,
  whole,
  withSession,
} from '../command-context.ts';
import { exitCodes, exitCodesHelp } from '../exit-codes.ts';
import { metricColumn } from '../import/columns.ts';
import { newTally, totals } from '../import/counts.ts';
import { type HistoryFile, importFile, openHistory, type SendingOptions } from '../import/import-file.ts';
import { delimiter, historyOptions, type ImportOptions, sendingOptions } from '../import/import-options.ts';
import { inputFormats } from '../import/input-file.ts';
import { noRejects, openRejects, type Rejects } from '../import/rejects.ts';
import { importProgress, importReport, importSummary } from '../import/report.ts';
import { type ReadingSink, serverSink, sessionSink } from '../import/sinks.ts';
import { counted, describeStores, showProgress } from '../terminal.ts';

const help = `
Lines that cannot be read are told with line, column and reason, and all others are imported. Importing a file again
changes nothing: what is there already counts as a duplicate.

CSV has a line of column names. Where no option says so, the device is in a column such as deviceId, the time in one
such as timestamp or date, and every other column that holds numbers (or true and false) is a metric of its name.
NDJSON, and one JSON array, may have columns as well, or be readings as the API takes them:
  {"deviceId": "boiler-7", "timestamp": "2026-03-29T01:00:00Z", "metrics": {"temperature": 20.5}}

Examples:
  fieldlog import seattle-weather.csv --device seattle --name "Seattle weather" --type weather-station
  fieldlog import fleet.csv --device-column station --time-column measured --tz Europe/Berlin --metric "temp °C=temperature"
  fieldlog import old.csv --device mill --time-format "dd.MM.yyyy HH:mm" --text state --rejects refused.ndjson
  gunzip -c backup.ndjson.gz | fieldlog import - --url http://127.0.0.1:8080
`;

/** The read models follow within moments; this is for a server with much else to catch up with. */
const projectedWithin = 600_000;

export function importCommand(program: Command, context: CommandContext): void {
  program
    .command('import')
    .description('Bring in the history of one device or many from CSV or JSON')
    .argument('<file...>', 'files to import in this order, - for standard input')
    .option('--device <id>', 'the device all lines are of')
    .option('--device-column <name>', 'the column that holds the device')
    .option('--time-column <name>', 'the column that holds the time')
    .option('--time-format <form>', 'auto, iso, epoch-ms, epoch-s, or such as dd.MM.yyyy HH:mm', 'auto')
    .option('--tz <zone>', 'whose clocks show the times that come without an offset', 'UTC')
    .option(
      '--metric <column[=metric]>',
      'a column to import; repeat it; only those then',
      each(metricColumn),
    )
    .option('--text <column[=metric]>', 'a column to import as text; repeat it', each(metricColumn))
    .option('--null <text>', 'cells that stand for nothing, as empty ones do; repeat it', each(String))
    .option('--no-register', 'refuse devices that are not registered, instead of registering them')
    .option('--name <name>', 'name of the device where it is registered (default: its id)')
    .option('--type <type>', 'type of devices that are registered', 'imported')
    .addOption(new Option('--format <format>', 'what the files are').choices(inputFormats).default('auto'))
    .option('--delimiter <char>', 'what separates columns (default: a comma; a tab in .tsv)', delimiter)
    .option('--batch <readings>', 'readings sent at a time', whole(1, 5000), 5000)
    .addOption(urlOption('send to the server there (default: work on the configured stores directly)'))
    .option('--retry <seconds>', 'how long to go on asking a server that cannot serve', whole(0, 86_400), 60)
    .option('--rejects <file>', 'write every refused line there, as NDJSON')
    .option('--show <lines>', 'refused lines in the report', whole(0, 100_000), 10)
    .addOption(jsonOption())
    .addHelpText('after', help + exitCodesHelp)
    .action((files: readonly string[], options: ImportOptions) => importInto(files, options, context));
}

async function importInto(
  files: readonly string[],
  options: ImportOptions,
  context: CommandContext,
): Promise<void> {
  const sending = sendingOptions(options);
  const { signal } = context;
  const reading = historyOptions(options);
  const histories = await Promise.all(files.map((file) => openHistory(file, reading, signal)));
  const rejects = options.rejects === undefined ? noRejects : await openRejects(options.rejects);
  if (options.url === undefined)
    return withSession(context, 'import', (session, config) =>
      importFiles(
        histories,
        options,
        sending,
        sessionSink(session, describeStores(config)),
        rejects,
        context,
      ),
    );
  await apiClient(options.url, clientOptions(context)).get('/health/live');
  const client = apiClient(
    options.url,
    clientOptions(context, { finish: true, retryMilliseconds: options.retry * 1000 }),
  );
  const patient = apiClient(options.url, clientOptions(context, { retryMilliseconds: projectedWithin }));
  return importFiles(histories, options, sending, serverSink(client, patient), rejects, context);
}

async function importFiles(
  histories: readonly HistoryFile[],
  options: ImportOptions,
  sending: SendingOptions,
  sink: ReadingSink,
  rejects: Rejects,
  context: CommandContext,
): Promise<void> {
  const { terminal, signal } = context;
  const started = performance.now();
  const tally = newTally();
  let sent = 0;
  let projected = false;
  const hideProgress = showProgress(terminal, () =>
    sent > 0
      ? `${counted(sent, 'line')} sent, waiting until all of it can be queried`
      : importProgress(histories, tally, performance.now() - started),
  );
  try {
    for (const history of histories)
      if (!signal.aborted) await importFile(history, sink, tally, rejects, sending, signal);
    signal.throwIfAborted();
    sent = totals(tally.files).lines;
    await sink.settle();
    projected = true;
  } finally {
    hideProgress();
    await rejects.close();
    const report = importReport(tally, sink.name, performance.now() - started, projected);
    if (report.complete || report.lines > 0)
      await terminal.out(
        options.json ? `${JSON.stringify(report)}\n` : importSummary(report, options.rejects),
      );
    if (report.refused > 0) context.exitCode = exitCodes.refused;
  }
}
