import { on } from 'node:events';
import { Worker } from 'node:worker_threads';
import { LogNotRead, type TelemetryAsRecorded } from '../../application/telemetry/as-recorded.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import type { Asked, Told } from './recorded-thread.ts';
import { errorOf } from './thread-failure.ts';

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
      const worker = new Worker(new URL('./recorded-thread.ts', import.meta.url), {
        workerData: { config, query },
      });
      const { ask } = keep(worker);
      over.addEventListener('abort', () => ask('stop'), { once: true });
      try {
        for await (const [told] of on(worker, 'message', { signal: over, close: ['exit'] })) {
          const message = told as Told;
          if (message === 'done') return;
          if ('failed' in message) throw errorOf(message.failed);
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
