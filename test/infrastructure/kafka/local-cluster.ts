import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const scripts = join(import.meta.dirname, '../../../deploy/local');

/** Three brokers of the test's own, which it may kill. */
export async function localCluster() {
  const state = await mkdtemp(join(tmpdir(), 'fieldlog-cluster-'));
  const env = { ...process.env, FIELDLOG_LOCAL: state };
  const kafka = (...args: string[]) => run(join(scripts, 'kafka.sh'), args, { env });
  const { stdout } = await kafka('up', '--brokers', '3').catch(async (error) => {
    await kafka('down');
    throw error;
  });
  return {
    brokers: stdout.match(/KAFKA_BROKERS=(\S+)/)?.[1] ?? '',
    kill: (broker: number) => kafka('kill', String(broker)),
    stop: (broker: number) => kafka('stop', String(broker)),
    start: (broker: number) => kafka('start', String(broker)),
    async close() {
      await kafka('down');
      await rm(state, { recursive: true });
    },
  };
}
