import type { Command } from 'commander';
import { pause } from '../../../application/pause.ts';
import { printable } from '../../printable.ts';
import { type ApiClient, apiClient, type Query } from '../api-client.ts';
import {
  type CommandContext,
  clientOptions,
  each,
  type Label,
  label,
  localUrl,
  urlOption,
  whole,
} from '../command-context.ts';
import { exitCodesHelp, ServerUnavailable } from '../exit-codes.ts';

const help = `
Shows readings as a server accepts them, until Ctrl-C or --count. A connection that breaks is opened again and continues where
it was cut: nothing is left out and nothing comes twice. With --json each line is {"event", "id", "data"}; --from with such an
id continues behind it. docs/live.md describes the events.

Examples:
  fieldlog tail
  fieldlog tail --device boiler-7 --metric temperature
  fieldlog tail --type pump --label site=north --events readings,alarms
  fieldlog tail --events buckets --interval 1h --metric temperature
  fieldlog tail --json --count 1000 > readings.ndjson
`;

type TailOptions = {
  readonly events?: string;
  readonly query?: string;
  readonly device?: readonly string[];
  readonly type?: string;
  readonly label?: readonly Label[];
  readonly metric?: readonly string[];
  readonly interval?: string;
  readonly from?: string;
  readonly count?: number;
  readonly retry: number;
  readonly url?: string;
  readonly json?: boolean;
};

type LiveLine = {
  readonly event: string;
  readonly id: string;
  readonly data: Readonly<Record<string, unknown>>;
};

const reconnectMilliseconds = { least: 200, spread: 1000 };

export function tailCommand(program: Command, context: CommandContext): void {
  program
    .command('tail')
    .description('Follow readings, device changes and alarms as they come')
    .option('--events <kinds>', 'of readings, buckets, devices and alarms, with commas (default: readings)')
    .option('--query <name>', 'a saved live query, instead of what to choose by options')
    .option('--device <id>', 'this device; repeatable', each(String))
    .option('--type <type>', 'devices of this type')
    .option('--label <key=value>', 'devices with this label; repeatable', each(label))
    .option('--metric <name>', 'this metric; repeatable', each(String))
    .option('--interval <length>', 'of buckets: 1m, 1h or 1d (default: 1m)')
    .option(
      '--from <id>',
      'continue behind this id of an event, or a Fieldlog-Position; start is the whole log',
    )
    .option('--count <events>', 'end after so many events', whole(1, Number.MAX_SAFE_INTEGER))
    .option('--retry <seconds>', 'how long to wait for a server that is gone', whole(0, 86_400), 300)
    .addOption(urlOption('the server (default: the one on this machine)'))
    .option('--json', 'print a line of JSON for each event, for scripts')
    .addHelpText('after', help + exitCodesHelp)
    .action((options: TailOptions) => tail(options, context));
}

async function tail(options: TailOptions, context: CommandContext): Promise<void> {
  const { terminal, signal } = context;
  const url = options.url ?? localUrl(context);
  const patient = apiClient(url, clientOptions(context, { retryMilliseconds: options.retry * 1000 }));
  // Nobody waits for a server that was never there.
  let client: ApiClient = apiClient(url, clientOptions(context));
  let from = options.from;
  let shown = 0;
  for (;;) {
    let received = 0;
    try {
      for await (const line of client.rows<LiveLine>('/api/v1/live', { ...queryOf(options), from })) {
        received += 1;
        from = line.id;
        if (line.event === 'lag') terminal.status(lagText(line.data, shown));
        else {
          await show(line, options, context);
          if (line.event !== 'snapshot') shown += 1;
          if (shown === options.count) return;
        }
      }
    } catch (error) {
      if (!(error instanceof ServerUnavailable) || received === 0) throw error;
    }
    if (received === 0) throw new ServerUnavailable(`${url} ended the stream without an event`);
    terminal.note(`connection to ${url} closed, will continue where it was`);
    client = patient;
    await pause(reconnectMilliseconds.least + Math.random() * reconnectMilliseconds.spread, signal);
    signal.throwIfAborted();
  }
}

const queryOf = ({ events, device, type, label: labels, metric, interval, query }: TailOptions): Query => ({
  events,
  deviceId: device,
  type,
  label: labels?.map(([key, value]) => `${key}:${value}`),
  metric,
  interval,
  query,
});

async function show(line: LiveLine, options: TailOptions, { terminal }: CommandContext): Promise<void> {
  if (options.json) return terminal.out(`${JSON.stringify(line)}\n`);
  // The newest values of a fleet would hide what comes.
  if (line.event === 'snapshot' && options.device === undefined) return;
  await terminal.out(rowsOf(line).map(rowText).join(''));
}

type Row = readonly [time: unknown, event: string, deviceId: unknown, text: string];

const rowText = ([time, event, deviceId, text]: Row): string =>
  `${printable(`${String(time).padEnd(24)}  ${event.padEnd(10)}  ${String(deviceId).padEnd(20)}  ${text}`).trimEnd()}\n`;

function rowsOf({ event, data }: LiveLine): readonly Row[] {
  const { deviceId = '' } = data;
  switch (event) {
    case 'snapshot':
      return (data.devices as readonly SnapshotDevice[]).flatMap(({ deviceId, points }) =>
        points.map(
          ({ timestamp, metric, value }): Row => [timestamp, 'newest', deviceId, `${metric} ${value}`],
        ),
      );
    case 'reading':
      return [[data.timestamp, event, deviceId, fields(data.metrics as object)]];
    case 'bucket': {
      const { deviceId: _, metric, start, end: __, position: ___, ...values } = data;
      return [[start, event, deviceId, `${metric ?? 'every metric'} ${fields(values)}`]];
    }
    case 'retraction':
      return [[data.from, event, deviceId, `to ${data.to} ${data.metric ?? 'every metric'}: ${data.reason}`]];
    case 'device':
      return [[data.at, event, deviceId, `${data.type} by ${data.actor} ${fields(data.changes as object)}`]];
    case 'alarm': {
      const { explanation, note } = data.changes as Readonly<Record<string, unknown>>;
      const text = `${data.type} ${data.severity} ${data.ruleName}: ${explanation ?? note ?? ''}`;
      return [[data.at, event, deviceId, text]];
    }
    default:
      return [['', event, '', fields(data)]];
  }
}

type SnapshotDevice = {
  readonly deviceId: string;
  readonly points: readonly Readonly<Record<'timestamp' | 'metric' | 'value', unknown>>[];
};

const fields = (values: object): string =>
  Object.entries(values)
    .map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : value}`)
    .join(', ');

const lagText = ({ projection, events }: LiveLine['data'], shown: number): string =>
  `${shown} events; ${projection} read model ${events === null ? 'unknown' : `${events} events`} behind`;
