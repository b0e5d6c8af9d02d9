import type { Log } from '../../application/ports/log.ts';
import type { Generation } from '../../application/ports/read-models.ts';

/** One generation of one projection; `run` consumes its log until `signal` is aborted. */
export type ProjectorRun = {
  readonly generation: Generation;
  run(signal: AbortSignal): Promise<void>;
};

const longestPauseMilliseconds = 10_000;

/** Runs projectors side by side until `signal` is aborted; one that fails starts again and leaves the others be. */
export async function runProjectors(
  runs: readonly ProjectorRun[],
  signal: AbortSignal,
  log: Log,
): Promise<void> {
  await Promise.all(runs.map((run) => keepRunning(run, signal, log)));
}

async function keepRunning({ generation, run }: ProjectorRun, signal: AbortSignal, log: Log): Promise<void> {
  for (let failures = 0; !signal.aborted; ) {
    const started = Date.now();
    try {
      await run(signal);
    } catch (error) {
      failures = Date.now() - started > longestPauseMilliseconds ? 1 : failures + 1;
      log.error({ ...generation, err: error }, 'projector failed and starts again');
      await pause(Math.min(longestPauseMilliseconds, 100 * 2 ** failures), signal);
    }
  }
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done, { once: true });
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
  });
}
