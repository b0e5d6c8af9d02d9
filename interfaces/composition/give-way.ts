import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';

/** A tenth of a share beside a thread of usual priority. */
const niceness = 10;

/**
 * Lowers the priority of this thread, and of those it starts. Where the machine cannot do both at once, taking what
 * devices send comes before projecting it, which can be made up for later. Linux knows the priority of a thread, other
 * systems only that of the process.
 */
export function giveWay(): void {
  if (process.platform !== 'linux') return;
  const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
  setPriority(thread, niceness);
}
