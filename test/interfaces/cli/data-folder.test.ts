import assert from 'node:assert/strict';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runCli } from '../../support/cli.ts';
import { eventually } from '../../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../../support/fieldlog-process.ts';

const looking = [
  ['status'],
  ['keys', 'list'],
  ['keys', 'revoke', 'a'],
  ['audit'],
  ['check'],
  ['projections', 'list'],
  ['projections', 'status', 'telemetry'],
  ['projections', 'rebuild', 'telemetry'],
  ['dead-letters', 'list'],
  ['dead-letters', 'retry', '--all'],
  ['retention', 'show'],
  ['retention', 'preview'],
];
const createKey = ['keys', 'create', '--name', 'a', '--scopes', 'operate'];

describe('A command that works on files', function () {
  this.timeout(60_000);
  let folder: string;
  let running: FieldlogProcess | undefined;

  beforeEach(async () => {
    folder = await realpath(await mkdtemp(path.join(tmpdir(), 'fieldlog-folder-')));
    running = undefined;
  });
  afterEach(async () => {
    await running?.end('SIGKILL');
    await rm(folder, { recursive: true });
  });

  const at = (name: string) => path.join(folder, name);
  const run = (args: readonly string[], name: string) =>
    runCli(args, { env: { DATA_DIR: at(name), PORT: '1' } });
  async function serve(name: string): Promise<string> {
    running = fieldlog(['serve'], { DATA_DIR: at(name), PORT: '0' });
    const [, url = ''] = await running.says(/Fieldlog: (http:\S+)/);
    return url;
  }

  for (const args of looking)
    it(`makes nothing where there is nothing: ${args.join(' ')}`, async () => {
      const { code, err } = await run(args, 'nothing');
      assert.equal(code, 3, err);
      assert.match(err, /there is no events\.db( and no (telemetry|read-models)\.db)* in \S+nothing; start/);
      assert.ok(!existsSync(at('nothing')));
    });

  it('ends at once where no folder can be made, as in /proc', async function () {
    if (!existsSync('/proc/self')) return this.skip();
    for (const args of [['serve'], ['migrate']]) {
      running = fieldlog(args, { DATA_DIR: '/proc/fieldlog/data' });
      // A command that tries for ever does not end by itself.
      const child = running.child;
      await eventually(() => assert.notEqual(child.exitCode, null), { within: 20_000 });
      assert.equal(child.exitCode, 2);
      assert.match(
        running.errors(),
        /^fieldlog: Cannot make the data directory \/proc\/fieldlog\/data: ENOENT.* Check DATA_DIR\n$/,
      );
    }
  });

  it('serves and is stopped where it cannot note itself for commands, as in /proc', async function () {
    if (!existsSync('/proc/self')) return this.skip();
    running = fieldlog(['serve'], { DATA_DIR: at('data'), PORT: '0', XDG_RUNTIME_DIR: '/proc/fieldlog' });
    // A server that tries for ever answers nothing, no signal either.
    await running.says(/Fieldlog: (http:\S+)/, 20_000);
    assert.equal(await running.end('SIGTERM'), 0);
    assert.equal((await runCli(createKey, { env: { DATA_DIR: at('data'), PORT: '1' } })).code, 0);
  });

  it('makes no file anew that is missing beside others', async () => {
    assert.equal((await run(['migrate'], 'data')).code, 0);
    await rm(at('data/telemetry.db'));
    const { code, err } = await run(['audit'], 'data');
    assert.equal(code, 3);
    assert.match(err, /there is no telemetry\.db in /);
    assert.ok(!existsSync(at('data/telemetry.db')));
  });

  it('says which store a key was written to, and whether a server has it', async () => {
    const alone = await run(createKey, 'data');
    assert.equal(alone.code, 0);
    assert.ok(alone.err.includes(`stored in ${at('data')}; no server runs`), alone.err);
    const url = await serve('data');
    const served = await run(['keys', 'create', '--name', 'b', '--scopes', 'operate'], 'data');
    assert.ok(served.err.includes(`stored in ${at('data')}; the server at ${url} takes it`), served.err);
  });

  it('makes no key in another folder than that of the server that runs', async () => {
    const url = await serve('data');
    const { code, err } = await run(createKey, 'mistyped');
    assert.equal(code, 3);
    assert.ok(
      err.includes(`the server at ${url} (process ${running?.child.pid}) has its data in ${at('data')}`),
      err,
    );
    assert.ok(!existsSync(at('mistyped')));
    assert.equal((await run(['migrate'], 'mistyped')).code, 0);
    assert.equal((await run(createKey, 'mistyped')).code, 0);
  });

  it('finds the folder of the server that runs', async () => {
    await serve('data');
    const made = fieldlog(createKey, {});
    await made.says(/flk_/);
    await eventually(() => assert.equal(made.child.exitCode, 0));
    assert.ok(made.errors().includes(`Using ${at('data')}`), made.errors());
    const listed = await run(['keys', 'list', '--json'], 'data');
    assert.equal(JSON.parse(listed.out).length, 1);
  });

  it('finds no server that was killed or has stopped', async () => {
    await serve('data');
    const lock = at('data/fieldlog.lock');
    assert.equal(statSync(lock).mode & 0o777, 0o600);
    await running?.end('SIGKILL');
    assert.ok(existsSync(lock));
    assert.equal((await run(createKey, 'other')).code, 0);
    await serve('data');
    assert.equal(await running?.end('SIGTERM'), 0);
    assert.ok(!readdirSync(at('data')).includes('fieldlog.lock'));
  });
});
