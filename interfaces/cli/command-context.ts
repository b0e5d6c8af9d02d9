import { InvalidArgumentError, Option } from 'commander';
import type { Operations } from '../../application/operations/operations.ts';
import type { Log } from '../../application/ports/system.ts';
import { type Config, configFrom } from '../../infrastructure/config/config.ts';
import type { RetentionOperations } from '../composition/retention.ts';
import type { Role, Served } from '../composition/roles.ts';
import type { Keys, Session } from '../composition/sessions.ts';
import type { ClientOptions } from './api-client.ts';
import type { Terminal } from './terminal.ts';

/** What a command is given to work with. */
export type CommandContext = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly terminal: Terminal;
  /** Aborted when the command is to stop; the reason is an `Interrupted`. */
  readonly signal: AbortSignal;
  readonly parts: Runtime;
  /** What the process ends with when the command itself does not fail. */
  exitCode: number;
};

/** The rest of Fieldlog, loaded only by the commands that need it. */
export type Runtime = {
  log(level: string, role: string): Promise<Log>;
  start(role: Role, config: Config, log: Log): Promise<Served>;
  openSession(config: Config, log: Log): Promise<Session>;
  openKeys(config: Config, log: Log): Promise<Keys>;
  openRetention(config: Config, log: Log): Promise<RetentionOperations>;
  openReplay(config: Config, log: Log, doing: string): Promise<Operations & { close(): Promise<void> }>;
};

/** Works on the configured stores directly and closes them again. Only warnings are logged unless more is asked for. */
export async function withSession<Result>(
  { env, parts }: CommandContext,
  role: string,
  work: (session: Session, config: Config) => Promise<Result>,
): Promise<Result> {
  const config = configFrom(env);
  const log = await parts.log(env.LOG_LEVEL ? config.LOG_LEVEL : 'warn', role);
  const session = await parts.openSession(config, log);
  try {
    return await work(session, config);
  } finally {
    await session.close();
  }
}

/** As `withSession`, for what operators do with read models; `doing` is what another operator is told of it. */
export async function withOperations<Result>(
  { env, parts }: CommandContext,
  doing: string,
  work: (replay: Operations) => Promise<Result>,
): Promise<Result> {
  const config = configFrom(env);
  const log = await parts.log(env.LOG_LEVEL ? config.LOG_LEVEL : 'warn', 'replay');
  const replay = await parts.openReplay(config, log, doing);
  try {
    return await work(replay);
  } finally {
    await replay.close();
  }
}

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

export const urlOption = (what: string): Option => new Option('--url <url>', what).argParser(httpUrl);

export const jsonOption = (): Option => new Option('--json', 'answer as JSON, for scripts');
