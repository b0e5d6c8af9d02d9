import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { Interrupted } from './exit-codes.ts';

type Env = Readonly<Record<string, string | undefined>>;

/** Within this many milliseconds of the first signal, another one is the same signal passed on. */
const sameSignal = 500;
/** How often, in milliseconds, the processes that started this one are looked for. */
const checkEvery = 250;

/**
 * Aborted, with an `Interrupted`, by the first signal that asks to stop, or when what started this process in its
 * foreground has ended. The next signal ends the process at once. npm and `fieldlog.mjs` pass a Ctrl-C on that the
 * terminal has sent to this process too, so what comes in the same moment is the same signal.
 */
export function untilStopped(env: Env): AbortSignal {
  const stop = new AbortController();
  let stoppedAt: number | undefined;
  const request = (signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP'): void => {
    const interrupted = new Interrupted(signal);
    if (stoppedAt === undefined) {
      stoppedAt = performance.now();
      stop.abort(interrupted);
    } else if (performance.now() - stoppedAt > sameSignal) process.exit(interrupted.exitCode);
  };
  const isKept = keptByNohup(env);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => request(signal));
  // Node has taken back that it is ignored: without a listener it would end the process.
  process.on('SIGHUP', () => isKept || request('SIGHUP'));
  if (!isKept) whenLeft(launchers(env), () => request('SIGTERM'));
  return stop.signal;
}

/** By what the command `fieldlog` has found, or else, where Node was started itself, by what the shell has named. */
const keptByNohup = (env: Env): boolean =>
  env.FIELDLOG_NOHUP !== undefined || path.basename(env._ ?? '') === 'nohup';

function whenLeft(processes: readonly number[], left: () => void): void {
  const [parent, ...others] = processes;
  if (parent === undefined) return;
  const timer = setInterval(() => {
    if (process.ppid === parent && others.every(isAlive)) return;
    clearInterval(timer);
    left();
  }, checkEvery);
  timer.unref();
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * The processes between which and this one nothing can put it into the background, nearest first: an older Node that
 * has handed over, the shell in which npm runs a script, and npm. npm passes no SIGHUP on, and the shell nothing at
 * all. Whoever else started this process may end and leave it running.
 */
function launchers(env: Env): readonly number[] {
  const found: number[] = [];
  let pid = process.ppid;
  if (env.FIELDLOG_LAUNCHER === String(pid)) {
    found.push(pid);
    pid = processOf(pid)?.parent ?? 0;
  }
  const { npm_lifecycle_script: script } = env;
  if (script === undefined) return found;
  let one = processOf(pid);
  const isBackground = /(?<![&>])&(?![&>])/.test(script);
  if (one?.command.includes(` -c ${script}`) && !isBackground) {
    found.push(pid);
    pid = one.parent;
    one = processOf(pid);
  }
  if (one && /(?:^|\/)(?:npm|npx|pnpm|yarn)(?:-cli)?(?:\.[cm]?js)?(?: |$)/.test(one.command)) found.push(pid);
  return found;
}

/** `undefined` where there is no such process, or no `ps` to ask. */
function processOf(pid: number): { readonly parent: number; readonly command: string } | undefined {
  const { stdout } = spawnSync('ps', ['-ww', '-o', 'ppid=,args=', '-p', String(pid)], { encoding: 'utf8' });
  const [, parent, command] = /^\s*(\d+) (.*)/.exec(stdout ?? '') ?? [];
  return parent && command ? { parent: Number(parent), command } : undefined;
}
