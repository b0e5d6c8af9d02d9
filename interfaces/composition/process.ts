import { readlinkSync } from 'node:fs';
import { hostname, setPriority } from 'node:os';
import type { LeaseOwner } from '../../application/ports/generations.ts';

/** Builders report every second; one not heard of for so long is no more. */
const heardWithinMilliseconds = 10_000;

const form = /\(process (\d+) on (.+), \S+\)$/;

/** This process as a builder, by a name that other operators are told. */
export function leaseOwner(doing: string, id: string): LeaseOwner {
  return {
    id: `${doing} (process ${process.pid} on ${hostname()}, ${id.slice(-8)})`,
    isExpired(runner, heardAt) {
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

/** A tenth of a share beside a thread of usual priority. */
const niceness = 10;

/**
 * Lowers the priority of this thread, and of those it starts. Where the machine cannot do both at once, taking what
 * devices send comes before projecting it, which can be made up for later. Linux knows the priority of a thread, other
 * systems only that of the process.
 */
export function lowerThreadPriority(): void {
  if (process.platform !== 'linux') return;
  const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
  setPriority(thread, niceness);
}

/** What the container does with an adapter it lets go of. */
export async function closeOnDeactivation(adapter: unknown): Promise<void> {
  const { close } = adapter as { close?: () => Promise<void> };
  if (!close) throw new TypeError('Only what can be closed is bound with a deactivation');
  await close.call(adapter);
}

export { pinoLog as openLog } from '../../infrastructure/pino-log.ts';
