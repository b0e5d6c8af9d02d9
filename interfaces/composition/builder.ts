import { hostname } from 'node:os';
import type { Builder } from '../../application/ports/generations.ts';

/** Builders report every second; one not heard of for so long is no more. */
const heardWithinMilliseconds = 10_000;

const form = /\(process (\d+) on (.+), \S+\)$/;

/** This process as a builder, by a name that other operators are told. */
export function builder(doing: string, id: string): Builder {
  return {
    runner: `${doing} (process ${process.pid} on ${hostname()}, ${id.slice(-8)})`,
    isGone(runner, heardAt) {
      if (Date.now() - heardAt > heardWithinMilliseconds) return true;
      const [, pid, host] = form.exec(runner) ?? [];
      return pid !== undefined && host === hostname() && !isAlive(Number(pid));
    },
  };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
