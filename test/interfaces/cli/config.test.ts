import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runCli } from '../../support/cli.ts';

describe('fieldlog config', () => {
  const env = { PORT: '9000', MYSQL_URL: 'mysql://user:secret@db/iotdatabase', LOG_LEVEL: 'warn' };

  it('shows what is in force, without passwords', async () => {
    const { code, out } = await runCli(['config'], { env });
    assert.equal(code, 0);
    assert.match(out, /^PORT=9000$/m);
    assert.match(out, /^DATA_DIR=.\/data$/m);
    assert.match(out, /^MYSQL_URL=mysql:\/\/user:\*\*\*@db\/iotdatabase$/m);
    assert.doesNotMatch(out, /secret/);
    const { MYSQL_URL, PORT } = JSON.parse((await runCli(['config', '--json'], { env })).out);
    assert.deepEqual([MYSQL_URL, PORT], ['mysql://user:***@db/iotdatabase', 9000]);
  });

  it('reads the file that FIELDLOG_CONFIG names, after the environment', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-config-'));
    const file = path.join(folder, 'fieldlog.env');
    await writeFile(file, 'PORT=7000\nCONCURRENCY=9\n');
    const { out } = await runCli(['config', '--json'], { env: { ...env, FIELDLOG_CONFIG: file } });
    await rm(folder, { recursive: true });
    const { PORT, CONCURRENCY } = JSON.parse(out);
    assert.deepEqual([PORT, CONCURRENCY], [9000, 9]);
  });
});
