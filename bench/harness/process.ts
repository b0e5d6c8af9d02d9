import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { configSchema } from '../../infrastructure/config/config.ts';

/** A process under measurement. */
export type Process = {
  readonly role: string;
  readonly pid: number;
  /** The first match of `form` in what it says, within a minute or so many milliseconds. */
  said(form: RegExp, within?: number): Promise<RegExpMatchArray>;
  /** Asks it to end, and makes it after ten seconds. */
  end(): Promise<void>;
};

const startWithin = 60_000;
const endWithin = 10_000;

/** The command line. */
export const bin = path.resolve(import.meta.dirname, '../../interfaces/cli/fieldlog.mjs');

/** The variables that name servers for the benchmark are not to turn an embedded figure into another. */
export const unset = Object.fromEntries(
  ['FIELDLOG_CONFIG', ...Object.keys(configSchema.shape)].map((name) => [name, '']),
);

/** A role of Fieldlog as its operators run it, and its URL. */
export async function startFieldlog(
  role: string,
  env: Readonly<Record<string, string>>,
): Promise<Process & { readonly url: string }> {
  const started = startProcess(role, process.execPath, [...profiling(role), youngGeneration, bin, role], {
    ...unset,
    PORT: '0',
    WORKER_PORT: '0',
    LOG_LEVEL: 'warn',
    ...env,
  });
  const [url] = await started.said(/https?:\/\/[^\s)]+/);
  return { ...started, url };
}

/** As `npm start` and the image have it. */
const youngGeneration = '--max-semi-space-size=16';

/** `BENCH_CPU_PROF=<folder>` keeps a CPU profile of each role there. */
function profiling(role: string): string[] {
  const folder = process.env.BENCH_CPU_PROF;
  return folder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${path.join(folder, role)}`];
}

export function startProcess(
  role: string,
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Process {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  const listen = (text: string) => {
    said = (said + text).slice(-100_000);
  };
  child.stdout.setEncoding('utf8').on('data', listen);
  child.stderr.setEncoding('utf8').on('data', listen);
  child.on('error', (error) => listen(error.message));
  endWithUs(child);

  return {
    role,
    pid: child.pid ?? 0,
    async said(form, within = startWithin) {
      for (const deadline = Date.now() + within; Date.now() < deadline; await pause(20)) {
        const match = said.match(form);
        if (match) return match;
        if (hasEnded(child)) break;
      }
      throw new Error(`${role} did not say ${form}: ${said}`);
    },
    end: () => ended(child),
  };
}

export async function ended(child: ChildProcess): Promise<void> {
  if (hasEnded(child) || child.pid === undefined) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const force = setTimeout(() => child.kill('SIGKILL'), endWithin);
  await gone;
  clearTimeout(force);
}

/** Nothing that was started outlives the benchmark, however it ends. */
export function endWithUs(child: ChildProcess): void {
  const kill = () => void child.kill('SIGKILL');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
}

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null;
