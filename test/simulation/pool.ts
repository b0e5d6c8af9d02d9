import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { WorldOptions } from './options.ts';
import type { WorldResult } from './world.ts';

const lastLines = 40;
/** Signals of processes that crashed hold a world of 2,000 operations for good, some 10 MB. */
const worldsOfProcess = 25;

/** What a process is asked for: the world of these options, and which of its lines are wanted. */
export type WorldRequest = { readonly options: WorldOptions; readonly lines: 'all' | 'last' };

/** A world that was run, as it goes from one process to another. */
export type WorldReport = {
  readonly options: WorldOptions;
  /** All, or the last of a world that broke a rule. */
  readonly lines: readonly string[];
  readonly counts: readonly (readonly [kind: string, count: number])[];
  /** Milliseconds by the world's calendar. */
  readonly lasted: number;
  /** What broke, in one line or as a stack; undefined when nothing did. */
  readonly violation: string | undefined;
};

export function worldReport(
  { options, timeline, lasted, violation }: WorldResult,
  lines: 'all' | 'last',
): WorldReport {
  const last = violation ? timeline.lines.slice(-lastLines) : [];
  return {
    options,
    lines: lines === 'all' ? timeline.lines : last,
    counts: [...timeline.counts],
    lasted,
    violation: violation?.name === 'Violation' ? violation.message : violation?.stack,
  };
}

/**
 * Runs the worlds that `next` gives until it gives none, in so many processes: a world has the timers and the clock
 * of its process to itself. A process that ends with its world broke a rule there, and another takes its place.
 */
export async function runInProcesses(
  processes: number,
  next: () => WorldOptions | undefined,
  lines: WorldRequest['lines'],
  done: (report: WorldReport) => void,
): Promise<void> {
  await Promise.all(
    Array.from({ length: processes }, async () => {
      let child: ChildProcess | undefined;
      let worlds = 0;
      try {
        for (let options = next(); options; options = next()) {
          child ??= fork(new URL('pool-process.ts', import.meta.url));
          const report = await answerOf(child, { options, lines });
          worlds += 1;
          if (worlds % worldsOfProcess === 0) child.kill();
          if (child.killed || child.exitCode !== null || child.signalCode !== null) child = undefined;
          done(report);
        }
      } finally {
        child?.kill();
      }
    }),
  );
}

async function answerOf(child: ChildProcess, request: WorldRequest): Promise<WorldReport> {
  const over = new AbortController();
  try {
    const answer = once(child, 'message', over).then(([report]) => report as WorldReport);
    const end = once(child, 'exit', over).then(([code, signal]): WorldReport => {
      const { options } = request;
      const violation = `its process ended with ${code ?? signal}`;
      return { options, lines: [], counts: [], lasted: 0, violation };
    });
    child.send(request);
    return await Promise.race([answer, end]);
  } finally {
    over.abort();
  }
}
