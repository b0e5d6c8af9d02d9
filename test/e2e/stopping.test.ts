import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { bin } from '../support/fieldlog-process.ts';
import { freePort } from '../support/free-port.ts';
import { Launched, userPath } from '../support/launched.ts';

const root = path.resolve(import.meta.dirname, '../..');
const command = path.join(root, 'interfaces/cli/fieldlog');
const projectNode = path.join(root, 'node_modules/.bin/node');
const versionOf = (node: string, PATH?: string) =>
  spawnSync(node, ['--version'], { encoding: 'utf8', env: { PATH } }).stdout.trim();

/** Which Node runs npm. */
const nodes = {
  [`this machine's Node ${versionOf('node', userPath)}`]: userPath,
  [`the project's Node ${versionOf(projectNode)}`]: `${path.dirname(projectNode)}${path.delimiter}${userPath}`,
};
const throughNpm = [
  ['npm', 'start'],
  ['npm', 'run', 'fieldlog', '--', 'serve'],
  ['npx', 'fieldlog', 'serve'],
] as const;

const lookEvery = 50;

describe('Stopping', function () {
  this.timeout(120_000);
  let folder: string;
  let launched: Launched[];

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-stopping-'));
  });
  beforeEach(() => {
    launched = [];
  });
  afterEach(() => {
    for (const one of launched) one.killAll('SIGKILL');
  });
  after(() => rm(folder, { recursive: true }));

  async function launch(
    line: readonly [string, ...string[]],
    env: Readonly<Record<string, string>> = {},
    cwd?: string,
  ): Promise<Launched> {
    const one = new Launched(
      line,
      {
        DATA_DIR: await mkdtemp(path.join(folder, 'data-')),
        // For npx, which makes a link to the project in npm's cache.
        npm_config_cache: path.join(folder, 'npm'),
        npm_config_offline: 'true',
        npm_config_update_notifier: 'false',
        ...env,
      },
      cwd,
    );
    launched.push(one);
    return one;
  }

  async function started(...how: Parameters<typeof launch>): Promise<{ server: Launched; url: string }> {
    const server = await launch(...how);
    return { server, url: await server.url() };
  }

  const answers = async (url: string) => assert.equal((await fetch(`${url}/health/ready`)).status, 200);
  const refuses = (url: string) => assert.rejects(fetch(`${url}/health/live`));

  for (const [node, PATH] of Object.entries(nodes))
    describe(`through npm on ${node}`, () => {
      for (const line of throughNpm)
        it(`${line.join(' ')}: whatever signal ends npm, the server ends too`, () =>
          Promise.all(
            ['SIGTERM', 'SIGHUP', 'SIGKILL'].map(async (signal) => {
              const { server, url } = await started(line, { PATH });
              server.child.kill(signal as NodeJS.Signals);
              await server.allGone;
              await refuses(url);
            }),
          ));
    });

  for (const line of throughNpm)
    it(`${line.join(' ')}: Ctrl-C ends both`, async () => {
      const { server, url } = await started(line);
      server.killAll('SIGINT');
      await server.allGone;
      await refuses(url);
    });

  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    it(`npm start ends with the server, and with its exit code, by ${signal}`, async () => {
      const { server, url } = await started(['npm', 'start']);
      server.child.kill(signal);
      assert.equal(await server.ended(), 0);
      await refuses(url);
    });

  it('a server that a script of npm has put into the background is left running', async () => {
    const project = await mkdtemp(path.join(folder, 'project-'));
    const scripts = { up: `node ${bin} serve & read line` };
    await writeFile(path.join(project, 'package.json'), JSON.stringify({ scripts }));
    const { server, url } = await started(['npm', 'run', 'up'], {}, project);
    server.child.stdin?.end('\n');
    assert.equal(await server.ended(), 0);
    await stays(url);
  });

  it('a server does not outlive the older Node that has handed over to its own', async function () {
    const [major = 0] = versionOf('node', userPath).slice(1).split('.').map(Number);
    if (major > 20) return this.skip();
    const { server, url } = await started(['node', bin, 'serve']);
    server.child.kill('SIGKILL');
    await server.allGone;
    await refuses(url);
  });

  describe('by SIGHUP', () => {
    it('it stops, and ends well', async () => {
      const { server } = await started([command, 'serve']);
      server.child.kill('SIGHUP');
      assert.equal(await server.ended(), 0);
    });

    const ignoring = {
      'the command, under nohup': ['nohup', command, 'serve'],
      'the command, in a shell that ignores it': ['sh', '-c', `trap '' HUP; exec "${command}" serve`],
      'Node, under nohup in a shell that names what it starts': ['node', bin, 'serve'],
    } as const;
    for (const [title, line] of Object.entries(ignoring))
      it(`it continues where that was ignored when it started: ${title}`, async () => {
        const { server, url } = await started(line, line[0] === 'node' ? { _: '/usr/bin/nohup' } : {});
        server.child.kill('SIGHUP');
        await stays(url);
        server.child.kill('SIGTERM');
        assert.equal(await server.ended(), 0);
        await refuses(url);
      });
  });

  /** It answers as ready for a second, in which it would have noticed what ends it. */
  async function stays(url: string): Promise<void> {
    const until = performance.now() + 1000;
    for (; performance.now() < until; await pause(lookEvery)) await answers(url);
  }

  it("README's quick start serves, and is stopped by what it says", async () => {
    const port = await freePort();
    const script = (await quickStart())
      .replace('npm ci\n', '')
      .replaceAll('localhost:8080', `localhost:${port}`)
      .replace('--seconds 30', '--seconds 1');
    const shell = await launch(['bash', '-e', '-c', `${script}\nwait`], { PORT: String(port) });
    const url = await shell.url();
    assert.equal(await shell.ended(), 0, shell.said);
    await shell.allGone;
    await refuses(url);
  });
});

async function quickStart(): Promise<string> {
  const readme = await readFile(path.join(root, 'README.md'), 'utf8');
  const [, section = ''] = readme.match(/^## Quick start\n(.*?)^## /ms) ?? [];
  return [...section.matchAll(/^```sh\n(.*?)^```/gms)].map(([, block]) => block).join('');
}
