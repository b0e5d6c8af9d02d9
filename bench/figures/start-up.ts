import { execFile } from 'node:child_process';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { promisify } from 'node:util';
import type { Bench } from '../harness/bench.ts';
import { startProcess, unset } from '../harness/process.ts';
import type { Row } from '../harness/row.ts';

const root = path.resolve(import.meta.dirname, '../..');
const run = promisify(execFile);
const longest = 60_000;

/** What a person waits for at a terminal: the help, and a server with a new data folder until it is ready. */
export async function startUp(bench: Bench): Promise<Row[]> {
  const times = bench.size(10, 2);
  const [help, start, node]: [number[], number[], number[]] = [[], [], []];
  while (help.length < times) {
    node.push(await milliseconds(() => run(process.execPath, ['-e', '0'])));
    help.push(await milliseconds(() => run(path.join(root, 'interfaces/cli/fieldlog'), ['--help'])));
    start.push(await untilReady(bench));
  }
  return [
    {
      figure: 'fieldlog --help',
      unit: 'ms',
      values: help,
      against: { what: 'node -e 0', values: node },
      target: { atMost: 150 },
      usage: [],
    },
    { figure: 'npm start, until ready', unit: 'ms', values: start, target: { atMost: 1000 }, usage: [] },
  ];
}

async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

async function untilReady(bench: Bench): Promise<number> {
  const env = { ...unset, PORT: '0', LOG_LEVEL: 'warn', DATA_DIR: await bench.folder() };
  const started = performance.now();
  const server = bench.keep(startProcess('npm start', 'npm', ['start', '--prefix', root], env));
  const [url] = await server.said(/https?:\/\/[^\s)]+/);
  while (!(await fetch(`${url}/health/ready`)).ok)
    if (performance.now() - started > longest) throw new Error('npm start was not ready within a minute');
  const taken = performance.now() - started;
  await server.end();
  return taken;
}
