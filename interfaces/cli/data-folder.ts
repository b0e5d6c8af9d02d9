import { existsSync } from 'node:fs';
import path from 'node:path';
import { type Config, configFrom } from '../../infrastructure/config/config.ts';
import { ServerUnavailable } from './exit-codes.ts';
import { runningServers } from './running-servers.ts';
import type { Terminal } from './terminal.ts';

/** What a command may do where there are no data: nothing, make a store unless a server runs elsewhere, or make one. */
export type Creates = 'nothing' | 'unless-served-elsewhere' | 'store';

type Env = Readonly<Record<string, string | undefined>>;

const dataFileNames = ['events.db', 'telemetry.db', 'read-models.db'] as const;
export type DataFile = (typeof dataFileNames)[number];

/**
 * The configuration with the data folder that the command is to work on. Without `DATA_DIR`, and with no data in its
 * default, it is that of the only server that runs. Throws `ServerUnavailable` where the command would have to make
 * files that are missing, and may not.
 */
export function configWithData(
  { env, terminal }: { readonly env: Env; readonly terminal: Pick<Terminal, 'note'> },
  creates: Creates,
  needed: readonly DataFile[] = dataFileNames,
): Config {
  const config = configFrom(env);
  const missing = missingFiles(config).filter((name) => needed.includes(name));
  if (missing.length === 0 || creates === 'store') return config;
  const elsewhere = runningServers();
  const [server] = elsewhere;
  const isDefault = config.DATA_DIR === configFrom({}).DATA_DIR;
  if (server && elsewhere.length === 1 && isDefault) {
    terminal.note(`Using ${server.dataDir}, the data of the server at ${server.url}`);
    return { ...config, DATA_DIR: server.dataDir };
  }
  if (!server && creates === 'unless-served-elsewhere') return config;
  const folder = path.resolve(config.DATA_DIR);
  const others = elsewhere.map(
    ({ url, pid, dataDir }) => `the server at ${url} (process ${pid}) has its data in ${dataDir}`,
  );
  const hint = server
    ? `${others.join(', ')}: set DATA_DIR to it, or make a new store with \`fieldlog migrate\``
    : 'start `fieldlog serve`, which makes it, or set DATA_DIR to the folder that has it';
  throw new ServerUnavailable(`there is no ${missing.join(' and no ')} in ${folder}; ${hint}`);
}

function missingFiles({ EVENTSTORE_URL, KAFKA_BROKERS, MYSQL_URL, DATA_DIR }: Config): readonly DataFile[] {
  const server = { 'events.db': EVENTSTORE_URL, 'telemetry.db': KAFKA_BROKERS, 'read-models.db': MYSQL_URL };
  return dataFileNames.filter((name) => server[name] === undefined && !existsSync(path.join(DATA_DIR, name)));
}
