import type { Command } from 'commander';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { StartupError } from '../../../infrastructure/startup-error.ts';
import { type CommandContext, jsonOption, print, whole } from '../command-context.ts';
import { exitCodesHelp } from '../exit-codes.ts';
import { count } from '../terminal.ts';

type MigrateOptions = {
  readonly from?: string;
  readonly to: string;
  readonly partitions: number;
  readonly json?: boolean;
};

const help = `
The partition of a device follows from the number of partitions, so a topic keeps its number for ever. To have another,
copy it to a topic that has it, while readings keep coming. Step 3 carries over what came until the last role was
restarted. Each reading is carried over once, whatever stops a run: the next one continues. The old topic stays.

Example:
  1. fieldlog topics migrate --to telemetry-12 --partitions 12
  2. set KAFKA_TOPIC=telemetry-12 for every role and restart them
  3. fieldlog topics migrate --from telemetry --to telemetry-12 --partitions 12
  4. fieldlog projections rebuild telemetry
`;

export function topicsCommand(program: Command, context: CommandContext): void {
  const topics = program
    .command('topics')
    .description('Copy the telemetry topic to one with more partitions')
    .addHelpText('after', help + exitCodesHelp);
  topics
    .command('migrate')
    .description('Copy the telemetry topic, each reading once, and continue an earlier copy')
    .requiredOption('--to <topic>', 'topic to copy to, made where it is not there')
    .requiredOption('--partitions <n>', 'partitions of that topic', whole(1, 10_000))
    .option('--from <topic>', 'topic to copy; KAFKA_TOPIC by default')
    .addOption(jsonOption())
    .addHelpText('after', help + exitCodesHelp)
    .action((options: MigrateOptions) => migrate(context, options));
}

async function migrate(context: CommandContext, options: MigrateOptions): Promise<void> {
  const { env, runtime, terminal, signal } = context;
  const config = configFrom(env);
  const { from = config.KAFKA_TOPIC, to, partitions } = options;
  if (config.KAFKA_BROKERS === undefined)
    throw new StartupError('There is no topic: the telemetry log is a file unless KAFKA_BROKERS is set');
  if (to === from) throw new StartupError(`--to must be another topic than ${from}`);
  const log = await runtime.log(env.LOG_LEVEL ? config.LOG_LEVEL : 'warn', 'topics');
  const { done, total } = await runtime.migrateTopic(config.KAFKA_BROKERS, config, log, {
    from,
    to,
    partitions,
    signal,
    onProgress: (now) => terminal.status(`${count(now.done)} of ${count(now.total)} messages`),
  });
  const text = () =>
    `${from} is carried over to ${to} up to here: ${count(done)} of ${count(total)} messages.\n` +
    `Next: set KAFKA_TOPIC=${to} for every role, restart them, run this again for what came meanwhile, and then: ` +
    'fieldlog projections rebuild telemetry\n';
  await print(context, { from, to, done, total }, text, options);
}
