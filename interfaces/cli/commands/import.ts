import { setFlagsFromString } from 'node:v8';
import type { Command } from 'commander';
import { newCounts, totals } from '../../import/counts.ts';
import {
  type HistoryFile,
  type HistoryOptions,
  Importer,
  openHistory,
  type Rejects,
  type SendingOptions,
} from '../../import/import-file.ts';
import { historyOptions, sendingOptions } from '../../import/import-options.ts';
import { InputFile } from '../../import/input-file.ts';
import { DryRunSink, type ReadingSink } from '../../import/reading-sink.ts';
import { fromRejects } from '../../import/rejects.ts';
import { dryRunReport, type ImportReport, importReport, isWhole } from '../../import/report.ts';
import { SeenValues } from '../../import/seen-values.ts';
import { apiClient } from '../api-client.ts';
import { type CommandContext, clientOptions, describeStores, withSession } from '../command-context.ts';
import { exitCodes, exitCodesHelp } from '../exit-codes.ts';
import { addImportOptions, checkTogether, type ImportCommandOptions } from '../import/command-options.ts';
import { checkRejects, noRejects, RejectsFile } from '../import/rejects-file.ts';
import { serverSink, sessionSink } from '../import/sinks.ts';
import { importProgress, importSummary } from '../import/summary.ts';
import type { Terminal } from '../terminal.ts';
import { counted, showProgress } from '../terminal.ts';

const help = `
Lines that cannot be read are reported with line, column and reason, and all others are imported. Importing a file again
changes nothing: what is there already counts as a duplicate. Exit code 1 says that something of the files is not
stored: lines were refused, or columns left out that --ignore-columns does not name. --dry-run shows it beforehand.

CSV has a line of column names. Where no option says so, the device is in a column such as deviceId, the time in one
such as timestamp or date, and every other column that holds numbers (or true and false) is a metric of its name.
JSON, one object after the other or in an array, and Parquet have columns as well, or are readings as the API takes
them or points as it gives them:
  {"deviceId": "boiler-7", "timestamp": "2026-03-29T01:00:00Z", "metrics": {"temperature": 20.5}}
Files may be compressed by gzip or zstd. docs/import.md has an example for every option.

Examples:
  fieldlog import seattle-weather.csv --device seattle --name "Seattle weather" --text weather
  fieldlog import fleet.csv --device-column station --time-column measured --tz Europe/Berlin --metric "temp °C=temperature"
  fieldlog import power.csv --device mill --time-columns Date,Time --time-format "d/M/yyyy HH:mm:ss" --null "?" --dry-run
  fieldlog import air.csv --device-column station --metric-column parameter --value-column value --rejects refused.ndjson
  fieldlog import --from-rejects refused.ndjson
  ssh mill cat backup.ndjson.gz | fieldlog import - --url http://127.0.0.1:8080
`;

/**
 * A file of any size makes garbage faster than V8 likes to collect it: it would take several times the memory. What is new
 * is held in as much as there is of it by then, in this thread and in those that are started from now on.
 */
const sparing = ['--memory-saver-mode', '--semi-space-growth-factor=1'];
const asUsual = ['--no-memory-saver-mode', '--semi-space-growth-factor=2'];

/** Of projectors in this process, unless it is configured: with what a server has they would take more than the whole import. */
const sparingStores = {
  BATCH_SIZE: '1000',
  PROJECTOR_CACHE: '2000000',
  DIRECTORY_SIZE: '1000',
};

/** Readings at a time: a request is worth more than a transaction, and the heap of the stores is not here. */
const [besideStores, toServer] = [1000, 5000];

/** The read models follow within moments; this is for a server with much else to catch up with. */
const projectedWithin = 600_000;

export function importCommand(program: Command, context: CommandContext): void {
  addImportOptions(
    program
      .command('import')
      .description('Bring in the history of one device or many from CSV, JSON or Parquet')
      .argument('<file...>', 'files to import in this order, - for standard input'),
  )
    .addHelpText('after', help + exitCodesHelp)
    .action(async (files: readonly string[], options: ImportCommandOptions, command: Command) => {
      checkTogether(command, options);
      const inputs: InputFile[] = [];
      for (const flag of sparing) setFlagsFromString(flag);
      try {
        for (const file of files) inputs.push(await InputFile.open(file, context.signal));
        await importFiles(inputs, options, context);
      } finally {
        for (const flag of asUsual) setFlagsFromString(flag);
        for (const input of inputs) await input.close();
      }
    });
}

/** All files are read to their end before anything of the first is imported. */
async function importFiles(
  inputs: readonly InputFile[],
  options: ImportCommandOptions,
  context: CommandContext,
): Promise<void> {
  const { batch = options.url === undefined ? besideStores : toServer } = options;
  const asked = { ...options, batch };
  const sending = sendingOptions(asked);
  const reading = historyOptions(asked);
  if (options.rejects !== undefined) await checkRejects(options.rejects, inputs, options.force);
  const histories = await opened(inputs, options, reading, context);
  const rejects = options.rejects === undefined ? noRejects : await RejectsFile.open(options.rejects);
  try {
    await withSink(options, context, (sink) =>
      importInto(sink, { inputs, histories, options, sending, rejects }, context),
    );
  } finally {
    await rejects.close();
  }
}

async function opened(
  inputs: readonly InputFile[],
  { fromRejects: areRejects }: ImportCommandOptions,
  reading: HistoryOptions,
  { terminal, signal }: CommandContext,
): Promise<readonly HistoryFile[]> {
  if (areRejects) return inputs.map(fromRejects);
  const hideProgress = showProgress(terminal, () => `looking at ${importProgress(inputs)}`);
  const histories: HistoryFile[] = [];
  try {
    for (const input of inputs) histories.push(await openHistory(input, reading, signal));
  } finally {
    hideProgress();
  }
  return histories;
}

async function withSink(
  { dryRun, url, retry }: ImportCommandOptions,
  context: CommandContext,
  work: (sink: ReadingSink) => Promise<void>,
): Promise<void> {
  if (dryRun) return work(new DryRunSink());
  if (url === undefined) {
    return withSession(
      { ...context, env: { ...sparingStores, ...context.env } },
      'import',
      (session, config) => work(sessionSink(session, describeStores(config))),
      'store',
    );
  }
  await apiClient(url, clientOptions(context)).get('/health/live');
  const client = apiClient(url, clientOptions(context, { finish: true, retryMilliseconds: retry * 1000 }));
  const patient = apiClient(url, clientOptions(context, { retryMilliseconds: projectedWithin }));
  return work(serverSink(client, patient));
}

type Run = {
  readonly inputs: readonly InputFile[];
  readonly histories: readonly HistoryFile[];
  readonly options: ImportCommandOptions;
  readonly sending: SendingOptions;
  readonly rejects: Rejects;
};

async function importInto(
  sink: ReadingSink,
  { inputs, histories, options, sending, rejects }: Run,
  context: CommandContext,
): Promise<void> {
  const { terminal, signal } = context;
  const started = performance.now();
  const counts = newCounts();
  const seen = new SeenValues();
  const importer = new Importer(sink, seen, counts, rejects, sending);
  let sent = 0;
  let late: number | undefined;
  let isProjected = false;
  const hideProgress = showProgress(terminal, () =>
    sent > 0
      ? `${counted(sent, 'line')} sent, waiting until all of it can be queried`
      : importProgress(inputs, counts.files, performance.now() - started),
  );
  try {
    for (const history of histories) if (!signal.aborted) await importer.importFile(history, signal);
    signal.throwIfAborted();
    // The projectors are about to need the memory.
    seen.close();
    sent = totals(counts.files).lines;
    late = await sink.settle();
    isProjected = true;
  } finally {
    hideProgress();
    seen.close();
    const report = importReport(counts, sink.name, performance.now() - started, isProjected, late);
    if (report.complete || report.lines > 0)
      await print(sink instanceof DryRunSink ? dryRunReport(report, sink) : report, options, terminal);
    if (!isWhole(report)) context.exitCode = exitCodes.refused;
  }
}

function print(
  report: ImportReport,
  { json, rejects }: ImportCommandOptions,
  terminal: Terminal,
): Promise<void> {
  return terminal.out(json ? `${JSON.stringify(report)}\n` : importSummary(report, rejects));
}
