import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Counts how often kafkajs tries to reach a broker that is not there. */
const attempts = async (env: Record<string, string>) => {
  const script = `
    import { kafkaClient } from './infrastructure/kafka/client.ts';
    let attempts = 0;
    const debug = ({ detail }) => { attempts += /Failed to connect/.test(detail) ? 1 : 0; };
    const admin = kafkaClient({ brokers: ['127.0.0.1:1'] }, { debug }).admin();
    await admin.connect().catch(() => undefined);
    console.log(attempts);`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, ...env },
  });
  return Number(stdout);
};

describe('The Kafka client', () => {
  it('tries as often under NODE_ENV=test as anywhere', async () => {
    assert.deepEqual(
      await Promise.all([attempts({ NODE_ENV: 'test' }), attempts({ NODE_ENV: 'production' })]),
      [5, 5],
    );
  });
});
