import { on } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { AuditReport } from '../../application/operations/audit.ts';
import type { ReplayTasks } from '../../application/operations/operations.ts';
import type { GenerationDigest } from '../../application/ports/generations.ts';
import type { Claimed } from '../../application/rebuild/rebuild.ts';
import { LogNotRead, type TelemetryAsRecorded } from '../../application/telemetry/as-recorded.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import type { Asked, PointsReply } from './as-recorded-worker.ts';
import type { Task, TaskReply } from './operations-worker.ts';
import { deserializeFailure } from './worker-channel.ts';

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
    const worker = new Worker(new URL('./operations-worker.ts', import.meta.url), {
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
    worker.on('message', (told: TaskReply) => {
      if ('claimed' in told) claimed.resolve(told.claimed);
      else if ('done' in told) done.resolve(told.done);
      else fail(deserializeFailure(told.failed));
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

/** So many at once: each reads the whole log with a thread of its own. */
const atOnce = 2;

type Running = { readonly ended: Promise<void>; ask(what: Asked): void };

/** Each query in a thread of its own, for no longer than somebody waits for it and `AS_RECORDED_MS`. */
export function recordedThreads(config: Config): {
  readonly asRecorded: TelemetryAsRecorded;
  close(): Promise<void>;
} {
  const running = new Set<Running>();

  return {
    async *asRecorded(query, signal) {
      if (running.size >= atOnce)
        throw new LogNotRead(`${atOnce} queries with asRecordedAt are under way already: try again later`);
      const late = AbortSignal.timeout(config.AS_RECORDED_MS);
      const over = AbortSignal.any([signal, late]);
      const worker = new Worker(new URL('./as-recorded-worker.ts', import.meta.url), {
        workerData: { config, query },
      });
      const { ask } = keep(worker);
      over.addEventListener('abort', () => ask('stop'), { once: true });
      try {
        for await (const [told] of on(worker, 'message', { signal: over, close: ['exit'] })) {
          const message = told as PointsReply;
          if (message === 'done') return;
          if ('failed' in message) throw deserializeFailure(message.failed);
          yield message.points;
          ask('more');
        }
        throw new Error('The thread of the query ended before it had answered');
      } catch (error) {
        signal.throwIfAborted();
        if (!late.aborted) throw error;
        throw new LogNotRead(
          `The log could not be read and the answer sent within ${config.AS_RECORDED_MS} ms; AS_RECORDED_MS sets the limit`,
        );
      } finally {
        ask('stop');
      }
    },

    async close() {
      for (const { ask } of running) ask('stop');
      await Promise.all([...running].map(({ ended }) => ended));
    },
  };

  function keep(worker: Worker): Running {
    const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    // Whoever waits is told by the messages; when nobody does any more, it must not end the process.
    worker.on('error', () => {});
    const one = { ended, ask: (what: Asked) => worker.postMessage(what) };
    running.add(one);
    void ended.then(() => running.delete(one));
    return one;
  }
}
