import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { DatabaseName } from './servers.ts';

export type LocalServer = {
  /** What the variable of the same server has: brokers, or a URL. */
  readonly address: string;
  control(how: 'stop' | 'kill' | 'start', broker?: number): Promise<void>;
  close(): Promise<void>;
};

const run = promisify(execFile);
const scripts = join(import.meta.dirname, '../../deploy/local');

/** Brokers of the test's own. Those of `KAFKA_BROKERS` are other tests' too, and may not be stopped. */
export const localKafka = (brokers: number): Promise<LocalServer> =>
  start('kafka.sh', /KAFKA_BROKERS=(\S+)/, '--brokers', String(brokers));

/** A database server of the test's own. Those that variables name are other tests' too, and may not be stopped. */
export const localDatabase = (name: DatabaseName): Promise<LocalServer> =>
  start(`${name.toLowerCase()}.sh`, /LOCAL_\w+_URL=(\S+)/);

async function start(script: string, form: RegExp, ...options: readonly string[]): Promise<LocalServer> {
  const state = await mkdtemp(join(tmpdir(), 'fieldlog-servers-'));
  const env = { ...process.env, FIELDLOG_LOCAL: state };
  const call = (...args: readonly string[]) => run(join(scripts, script), args, { env });
  const close = async () => {
    await call('down');
    await rm(state, { recursive: true });
  };
  const { stdout } = await call('up', ...options).catch(async (error) => {
    await close();
    throw error;
  });
  return {
    address: stdout.match(form)?.[1] ?? '',
    async control(how, broker) {
      await call(how, ...(broker === undefined ? [] : [String(broker)]));
    },
    close,
  };
}
