import { readlinkSync } from 'node:fs';
import { hostname, setPriority } from 'node:os';
import type { LeaseOwner } from '../../application/ports/generations.ts';

/** Lease owners send a heartbeat every second; after so long without one the lease has expired. */
const leaseMilliseconds = 10_000;

const ownerPattern = /\(process (\d+) on (.+), \S+\)$/;

/** This process as a lease owner; other operators are shown its id. */
export function leaseOwner(doing: string, id: string): LeaseOwner {
  return {
    id: `${doing} (process ${process.pid} on ${hostname()}, ${id.slice(-8)})`,
    isExpired(owner, heartbeatAt) {
      if (Date.now() - heartbeatAt > leaseMilliseconds) return true;
      const [, pid, host] = ownerPattern.exec(owner) ?? [];
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

/** About a tenth of the share of a thread of normal priority. */
const niceness = 10;

/**
 * Lowers the priority of this thread, and of those it starts. On a busy machine ingest goes before projections, which
 * can catch up later. Linux has priorities of threads, other systems only of processes.
 */
export function lowerThreadPriority(): void {
  if (process.platform !== 'linux') return;
  const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
  setPriority(thread, niceness);
}

/** Closes an adapter when the container is unbound. */
export async function closeOnDeactivation(adapter: unknown): Promise<void> {
  const { close } = adapter as { close?: () => Promise<void> };
  if (!close) throw new TypeError('Only an adapter with close() can be bound with closeOnDeactivation');
  await close.call(adapter);
}

export { pinoLog as openLog } from '../../infrastructure/pino-log.ts';
