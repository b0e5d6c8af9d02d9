import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runCli } from '../../support/cli.ts';
import { fieldlog } from '../../support/fieldlog-process.ts';

describe('API keys from the command line', () => {
  let folder: string;
  const run = (...args: readonly string[]) => runCli(['keys', ...args], { env: { DATA_DIR: folder } });

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-keys-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('are shown when they are made and never again', async () => {
    const made = await run('create', '--name', 'gateway-1', '--scopes', 'telemetry:write,devices:read');
    assert.equal(made.code, 0, made.err);
    assert.match(made.out, /^flk_[\w-]+\.[\w-]{43}\n$/);
    assert.match(made.err, /not shown again/);
    const { out } = await run('list');
    assert.match(out, /gateway-1 +telemetry:write,devices:read +all +\S+Z +never/);
    assert.ok(!out.includes(made.out.trim().slice(-43)));
  });

  it('tell scripts all there is to tell', async () => {
    const { out } = await run('create', '--name', 'a', '--scopes', 'operate', '--expires', '90d', '--json');
    const { key, expiresAt, ...rest } = JSON.parse(out);
    assert.match(key, /^flk_/);
    assert.ok(Math.abs(Date.parse(expiresAt) - Date.now() - 90 * 86_400_000) < 60_000);
    assert.deepEqual(
      { ...rest, createdAt: undefined },
      {
        name: 'a',
        scopes: ['operate'],
        only: null,
        createdAt: undefined,
        revokedAt: null,
      },
    );
    const [listed] = JSON.parse((await run('list', '--json')).out);
    assert.deepEqual(listed, { ...rest, expiresAt });
  });

  it('are for a part of the fleet', async () => {
    const of = [
      '--only-prefix',
      'a-',
      '--only-type',
      'pump',
      '--only-label',
      'site=x',
      '--only-label',
      'b=1',
    ];
    const { out } = await run('create', '--name', 'a', '--scopes', 'devices:read', ...of, '--json');
    const only = { idPrefix: 'a-', type: 'pump', labels: { site: 'x', b: '1' } };
    assert.deepEqual(JSON.parse(out).only, only);
    assert.deepEqual(JSON.parse((await run('list', '--json')).out)[0].only, only);
    assert.match((await run('list')).out, / a-\*, type pump, site=x, b=1 /);
  });

  it('are revoked, and their names never given again', async () => {
    await run('create', '--name', 'a', '--scopes', 'operate');
    assert.deepEqual(await run('revoke', 'a'), { code: 0, out: 'a is revoked\n', err: '' });
    const [{ revokedAt }] = JSON.parse((await run('list', '--json')).out);
    assert.ok(Date.parse(revokedAt) <= Date.now());
    const again = await run('create', '--name', 'a', '--scopes', 'operate');
    assert.deepEqual([again.code, again.out], [1, '']);
    assert.match(again.err, /names are not reused/);
    const nobody = await run('revoke', 'nobody');
    assert.equal(nobody.code, 1);
    assert.match(nobody.err, /there is no key nobody/);
  });

  const wrong: readonly (readonly [args: string, says: RegExp])[] = [
    ['create --scopes operate', /required option '--name <name>' not specified/],
    ['create --name a', /required option '--scopes <scope,...>' not specified/],
    ['create --name a --scopes everything', /must be some of devices:write, .*operate/],
    ['create --name a --scopes operate,', /must be some of/],
    ['create --name anonymous --scopes operate', /not "anonymous"/],
    ['create --name device:a --scopes operate', /must be letters, digits/],
    ['create --name a --scopes operate --only-type pump', /operate is for the whole fleet/],
    ['create --name a --scopes devices:read --only-prefix a/', /must be how an id/],
    ['create --name a --scopes devices:read --only-type ', /must not be empty/],
    ['create --name a --scopes devices:read --only-label a', /must be key=value/],
    ['create --name a --scopes devices:read --only-label a=1 --only-label a=2', /names a key twice/],
    ['create --name a --scopes operate --expires soon', /must be such as 90d, 12h or 30m/],
    ['create --name a --scopes operate --expires 2020-01-01T00:00:00Z', /a time to come/],
  ];
  for (const [args, says] of wrong)
    it(`are not made by keys ${args}`, async () => {
      const { code, out, err } = await run(...args.split(' '));
      assert.deepEqual([code, out], [2, '']);
      assert.match(err, says);
      assert.deepEqual(await readdir(folder), []);
    });

  it('open a server to the command line, and close it to one without', async () => {
    const { out } = await run('create', '--name', 'ops', '--scopes', 'operate,devices:read');
    const server = fieldlog(['serve'], { DATA_DIR: folder, PORT: '0' });
    try {
      const [, url = ''] = await server.says(/(http:\S+)/);
      const ask = (env: Record<string, string>) => runCli(['devices', 'list', '--url', url], { env });
      const refused = await ask({});
      assert.equal(refused.code, 1);
      assert.match(refused.err, /wants an API key: set FIELDLOG_API_KEY/);
      assert.equal((await ask({ FIELDLOG_API_KEY: out.trim() })).code, 0);
    } finally {
      await server.end('SIGTERM');
    }
  });

  it('and other secrets are not shown with the configuration', async () => {
    const env = { FIELDLOG_API_KEY: 'flk_YQ.very-secret', METRICS_TOKEN: 'very-secret-as-well' };
    const { code, out } = await runCli(['config'], { env });
    assert.equal(code, 0);
    assert.match(out, /^METRICS_TOKEN=\*\*\*$/m);
    assert.doesNotMatch(out, /very-secret/);
  });
});
