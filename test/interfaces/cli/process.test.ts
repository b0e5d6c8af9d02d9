import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { bin, fieldlog } from '../../support/fieldlog-process.ts';
import { ownEnvironment } from '../../support/own-environment.ts';

/** Has Node take itself for one that is too old. */
const oldNode = (change = '') =>
  `data:text/javascript,${encodeURIComponent(
    `${change}Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.1.0" } });`,
  )}`;
const replaces = { 'can replace itself': '', 'cannot replace itself': 'delete process.execve;' };

describe('The fieldlog process', function () {
  this.timeout(60_000);
  let folder: string;
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-bin-'));
  });
  after(() => rm(folder, { recursive: true }));

  const runs = (args: readonly string[], input = '') =>
    spawnSync(process.execPath, [bin, ...args], {
      encoding: 'utf8',
      input,
      env: { ...ownEnvironment, DATA_DIR: path.join(folder, 'data') },
    });

  it('answers without a warning, from any folder', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [bin, '--version'], {
      encoding: 'utf8',
      cwd: folder,
    });
    assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
    assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
  });

  it('imports standard input without a warning', () => {
    const { status, stdout, stderr } = runs(['import', '-', '--device', 'a'], 'time,temp\n2026-01-01,1\n');
    assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
    assert.match(stdout, /^Imported 1 reading of 1 device/);
  });

  it('overwrites no file that it imports, be it standard input', async () => {
    const input = path.join(folder, 'input.csv');
    await writeFile(input, 'time,temp\n2026-01-01,1\nnever,2\n');
    const handle = await open(input);
    const { status, stderr } = spawnSync(
      process.execPath,
      [bin, 'import', '-', '--device', 'a', '--rejects', input, '--force'],
      {
        encoding: 'utf8',
        stdio: [handle.fd, 'pipe', 'pipe'],
        env: { ...ownEnvironment, DATA_DIR: path.join(folder, 'data') },
      },
    );
    await handle.close();
    assert.equal(status, 2);
    assert.match(stderr, /input\.csv is a file that is imported: name another for --rejects/);
    assert.match(await readFile(input, 'utf8'), /^time,temp/);
  });

  it('shows a stack only where debugging is asked for', () => {
    const nothing = path.join(folder, 'nothing.csv');
    assert.match(runs(['import', nothing]).stderr, /^fieldlog: there is no file .*\n$/);
    const { stderr } = spawnSync(process.execPath, [bin, 'import', nothing], {
      encoding: 'utf8',
      env: { ...ownEnvironment, LOG_LEVEL: 'debug' },
    });
    assert.match(stderr, /\n {4}at /);
  });

  for (const args of ['--help', '--version', 'config'])
    it(`says that its answer could not be written, and ends with 3: ${args}`, async function () {
      const full = await open('/dev/full', 'w').catch(() => this.skip());
      try {
        const { status, stderr } = spawnSync(process.execPath, [bin, args], {
          encoding: 'utf8',
          stdio: ['ignore', full.fd, 'pipe'],
        });
        assert.match(stderr, /^fieldlog: standard output cannot be written to: .*\n$/);
        assert.equal(status, 3);
      } finally {
        await full.close();
      }
    });

  it('continues in silence when nobody reads its answer any more', async () => {
    const child = spawn(process.execPath, [bin, 'config', '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    let errors = '';
    child.stderr.on('data', (text) => {
      errors += text;
    });
    const [code] = await once(child, 'close');
    assert.deepEqual({ code, errors }, { code: 0, errors: '' });
  });

  describe('serving', () => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const)
      it(`says where it is and where its data are, and ends well by ${signal}`, async () => {
        const data = path.join(folder, 'served');
        const server = fieldlog(['serve'], { PORT: '0', DATA_DIR: data });
        const [, url, where] = await server.says(/^Fieldlog: (http:\S+) \(data in (.*)\)\n/);
        assert.equal(where, data);
        assert.equal((await fetch(`${url}/health/ready`)).status, 200);
        assert.equal(await server.end(signal), 0);
        assert.equal(server.errors(), '');
        await assert.rejects(fetch(`${url}/health/live`));
      });

    it('ends with one line when its port is taken', async () => {
      const taken = createServer().listen(0, '127.0.0.1');
      await once(taken, 'listening');
      const { port } = taken.address() as { port: number };
      const { status, stdout, stderr } = spawnSync(process.execPath, [bin, 'serve'], {
        encoding: 'utf8',
        env: {
          ...ownEnvironment,
          LOG_LEVEL: 'warn',
          PORT: String(port),
          DATA_DIR: path.join(folder, 'data'),
        },
      });
      taken.close();
      assert.deepEqual({ status, stdout }, { status: 2, stdout: '' });
      assert.match(stderr, new RegExp(`^fieldlog: .*${port}.*\n$`));
    });

    it('takes what npm passes on of a Ctrl-C for the same Ctrl-C', async () => {
      const server = fieldlog(['serve'], { PORT: '0', DATA_DIR: path.join(folder, 'twice') });
      await server.says(/^Fieldlog: /);
      server.child.kill('SIGINT');
      assert.equal(await server.end('SIGINT'), 0);
    });
  });

  for (const [ability, change] of Object.entries(replaces))
    describe(`on a Node that is too old and ${ability}`, () => {
      let project: string;
      let old: readonly string[];

      beforeEach(async () => {
        project = await mkdtemp(path.join(folder, 'project-'));
        await mkdir(path.join(project, 'interfaces/cli'), { recursive: true });
        await mkdir(path.join(project, 'node_modules/.bin'), { recursive: true });
        const copy = path.join(project, 'interfaces/cli/fieldlog.mjs');
        await copyFile(bin, copy);
        old = ['--import', oldNode(change), copy];
      });

      async function bringAlong(script: string): Promise<void> {
        const node = path.join(project, 'node_modules/.bin/node');
        await writeFile(node, `#!/bin/sh\n${script}\n`);
        await chmod(node, 0o755);
      }

      it('says what to do when no newer one is there', () => {
        const { status, stderr } = spawnSync(process.execPath, [...old, 'serve'], { encoding: 'utf8' });
        assert.equal(status, 2);
        assert.match(
          stderr,
          /^fieldlog: needs Node 24\.15 or newer and this is 20\.1\.0: run `npm ci` in .*\n$/,
        );
      });

      it('says so too when the one that is there is not newer', async () => {
        await bringAlong('echo v22.1.0');
        assert.equal(spawnSync(process.execPath, [...old, 'serve']).status, 2);
      });

      it('hands over to the newer one with its arguments, its streams and its exit code', async () => {
        await bringAlong('[ "$1" = --version ] && echo v24.15.0 && exit\nshift 3\necho "$@"\ncat\nexit 7');
        const { status, stdout } = spawnSync(process.execPath, [...old, 'import', '-', 'a b'], {
          encoding: 'utf8',
          input: 'input',
        });
        assert.deepEqual({ status, stdout }, { status: 7, stdout: 'import - a b\ninput' });
      });

      it('passes signals on', async () => {
        await bringAlong(
          '[ "$1" = --version ] && echo v24.15.0 && exit\ntrap "echo stopped; exit 5" TERM\necho ready\nfor i in $(seq 300); do sleep 0.1; done',
        );
        const child = spawn(process.execPath, [...old, 'serve'], { stdio: ['ignore', 'pipe', 'inherit'] });
        let out = '';
        child.stdout.on('data', (text) => {
          out += text;
          if (out === 'ready\n') child.kill('SIGTERM');
        });
        const [code] = await once(child, 'close');
        assert.deepEqual({ code, out }, { code: 5, out: 'ready\nstopped\n' });
      });
    });
});
