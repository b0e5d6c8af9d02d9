import { Worker } from 'node:worker_threads';
import type { AuditReport } from '../../application/operations/audit.ts';
import type { ReplayTasks } from '../../application/operations/operations.ts';
import type { GenerationDigest } from '../../application/ports/generations.ts';
import type { Claimed } from '../../application/rebuild/rebuild.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import type { Task, Told } from './replay-thread.ts';
import { errorOf } from './thread-failure.ts';

/** Each task in a thread of its own: reading a whole log must not keep requests waiting. */
export function replayThreads(config: Config): ReplayTasks & { close(): Promise<void> } {
  const running = new Set<{ readonly ended: Promise<void>; stop(): void }>();

  return {
    start: (task) => run(task).claimed,
    async audit(query, signal) {
      const { done, stop } = run({ do: 'audit', query });
      signal.addEventListener('abort', stop, { once: true });
      try {
        return (await done) as AuditReport;
      } catch (error) {
        signal.throwIfAborted();
        throw error;
      }
    },
    digest: async (projection, generation) =>
      (await run({ do: 'digest', projection, generation }).done) as GenerationDigest,

    async close() {
      for (const { stop } of running) stop();
      await Promise.all([...running].map(({ ended }) => ended));
    },
  };

  function run(task: Task): {
    readonly claimed: Promise<Claimed>;
    readonly done: Promise<unknown>;
    stop(): void;
  } {
    const worker = new Worker(new URL('./replay-thread.ts', import.meta.url), {
      workerData: { config, task },
    });
    const claimed = Promise.withResolvers<Claimed>();
    const done = Promise.withResolvers<unknown>();
    const fail = (error: Error) => {
      claimed.reject(error);
      done.reject(error);
    };
    // Only one of the two is waited for.
    claimed.promise.catch(() => {});
    done.promise.catch(() => {});
    worker.on('message', (told: Told) => {
      if ('claimed' in told) claimed.resolve(told.claimed);
      else if ('done' in told) done.resolve(told.done);
      else fail(errorOf(told.failed));
    });
    worker.once('error', (error) => fail(error instanceof Error ? error : new Error(String(error))));
    const ended = new Promise<void>((resolve) => {
      worker.once('exit', (code) => {
        fail(new Error(`The replay thread ended with code ${code}`));
        resolve();
      });
    });
    const one = { ended, stop: () => worker.postMessage('stop') };
    running.add(one);
    void ended.then(() => running.delete(one));
    return { claimed: claimed.promise, done: done.promise, stop: one.stop };
  }
}
