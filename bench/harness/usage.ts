import { readFileSync } from 'node:fs';

/** What one process took: CPU as a share of one core, memory in MiB. Undefined where the system does not report it. */
export type Usage = {
  readonly role: string;
  readonly cores: number | undefined;
  readonly memory: number | undefined;
  readonly peakMemory: number | undefined;
};

/** Clock ticks of `/proc` in a second: the same on every Linux that Node runs on. */
const ticks = 100;

/** Starts to watch a process; the answer says what it took since. */
export function watchUsage(role: string, pid: number): () => Usage {
  const began = { at: performance.now(), cpu: cpuSeconds(pid) };
  return () => {
    const seconds = (performance.now() - began.at) / 1000;
    const cpu = cpuSeconds(pid);
    return {
      role,
      cores: cpu === undefined || began.cpu === undefined ? undefined : (cpu - began.cpu) / seconds,
      memory: memoryOf(pid, 'VmRSS'),
      peakMemory: memoryOf(pid, 'VmHWM'),
    };
  };
}

/** MiB held at most in the first half of some work's time, and in the second. */
export type HeldMemory = { readonly firstHalf: number; readonly secondHalf: number };

/** Does the work and looks, every so many milliseconds, how much memory a process holds meanwhile. */
export async function watchingMemory<T>(
  pid: number,
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly held: HeldMemory }> {
  const seen: number[] = [];
  const look = () => seen.push(memoryOf(pid, 'VmRSS') ?? Number.NaN);
  const timer = setInterval(look, 50);
  try {
    const result = await work();
    look();
    const middle = Math.ceil(seen.length / 2);
    return {
      result,
      held: { firstHalf: Math.max(...seen.slice(0, middle)), secondHalf: Math.max(...seen.slice(middle)) },
    };
  } finally {
    clearInterval(timer);
  }
}

/** CPU that the process has taken since it was started. Undefined once it has ended and on systems without `/proc`. */
export function cpuSeconds(pid: number): number | undefined {
  const fields = procFile(pid, 'stat')
    ?.replace(/^.*\) /s, '')
    .split(' ');
  return fields && (Number(fields[11]) + Number(fields[12])) / ticks;
}

/** MiB that the process holds now (`VmRSS`) or has held at most (`VmHWM`). */
export function memoryOf(pid: number, kind: 'VmRSS' | 'VmHWM'): number | undefined {
  const kibibytes = procFile(pid, 'status')?.match(`${kind}:\\s+(\\d+)`)?.[1];
  return kibibytes === undefined ? undefined : Number(kibibytes) / 1024;
}

/** Undefined for a process that has ended and on systems without `/proc`. */
function procFile(pid: number, name: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    return undefined;
  }
}
