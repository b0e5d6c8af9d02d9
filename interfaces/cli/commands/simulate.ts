import { type Command, InvalidArgumentError } from 'commander';
import { isoTimeForm, parseIsoTime } from '../../http/iso-time.ts';
import { apiClient } from '../api-client.ts';
import {
  type CommandContext,
  clientOptions,
  fraction,
  jsonOption,
  localUrl,
  urlOption,
  whole,
} from '../command-context.ts';
import { exitCodes, exitCodesHelp, UsageError } from '../exit-codes.ts';
import { registerDevices } from '../import/sinks.ts';
import {
  type Checked,
  checkFleet,
  settledLedger,
  simulationProgress,
  simulationReport,
  simulationSummary,
} from '../simulate/check-fleet.ts';
import { fleet } from '../simulate/fleet.ts';
import { nothingSent, sendFleet } from '../simulate/send-fleet.ts';
import { showProgress } from '../terminal.ts';

type Options = {
  readonly devices: number;
  readonly seconds: number;
  readonly rate: number;
  readonly batch: number;
  readonly connections: number;
  readonly duplicates: number;
  readonly late: number;
  readonly seed: number;
  readonly start?: number;
  readonly url?: string;
  readonly remote?: boolean;
  readonly retry: number;
  readonly check: boolean;
  readonly json?: boolean;
};

const help = `
Registers the devices (sim-<seed>-0001 and so on), sends their readings, waits until they are in the read models, and
then compares what was accepted with what queries find, device by device and value by value, and with the ledger.
Nothing else should send to the server meanwhile, since its ledger counts that too.

Examples:
  fieldlog simulate --devices 200 --seconds 30
  fieldlog simulate --rate 20000 --batch 500 --duplicates 0.01 --late 0.01
  fieldlog simulate --devices 5 --seconds 3 --rate 10 --seed 7 --json
`;

const mostReadings = 10_000_000;
/** The read models follow within moments; this is for a server with much else to catch up with. */
const projectedWithin = 600_000;

export function simulateCommand(program: Command, context: CommandContext): void {
  program
    .command('simulate')
    .description('Send readings as a fleet of devices would, and check that all of them arrive')
    .option('--devices <devices>', 'devices in the fleet', whole(1, 10_000), 200)
    .option('--seconds <seconds>', 'for how long they send', whole(1, 3600), 30)
    .option('--rate <readings>', 'readings a second, of the whole fleet', whole(1, 100_000), 1000)
    .option('--batch <readings>', 'readings in a request', whole(1, 5000), 100)
    .option('--connections <connections>', 'requests at the same time', whole(1, 64), 4)
    .option('--duplicates <fraction>', 'how many of the readings are sent twice', fraction, 0)
    .option('--late <fraction>', 'how many of the readings come up to two seconds late', fraction, 0)
    .option('--seed <number>', 'the same seed makes the same fleet', whole(0, 4_294_967_295), 1)
    .option('--start <time>', 'time of the first readings, ISO 8601 (default: now)', startTime)
    .addOption(urlOption('the server (default: the one on this machine)'))
    .option('--remote', 'allow a server that is not on this machine')
    .option('--retry <seconds>', 'how long to retry while the server is unavailable', whole(0, 86_400), 30)
    .option('--no-check', 'do not check what has arrived')
    .addOption(jsonOption())
    .addHelpText('after', help + exitCodesHelp)
    .action((options: Options) => simulate(options, context));
}

async function simulate(options: Options, context: CommandContext): Promise<void> {
  const { terminal, signal } = context;
  const { seed, rate, connections, batch } = options;
  const url = options.url ?? localUrl(context);
  const planned = rate * options.seconds;
  checkBounds(url, planned, options);

  let uncertain = 0;
  const client = apiClient(
    url,
    clientOptions(context, {
      finish: true,
      retryMilliseconds: options.retry * 1000,
      onUncertain: () => {
        uncertain += 2 * batch;
      },
    }),
  );
  await apiClient(url, clientOptions(context)).get('/health/live');
  const start = options.start ?? Date.now();
  const stations = fleet({ ...options, readings: planned, readingsPerSecond: rate, start });
  await registerDevices(client, stations.devices);
  const patient = apiClient(url, clientOptions(context, { retryMilliseconds: projectedWithin }));
  terminal.status('Waiting until what is there already can be queried …');
  const before = options.check ? await settledLedger(patient, projectedWithin, signal) : undefined;

  const sent = nothingSent(options.devices);
  const pace = { readingsPerSecond: rate, batch, connections, milliseconds: 1100 * options.seconds + 1000 };
  const started = performance.now();
  const hideProgress = showProgress(terminal, () => simulationProgress(sent, performance.now() - started));
  let took = 0;
  let checked: Partial<Checked> = {};
  try {
    await sendFleet(stations, client, pace, sent, signal).finally(() => {
      took = performance.now() - started;
      hideProgress();
    });
    signal.throwIfAborted();
    terminal.status('Waiting until all of it can be queried, then comparing …');
    if (before) checked = await checkFleet(stations, sent, before, uncertain, patient);
  } finally {
    const report = simulationReport({ url, seed, planned }, stations, sent, took, checked);
    await terminal.out(options.json ? `${JSON.stringify(report)}\n` : simulationSummary(report));
    if (report.rejected > 0 || report.differences?.length) context.exitCode = exitCodes.refused;
  }
}

/** It is made to put load on a server, so it must be meant. */
function checkBounds(url: string, planned: number, { remote }: Options): void {
  const { hostname } = new URL(url);
  if (!remote && !/^(localhost|127\.[\d.]+|\[::1\])$/.test(hostname))
    throw new UsageError(`${url} is not on this machine: --remote allows it`);
  if (planned > mostReadings)
    throw new UsageError(`--rate times --seconds must be at most ${mostReadings}, not ${planned}`);
}

function startTime(text: string): number {
  const time = parseIsoTime(text);
  if (time !== undefined) return time;
  throw new InvalidArgumentError(`It must be ISO 8601, ${isoTimeForm}.`);
}
