import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import packageJson from '../../package.json' with { type: 'json' };
import lockFile from '../../package-lock.json' with { type: 'json' };
import { root } from './yaml-file.ts';

const text = (file: string) => readFileSync(path.join(root, file), 'utf8');
const lines = text('Dockerfile')
  .replaceAll(/\\\n\s*/g, '')
  .split('\n')
  .filter((line) => /^[A-Z]/.test(line));
/** What follows each use of an instruction, in order. */
const all = (instruction: string) =>
  lines
    .filter((line) => line.startsWith(`${instruction} `))
    .map((line) => line.slice(instruction.length + 1));
const last = (instruction: string): string => all(instruction).at(-1) ?? assert.fail(`no ${instruction}`);
const copies = all('COPY').map((what) => {
  const [to = '', ...from] = what.split(' ').reverse();
  return { from, to };
});
const [healthProgram, healthScript, healthOf] = JSON.parse(last('HEALTHCHECK').replace(/^.* CMD /, ''));

describe('The image', () => {
  it('has the Node that the tests run on, and so has .nvmrc', () => {
    const { node } = packageJson.devDependencies;
    assert.equal(last('FROM'), `node:${node}-bookworm-slim`);
    assert.equal(text('.nvmrc').trim(), node);
  });

  it('runs as a user that is not root, named by number', () =>
    assert.match(last('USER'), /^[1-9]\d*:[1-9]\d*$/));

  it('is given what is copied into it and nothing else', () => {
    const [first, ...allowed] = text('.dockerignore')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
    assert.equal(first, '*');
    assert.deepEqual(allowed.sort(), copies.flatMap(({ from }) => from.map((file) => `!${file}`)).sort());
  });

  describe('put together here', () => {
    let folder: string;
    let served: ChildProcess;
    let port: string;

    const health = () =>
      spawnSync(process.execPath, [healthScript, healthOf], {
        cwd: path.join(folder, 'app'),
        env: { HOST: '0.0.0.0', PORT: port },
        encoding: 'utf8',
      });

    before(async function () {
      this.timeout(60_000);
      folder = mkdtempSync(path.join(tmpdir(), 'fieldlog-image-'));
      const app = path.join(folder, 'app');
      mkdirSync(app);
      for (const { from, to } of copies)
        for (const file of from)
          cpSync(path.join(root, file), to === './' ? path.join(app, file) : path.join(app, to), {
            recursive: true,
          });
      installProductionPackages(app);

      const env = Object.fromEntries(
        all('ENV').flatMap((pairs) => pairs.split(' ').map((pair) => pair.split('='))),
      );
      const [, ...entry] = [...JSON.parse(last('ENTRYPOINT')), ...JSON.parse(last('CMD'))];
      served = spawn(process.execPath, entry, {
        cwd: app,
        // As in the image but for what this machine is: loopback alone, any port, a folder of the test's own.
        env: {
          ...env,
          PATH: process.env.PATH,
          HOST: '127.0.0.1',
          PORT: '0',
          DATA_DIR: path.join(folder, 'data'),
        },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      port = await portOf(served);
    });

    after(async () => {
      if (served.exitCode === null) {
        served.kill('SIGKILL');
        await once(served, 'exit');
      }
      rmSync(folder, { recursive: true });
    });

    it('serves with production packages and the copied files alone, and its health check sees it', () => {
      assert.equal(healthProgram, 'node');
      assert.equal(healthOf, 'api');
      const { status, stdout } = health();
      assert.deepEqual([status, stdout.trim()], [0, '200']);
    });

    it('ends at a signal, and its health check sees that too', async () => {
      served.kill('SIGTERM');
      const [code] = await once(served, 'exit');
      assert.equal(code, 0);
      assert.equal(health().status, 1);
    });
  });
});

/** What `npm ci --omit=dev` would install, linked from what is installed here. */
function installProductionPackages(app: string): void {
  const packages = lockFile.packages as Readonly<Record<string, { readonly dev?: boolean }>>;
  for (const [place, { dev }] of Object.entries(packages)) {
    if (dev || !/^node_modules\/(@[^/]+\/)?[^/]+$/.test(place)) continue;
    mkdirSync(path.dirname(path.join(app, place)), { recursive: true });
    symlinkSync(path.join(root, place), path.join(app, place));
  }
}

function portOf({ stdout }: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = '';
    stdout?.setEncoding('utf8').on('data', (part: string) => {
      said += part;
      const [, port] = said.match(/http:\/\/127\.0\.0\.1:(\d+)/) ?? [];
      if (port !== undefined) resolve(port);
    });
    stdout?.once('end', () => reject(new Error(`It ended without saying where it listens: ${said}`)));
  });
}
