import { fork } from 'node:child_process';
import path from 'node:path';
import { ended, endWithUs } from './process.ts';

type Calls = Readonly<Record<string, (argument: never) => unknown>>;
type Answer = { readonly result: unknown } | { readonly error: string };

/** A process of the benchmark's own, from `bench/peers`, that does what it is called for, one call at a time. */
export type Peer<Served extends Calls> = {
  readonly role: string;
  readonly pid: number;
  call<Name extends keyof Served & string>(
    name: Name,
    argument: Parameters<Served[Name]>[0],
  ): Promise<Awaited<ReturnType<Served[Name]>>>;
  end(): Promise<void>;
};

/** `file` is a module of `bench/peers` that serves `Served`. */
export function startPeer<Served extends Calls>(
  role: string,
  file: string,
  env: Readonly<Record<string, string>> = {},
): Peer<Served> {
  const module = path.resolve(import.meta.dirname, '../peers', file);
  const folder = process.env.BENCH_CPU_PROF;
  const child = fork(module, {
    env: { ...process.env, ...env },
    execArgv: folder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${path.join(folder, role)}`],
    serialization: 'advanced',
  });
  endWithUs(child);
  let last: Promise<unknown> = Promise.resolve();

  return {
    role,
    pid: child.pid ?? 0,
    call(name, argument) {
      const turn = last.then(() => one(name, argument)) as ReturnType<Peer<Served>['call']>;
      last = turn.catch(() => undefined);
      return turn as never;
    },
    end: () => ended(child),
  };

  function one(name: string, argument: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const settle = (work: () => void) => {
        child.off('message', answered);
        child.off('exit', lost);
        work();
      };
      const answered = (answer: Answer) =>
        settle(() => ('error' in answer ? reject(new Error(answer.error)) : resolve(answer.result)));
      const lost = (code: number | null) =>
        settle(() => reject(new Error(`${role} ended with code ${code}`)));
      child.on('message', answered);
      child.on('exit', lost);
      child.send({ name, argument });
    });
  }
}

/** The other side: makes this process serve the calls until it receives `end`. */
export function serveCalls(calls: Calls): void {
  process.on('SIGTERM', () => process.exit(0));
  process.on('disconnect', () => process.exit(0));
  process.on('message', async ({ name, argument }: { name: string; argument: never }) => {
    try {
      process.send?.({ result: await calls[name]?.(argument) });
    } catch (error) {
      process.send?.({ error: (error as Error).stack ?? String(error) });
    }
  });
}
