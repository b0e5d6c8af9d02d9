#!/usr/bin/env node
// Plain JavaScript that an old Node can run too: it hands over to the newer one that npm has installed.
import { spawn, spawnSync } from 'node:child_process';
import module from 'node:module';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import v8 from 'node:v8';

/** The first Node 24 that calls neither its TypeScript support nor `node:sqlite` experimental on every start. */
const needed = [24, 15];

if (isNewEnough(process.versions.node)) {
  // Of the threads, which take 200 MiB less by it and are as fast. Of this one, whoever starts it says so.
  v8.setFlagsFromString('--max-semi-space-size=16');
  keepCompiled(fileURLToPath(new URL('../../node_modules/.cache/fieldlog', import.meta.url)));
  await import('./main.ts');
} else handOver(fileURLToPath(new URL('../../node_modules/.bin/node', import.meta.url)));

/** Compiling takes longer than all else at a start. Where the folder cannot be written, each start compiles for itself. */
function keepCompiled(folder) {
  if (process.env.NODE_V8_COVERAGE || process.env.NODE_DISABLE_COMPILE_CACHE) return;
  // For the threads of this process as well.
  process.env.NODE_COMPILE_CACHE ??= folder;
  module.enableCompileCache?.(process.env.NODE_COMPILE_CACHE);
}

function isNewEnough(version) {
  const [major, minor] = version.split('.').map(Number);
  return major > needed[0] || (major === needed[0] && minor >= needed[1]);
}

function handOver(node) {
  const { status, stdout } = spawnSync(node, ['--version'], { encoding: 'utf8' });
  if (status !== 0 || !isNewEnough(stdout.slice(1))) {
    const project = fileURLToPath(new URL('../..', import.meta.url));
    console.error(
      `fieldlog: needs Node ${needed.join('.')} or newer and this is ${process.versions.node}: ` +
        `run \`npm ci\` in ${project}, which brings one along, or install it`,
    );
    process.exitCode = 2;
    return;
  }
  const args = [...process.execArgv, ...process.argv.slice(1)];
  // Since 22.15 and 23.11: this very process continues as the newer Node.
  if (process.execve) process.execve(node, [node, ...args], process.env);
  // Before there is a child to be left behind by a signal that ends this process.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  const child = spawn(node, args, {
    stdio: 'inherit',
    // For it to notice when this process ends without having been able to pass anything on.
    env: { ...process.env, FIELDLOG_LAUNCHER: String(process.pid) },
  });
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}
