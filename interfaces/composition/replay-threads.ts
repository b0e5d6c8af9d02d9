import { Worker } from 'node:worker_threads';
import { EventStoreUnavailable } from '../../application/ports/event-store.ts';
import type { GenerationDigest } from '../../application/ports/projection-control.ts';
import { RebuildUnderWay, ReplayRefused } from '../../application/ports/projection-control.ts';
import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import { TelemetryLogUnavailable } from '../../application/ports/telemetry-log.ts';
import type { AuditReport } from '../../application/replay/audit.ts';
import { HistoryExpired } from '../../application/replay/older-history.ts';
import type { Claimed } from '../../application/replay/rebuild.ts';
import type { ReplayTasks } from '../../application/replay/replay-tasks.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import type { Failure, Task, Told } from './replay-thread.ts';

/** Each task in a thread of its own: reading a whole log must not keep requests waiting. */
export function replayThreads(config: Config): ReplayTasks & { close(): Promise<void> } {
  const running = new Set<{ readonly worker: Worker; readonly ended: Promise<void> }>();

  return {
    start: (task) => run(task).claimed,
    audit: async (query) => (await run({ do: 'audit', query }).done) as AuditReport,
    digest: async (projection, generation) =>
      (await run({ do: 'digest', projection, generation }).done) as GenerationDigest,

    async close() {
      for (const { worker } of running) worker.postMessage('stop');
      await Promise.all([...running].map(({ ended }) => ended));
    },
  };

  function run(task: Task): { readonly claimed: Promise<Claimed>; readonly done: Promise<unknown> } {
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
    const one = { worker, ended };
    running.add(one);
    void ended.then(() => running.delete(one));
    return { claimed: claimed.promise, done: done.promise };
  }
}

const plain = { ReplayRefused, ReadModelsUnavailable, EventStoreUnavailable, TelemetryLogUnavailable };

function errorOf({ name, message, runner, readings, from = null }: Failure): Error {
  if (name === 'RebuildUnderWay') return Object.assign(new RebuildUnderWay('', runner ?? ''), { message });
  if (name === 'HistoryExpired')
    return Object.assign(new HistoryExpired('', readings ?? 0, from), { message });
  if (Object.hasOwn(plain, name)) return new plain[name as keyof typeof plain](message);
  return Object.assign(new Error(message), { name });
}
