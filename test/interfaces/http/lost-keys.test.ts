import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { dataFiles } from '../../../infrastructure/sqlite/database-file.ts';
import { StartupError } from '../../../infrastructure/startup-error.ts';
import { openLog } from '../../../interfaces/composition/process.ts';
import { serve } from '../../../interfaces/composition/roles.ts';
import { runCli } from '../../support/cli.ts';

const files = ['access', 'events', 'readModels', 'telemetry'] as const;

describe('A store that has had an API key', function () {
  this.timeout(60_000);
  let folder: string;
  let dataDir: string;
  let secret: string;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-lost-'));
    dataDir = path.join(folder, 'data');
  });
  afterEach(() => rm(folder, { recursive: true }));

  const create = async (name: string) => {
    const args = ['keys', 'create', '--name', name, '--scopes', 'operate'];
    const { code, out, err } = await runCli(args, { env: { DATA_DIR: dataDir } });
    assert.equal(code, 0, err);
    return out.trim();
  };

  /** What the status answers without a key and with each. A server that does not start opens nothing either. */
  async function answers(env: Readonly<Record<string, string>> = {}, secrets = [secret]) {
    const config = configFrom({ PORT: '0', DATA_DIR: dataDir, ...env });
    const served = await serve(config, openLog('silent', 'serve')).catch((error) => {
      assert.ok(error instanceof StartupError, String(error));
    });
    if (!served) return 'no start';
    const status = async (headers: Record<string, string>) =>
      (await fetch(`${served.url}/api/v1/status`, { headers })).status;
    try {
      const found = [await status({})];
      for (const one of secrets) found.push(await status({ 'X-API-Key': one }));
      return found;
    } finally {
      await served.close();
    }
  }

  async function remove(file: (typeof files)[number]): Promise<void> {
    const { base } = path.parse(dataFiles(dataDir)[file]);
    for (const name of await readdir(dataDir)) if (name.startsWith(base)) await rm(path.join(dataDir, name));
  }

  for (const file of files) {
    it(`stays closed when it loses its file ${file}`, async () => {
      secret = await create('a');
      assert.deepEqual(await answers(), [401, 200]);
      await remove(file);
      const found = await answers();
      if (found !== 'no start') assert.equal(found[0], 401);
    });

    it(`stays closed when its file ${file} is put back from before the first key`, async () => {
      secret = 'none';
      assert.deepEqual(await answers(), [200, 200]);
      const before = path.join(folder, 'before');
      await cp(dataFiles(dataDir)[file], before);
      secret = await create('a');
      await remove(file);
      await cp(before, dataFiles(dataDir)[file]);
      const found = await answers();
      if (found !== 'no start') assert.equal(found[0], 401);
    });
  }

  it('takes its keys along when it becomes one of this release', async () => {
    secret = await create('a');
    // As the release before had it: the keys with the read models, and no mark.
    const { access, readModels, events } = dataFiles(dataDir);
    const db = new DatabaseSync(readModels);
    db.exec(`ATTACH '${access}' AS access; INSERT INTO main.api_keys SELECT * FROM access.api_keys`);
    db.close();
    const log = new DatabaseSync(events);
    log.exec('DROP TABLE access_closed');
    log.close();
    await remove('access');
    assert.deepEqual(await answers(), [401, 200]);
    await remove('readModels');
    assert.deepEqual(await answers(), [401, 200]);
  });

  it('is closed from the first start where keys are required', async () => {
    secret = 'none';
    assert.deepEqual(await answers({ REQUIRE_KEYS: 'true' }), [401, 401]);
    secret = await create('a');
    assert.deepEqual(await answers({ REQUIRE_KEYS: 'true' }), [401, 200]);
  });
});
