import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { scopes } from '../../../application/ports/api-keys.ts';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { StartupError } from '../../../infrastructure/startup-error.ts';
import { openLog } from '../../../interfaces/composition/process.ts';
import { serve } from '../../../interfaces/composition/roles.ts';
import { runCli } from '../../support/cli.ts';
import { eventually } from '../../support/eventually.ts';
import { httpClient } from '../../support/http-client.ts';

const ages = ['missing', 'older', 'newer'] as const;
type Age = (typeof ages)[number];
type Ages = Readonly<Record<'events' | 'telemetry' | 'readModels' | 'access', Age>>;
type Served = { readonly call: ReturnType<typeof httpClient>; close(): Promise<void> };

const perDevice = 20;
/** Devices that each age of a log has, and those whose readings it has. */
const devicesOf = { missing: [], older: ['a'], newer: ['a', 'b'] } as const;

/**
 * Every combination with `ALL_FILE_AGES=1`. Otherwise 27 of the 81, in which any three files have every combination of
 * theirs: the age of the fourth follows from theirs.
 */
const combinations = ages
  .flatMap((readModels) =>
    ages.flatMap((events) => ages.map((telemetry) => ({ readModels, events, telemetry }))),
  )
  .flatMap((others) => {
    const sum = Object.values(others).reduce((before, age) => before + ages.indexOf(age), 0);
    const ofAccess = process.env.ALL_FILE_AGES ? ages : ages.filter((_, at) => at === sum % ages.length);
    return ofAccess.map((access): Ages => ({ ...others, access }));
  });

function expectedOf({ events, telemetry, readModels }: Ages): 'no start' | 'not ready' | 'ready' {
  const isMissing = [events, telemetry].includes('missing');
  if (readModels === 'missing') return events === 'missing' && telemetry !== 'missing' ? 'no start' : 'ready';
  if (isMissing) return 'no start';
  return readModels === 'newer' && [events, telemetry].includes('older') ? 'not ready' : 'ready';
}

describe('Files of a store from different times', function () {
  this.timeout(60_000);
  let folder: string;
  /** The first was revoked, and the second made, between the two times. */
  const secrets = { first: '', second: '' };

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-mixed-'));
    secrets.first = await createKey('data', 'first');
    await run('older', 'a', secrets.first);
    assert.equal((await cli('data', 'keys', 'revoke', 'first')).code, 0);
    secrets.second = await createKey('data', 'second');
    await run('newer', 'b', secrets.second);
  });
  after(() => rm(folder, { recursive: true }));

  const cli = (name: string, ...args: string[]) =>
    runCli(args, { env: { DATA_DIR: path.join(folder, name) } });

  async function createKey(name: string, key: string): Promise<string> {
    const { code, out, err } = await cli(name, 'keys', 'create', '--name', key, '--scopes', scopes.join());
    assert.equal(code, 0, err);
    return out.trim();
  }

  /** Serves the store until it has one device more, and keeps a copy of it. */
  async function run(age: Age, deviceId: string, secret: string): Promise<void> {
    const served = await start('data', secret);
    await register(served, deviceId);
    await measure(served, deviceId, 0);
    await consumed(served);
    await served.close();
    await cp(path.join(folder, 'data'), path.join(folder, age), { recursive: true });
  }

  async function start(name: string, secret: string): Promise<Served> {
    const config = configFrom({ PORT: '0', DATA_DIR: path.join(folder, name) });
    const { url, close } = await serve(config, openLog('silent', 'serve'));
    const call = httpClient(url);
    return {
      call: (method, route, asked) => call(method, route, { headers: { 'X-API-Key': secret }, ...asked }),
      close,
    };
  }

  /** Answers with the position of its event. */
  async function register({ call }: Served, deviceId: string): Promise<string> {
    const json = { deviceId, name: deviceId, type: 'test' };
    const registered = await call('POST', '/api/v1/devices', { json });
    assert.equal(registered.status, 201);
    return registered.json.position;
  }

  async function measure({ call }: Served, deviceId: string, from: number): Promise<void> {
    const json = Array.from({ length: perDevice }, (_, n) => ({
      deviceId,
      timestamp: from + n,
      metrics: { n },
    }));
    assert.equal((await call('POST', '/api/v1/telemetry', { json })).status, 202);
  }

  const consumed = ({ call }: Served): Promise<void> =>
    eventually(
      async () => {
        const { projections } = (await call('GET', '/api/v1/status')).json;
        for (const { lag } of projections) assert.equal(lag, 0);
      },
      { within: 20_000 },
    );

  /** Nobody is let in without a key, nor by a key that a file has as revoked. Answers with a new key that is good. */
  async function assertAccess({ call }: Served, name: string, of: Ages): Promise<string> {
    const statusWith = async (headers: Readonly<Record<string, string>>) =>
      (await call('GET', '/api/v1/status', { headers })).status;
    const isNew = [of.events, of.access].every((age) => age === 'missing');
    assert.equal(await statusWith({}), isNew ? 200 : 401);
    if (isNew) return '';
    const made = await createKey(name, 'third');
    const found = [];
    // The new one first, since a server looks for keys that it does not know at most twice a second.
    for (const secret of [made, secrets.first, secrets.second])
      found.push(await statusWith({ 'X-API-Key': secret }));
    const firstIsGood = of.access === 'older' && of.events !== 'newer';
    assert.deepEqual(found, [200, firstIsGood ? 200 : 401, of.access === 'newer' ? 200 : 401]);
    return made;
  }

  /** Starts on files of these ages, and registers and measures one device more where it starts. */
  async function outcome(of: Ages): Promise<'no start' | 'not ready' | 'ready'> {
    const name = Object.values(of).join('-');
    await mkdir(path.join(folder, name), { mode: 0o700 });
    for (const [file, age] of [
      ['events.db', of.events],
      ['telemetry.db', of.telemetry],
      ['read-models.db', of.readModels],
      ['access.db', of.access],
    ] as const)
      if (age !== 'missing') await cp(path.join(folder, age, file), path.join(folder, name, file));
    let served: Served;
    try {
      served = await start(name, '');
    } catch (error) {
      assert.ok(error instanceof StartupError, String(error));
      assert.match(
        error.message,
        /(events|telemetry)\.db is missing, although (the read models were made from it|telemetry\.db has readings)/,
      );
      return 'no start';
    }
    try {
      const ready = await served.call('GET', '/health/ready');
      const headers = { 'X-API-Key': await assertAccess(served, name, of) };
      const call: Served['call'] = (method, route, asked) =>
        served.call(method, route, { headers, ...asked });
      const withKey = { ...served, call };
      const registered = await register(withKey, 'c');
      for (let n = 0; n < 4; n += 1) await measure(withKey, 'c', 1000 + n * perDevice);
      if (ready.status === 503) {
        assert.match(ready.json.detail, /has stopped at .*fieldlog projections rebuild/);
        // Not even once the log has grown past the checkpoint.
        assert.equal((await call('GET', '/health/ready')).status, 503);
        return 'not ready';
      }
      const readings = perDevice * (devicesOf[of.telemetry].length + 4);
      const waitFor = `telemetry:0:${readings}`;
      assert.equal((await call('GET', `/api/v1/devices/c/telemetry?waitFor=${waitFor}`)).status, 200);
      const { totals, differences } = (await call('GET', '/api/v1/audit')).json;
      assert.deepEqual(differences, []);
      assert.deepEqual([totals.accepted, totals.rows + totals.deadLettered], [readings, readings]);
      const { devices } = (await call('GET', `/api/v1/devices?waitFor=${registered}`)).json;
      const ids = devices.map(({ deviceId }: { deviceId: string }) => deviceId).sort();
      assert.deepEqual(ids, [...devicesOf[of.events], 'c']);
      return 'ready';
    } finally {
      await served.close();
    }
  }

  for (const [file, beside] of [
    ['events.db', 'read-models.db'],
    ['telemetry.db', 'read-models.db'],
    ['events.db', 'telemetry.db'],
  ] as const)
    it(`an empty ${file} beside ${beside} is as good as none`, async () => {
      const name = `empty-${file}-${beside}`;
      await mkdir(path.join(folder, name), { mode: 0o700 });
      await writeFile(path.join(folder, name, file), '');
      await cp(path.join(folder, 'newer', beside), path.join(folder, name, beside));
      if (file === 'telemetry.db')
        await cp(path.join(folder, 'newer', 'events.db'), path.join(folder, name, 'events.db'));
      await assert.rejects(start(name, ''), (error: Error) => {
        assert.ok(error instanceof StartupError, String(error));
        assert.match(error.message, new RegExp(`${file} is empty, although .*: put back ${file}`));
        return true;
      });
    });

  for (const of of combinations) {
    const named = Object.entries(of).map(([file, age]) => `${file} ${age}`);
    it(`${named.join(', ')}: ${expectedOf(of)}`, async () => {
      assert.equal(await outcome(of), expectedOf(of));
    });
  }
});
