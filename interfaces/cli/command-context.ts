import path from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import type { Operations } from '../../application/operations/operations.ts';
import type { Log } from '../../application/ports/system.ts';
import { type Config, configFrom, maskedConfig } from '../../infrastructure/config/config.ts';
import type { Application, Session } from '../composition/application.ts';
import type { TopicMigrationRequest } from '../composition/distributed.ts';
import type { Role, Served } from '../composition/roles.ts';
import type { ClientOptions } from './api-client.ts';
import { type Creates, configWithData, type DataFile } from './data-folder.ts';
import type { Terminal } from './terminal.ts';

/** What a command is given to work with. */
export type CommandContext = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly terminal: Terminal;
  /** Aborted when the command is to stop; the reason is an `Interrupted`. */
  readonly signal: AbortSignal;
  readonly runtime: Runtime;
  /** What the process ends with when the command itself does not fail. */
  exitCode: number;
};

/** What lies beyond the command line; its modules are loaded by the commands that need them. */
type Runtime = {
  log(level: string, role: string): Promise<Log>;
  start(role: Role, config: Config, log: Log): Promise<Served>;
  openApplication(config: Config, log: Log): Promise<Application>;
  migrateTopic(
    brokers: string,
    config: Config,
    log: Log,
    request: TopicMigrationRequest,
  ): Promise<{ readonly done: number; readonly total: number }>;
  /** Ends the process, whatever it is doing. */
  exit(code: number): void;
};

/**
 * Works on the configured stores directly and closes them again. Files that are missing are made only where the
 * command may. Logs warnings unless `LOG_LEVEL` is set.
 */
export async function withApplication<Result>(
  context: CommandContext,
  role: string,
  work: (application: Application, config: Config) => Promise<Result>,
  creates: Creates = 'nothing',
  needed?: readonly DataFile[],
): Promise<Result> {
  const { env, runtime } = context;
  const config = configWithData(context, creates, needed);
  const log = await runtime.log(env.LOG_LEVEL ? config.LOG_LEVEL : 'warn', role);
  const application = await runtime.openApplication(config, log);
  try {
    return await work(application, config);
  } finally {
    await application.close();
  }
}

export const withSession = <Result>(
  context: CommandContext,
  role: string,
  work: (session: Session, config: Config) => Promise<Result>,
  creates: Creates = 'nothing',
): Promise<Result> =>
  withApplication(
    context,
    role,
    async (application, config) => work(await application.session(), config),
    creates,
  );

/** Other operators see `doing` while it holds a lease. */
export const withOperations = <Result>(
  context: CommandContext,
  doing: string,
  work: (operations: Operations) => Promise<Result>,
): Promise<Result> =>
  withApplication(context, 'replay', async (application) => work(await application.operations(doing)));

/** The server on this machine that the configuration makes. */
export function localUrl({ env }: CommandContext): string {
  const { PORT, TLS_CERT_FILE } = configFrom(env);
  return `${TLS_CERT_FILE === undefined ? 'http' : 'https'}://127.0.0.1:${PORT}`;
}

/** What every call of the API needs, and `others` for this one. */
export const clientOptions = (
  { env, signal }: CommandContext,
  others: Partial<ClientOptions> = {},
): ClientOptions => ({ signal, apiKey: configFrom(env).FIELDLOG_API_KEY, ...others });

/** A whole number in the range, however it is spelled in the option. */
export const whole = (least: number, most: number) => (text: string) => {
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (number >= least && number <= most) return number;
  throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
};

export const fraction = (text: string): number => {
  const number = /^\d*\.?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (number >= 0 && number <= 1) return number;
  throw new InvalidArgumentError('It must be a fraction from 0 to 1.');
};

const httpUrl = (text: string): string => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url && /^https?:$/.test(url.protocol) && url.pathname === '/' && url.search === '') return url.origin;
  throw new InvalidArgumentError('It must be a URL such as http://127.0.0.1:8080.');
};

/** Every value of an option that may be given several times. */
export const each =
  <Value>(parse: (text: string) => Value) =>
  (text: string, before: readonly Value[] = []): readonly Value[] => [...before, parse(text)];

export type Label = readonly [key: string, value: string];

export const label = (text: string): Label => {
  const at = text.indexOf('=');
  if (at > 0 && at < text.length - 1) return [text.slice(0, at), text.slice(at + 1)];
  throw new InvalidArgumentError('It must be key=value.');
};

export const urlOption = (name: string): Option => new Option('--url <url>', name).argParser(httpUrl);

export const jsonOption = (): Option => new Option('--json', 'print JSON, for scripts');

/** Prints the result of a command as one line of JSON, or as text. */
export const print = (
  { terminal }: CommandContext,
  result: unknown,
  text: () => string,
  { json }: { readonly json?: boolean | undefined },
): Promise<void> => terminal.out(json ? `${JSON.stringify(result)}\n` : text());

/** For people: the folder, or each store by its own name where not all of them are in it. */
export function describeStores(config: Config): string {
  const { EVENTSTORE_URL, KAFKA_BROKERS, MYSQL_URL } = maskedConfig(config);
  const folder = path.resolve(config.DATA_DIR);
  if (!EVENTSTORE_URL && !KAFKA_BROKERS && !MYSQL_URL) return `data in ${folder}`;
  const stores = { devices: EVENTSTORE_URL, telemetry: KAFKA_BROKERS, 'read models': MYSQL_URL };
  return Object.entries(stores)
    .map(([stores, server]) => `${stores} in ${server ?? folder}`)
    .join(', ');
}
