import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import type { ServerUrls, Watched } from './bench.ts';

const run = promisify(execFile);
const local = path.resolve(import.meta.dirname, '../../deploy/local');

/** Kafka and MariaDB: those the environment names, or new ones that are gone afterwards. */
export async function servers(): Promise<{
  readonly urls: ServerUrls;
  /** Those that were started here. */
  readonly processes: readonly Watched[];
  close(): Promise<void>;
}> {
  const { KAFKA_BROKERS, MYSQL_URL } = process.env;
  if (KAFKA_BROKERS && MYSQL_URL)
    return { urls: { kafka: KAFKA_BROKERS, mysql: MYSQL_URL }, processes: [], close: async () => {} };
  const folder = await mkdtemp(path.join(os.tmpdir(), 'fieldlog-bench-servers-'));
  const env = { ...process.env, FIELDLOG_LOCAL: folder };
  const { stdout } = await run(path.join(local, 'up'), ['kafka', 'mariadb'], { env });
  const found = (name: string) => stdout.match(`${name}=['"]?([^'"\\s]+)`)?.[1] ?? '';
  return {
    urls: { kafka: found('KAFKA_BROKERS'), mysql: found('MYSQL_URL') },
    processes: [
      { role: 'Kafka', pid: await pidIn(folder, 'kafka/1') },
      { role: 'MariaDB', pid: await pidIn(folder, 'mariadb') },
    ],
    async close() {
      await run(path.join(local, 'down'), { env });
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const pidIn = async (folder: string, server: string): Promise<number> =>
  Number(await readFile(path.join(folder, server, 'pid'), 'utf8'));
