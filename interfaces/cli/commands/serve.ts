import type { Command } from 'commander';
import { type Config, configFrom } from '../../../infrastructure/config/config.ts';
import type { Role, Served } from '../../composition/roles.ts';
import { type CommandContext, describeStores } from '../command-context.ts';
import { exitCodes, exitCodesHelp, Interrupted } from '../exit-codes.ts';
import { announceServer } from '../running-servers.ts';

const roles: Record<Role, { readonly description: string; readonly example: string }> = {
  serve: {
    description: 'Run everything in one process: the HTTP API and the projectors',
    example: 'PORT=9000 DATA_DIR=/var/lib/fieldlog fieldlog serve',
  },
  api: {
    description: 'Run the HTTP API alone, one of any number, on shared servers',
    example:
      'EVENTSTORE_URL=esdb://db:2113 KAFKA_BROKERS=kafka:9092 MYSQL_URL=mysql://user:password@db/iotdatabase fieldlog api',
  },
  'device-projector': {
    description: 'Run the projectors of devices alone, on shared servers',
    example: 'FIELDLOG_CONFIG=/etc/fieldlog.env fieldlog device-projector',
  },
  'telemetry-projector': {
    description: 'Run a projector of telemetry alone, one of any number, on shared servers',
    example: 'FIELDLOG_CONFIG=/etc/fieldlog.env CONCURRENCY=8 fieldlog telemetry-projector',
  },
};

const help = `
Stops on Ctrl-C, SIGTERM or SIGHUP once the requests it has are answered, or cut off after SHUTDOWN_MS and
logged; a second signal stops it at once, and so does a server it uses that does not answer for 15 s more.
Started by nohup, it ignores SIGHUP.
\`fieldlog config --help\` lists the variables that configure it.
`;

/** One command for each role a process can have. */
export function roleCommands(program: Command, context: CommandContext): void {
  for (const [role, { description, example }] of Object.entries(roles))
    program
      .command(role)
      .description(description)
      .addHelpText('after', `${help}\nExample:\n  ${example}\n${exitCodesHelp}`)
      .action(() => runUntilStopped(role as Role, context));
}

/** Beyond what requests get: for brokers and stores that do not answer. Less than Kubernetes waits in all. */
const closingMilliseconds = 15_000;

async function runUntilStopped(role: Role, context: CommandContext): Promise<void> {
  const { env, runtime, terminal, signal } = context;
  const config = configFrom(env);
  const running = await runtime.start(role, config, await runtime.log(config.LOG_LEVEL, role));
  const withdraw = role === 'serve' ? announceServer(config.DATA_DIR, running.url) : () => {};
  try {
    const label = role === 'serve' ? 'Fieldlog' : `Fieldlog ${role}`;
    await terminal.out(`${label}: ${running.url} (${describeStores(config)})\n`);
    if (running.mqttUrl !== undefined) await terminal.out(`MQTT: ${running.mqttUrl}\n`);
    for (const notice of running.notices) terminal.note(notice);
    await Promise.race([aborted(signal), running.failed]);
  } finally {
    await closeInTime(running, config, context);
    withdraw();
  }
}

/** Ends the process where that takes too long: it loses nothing that was acknowledged, as in a crash. */
async function closeInTime(
  running: Served,
  { SHUTDOWN_LEAD_MS, SHUTDOWN_MS }: Config,
  { runtime, terminal, signal }: CommandContext,
): Promise<void> {
  const within = SHUTDOWN_LEAD_MS + SHUTDOWN_MS + closingMilliseconds;
  const overdue = setTimeout(() => {
    terminal.note(
      `fieldlog: had not stopped within ${within / 1000} s and was ended; what was acknowledged is stored`,
    );
    const { reason } = signal;
    runtime.exit(reason instanceof Interrupted ? reason.exitCode : exitCodes.unexpected);
  }, within);
  await running.close().finally(() => clearTimeout(overdue));
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve());
  });
}
