import { Worker } from 'node:worker_threads';
import type { Log } from '../../application/ports/system.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { answered, measureThread } from '../../infrastructure/metrics/process-metrics.ts';
import { startApi } from './api.ts';
import { openContainer } from './container.ts';
import type { Answer, Request, Sign } from './projector-thread.ts';
import { services as s } from './services.ts';

export type Served = {
  readonly url: string;
  /** Rejects when a part of the process died and it should not go on. */
  readonly failed: Promise<never>;
  /** Drains requests, stops the projectors after the batch under way and closes the files. */
  close(): Promise<void>;
};

/** Every role in one process: the API here, the projectors in a thread of their own. */
export async function serve(config: Config, log: Log): Promise<Served> {
  const container = await openContainer(config, log, 'serve');
  const thread = projectorThread(config);
  try {
    measureThread(await container.getAsync(s.metrics), async () => (await thread.metrics()) !== undefined);
    const moreMetrics = [async () => (await thread.metrics()) ?? silence];
    const api = await startApi(container, { moreMetrics, stalled: thread.stalled });
    return {
      url: api.url,
      failed: thread.failed,
      async close() {
        await api.close();
        await thread.stop();
        await container.unbindAllAsync();
      },
    };
  } catch (error) {
    await thread.stop();
    await container.unbindAllAsync();
    throw error;
  }
}

/** Where its metrics would be. */
const silence = '# The projector thread did not answer in time: its metrics are missing.\n';

type ProjectorThread = {
  readonly failed: Promise<never>;
  /** `undefined` when it does not answer in time. Whoever asks while it is being asked is given the same answer. */
  metrics(): Promise<string | undefined>;
  /** What stands still in it; it does itself when nothing was heard of it for `PROJECTOR_STALL_MS`. */
  stalled(): readonly string[];
  stop(): Promise<void>;
};

function projectorThread(config: Config): ProjectorThread {
  const worker = new Worker(new URL('./projector-thread.ts', import.meta.url), { workerData: config });
  const exited = new Promise<number>((resolve) => worker.once('exit', resolve));
  const waiting = new Map<number, (metrics: string) => void>();
  let asked = 0;
  let asking: Promise<string | undefined> | undefined;
  let stopping = false;
  let heardAt = Date.now();
  let stalled: readonly string[] = [];

  worker.on('message', (message: Answer | Sign) => {
    heardAt = Date.now();
    if ('stalled' in message) {
      stalled = message.stalled;
      return;
    }
    waiting.get(message.id)?.(message.metrics);
    waiting.delete(message.id);
  });
  const failed = new Promise<never>((_, reject) => {
    worker.once('error', reject);
    void exited.then((code) => {
      for (const answer of waiting.values()) answer('');
      if (!stopping) reject(new Error(`The projector thread ended by itself, with code ${code}`));
    });
  });
  // Whoever serves decides what to do of it; until then it is not an unhandled one.
  failed.catch(() => {});

  async function ask(): Promise<string | undefined> {
    asked += 1;
    const id = asked;
    const answer = new Promise<string>((resolve) => waiting.set(id, resolve));
    worker.postMessage({ ask: 'metrics', id } satisfies Request);
    const metrics = await answered(answer);
    waiting.delete(id);
    return metrics;
  }

  return {
    failed,
    metrics() {
      asking ??= ask().finally(() => {
        asking = undefined;
      });
      return asking;
    },
    stalled() {
      const silent = Date.now() - heardAt;
      if (stopping || silent <= config.PROJECTOR_STALL_MS) return stalled;
      return [`nothing was heard of the projector thread for ${silent} ms`];
    },
    async stop() {
      stopping = true;
      worker.postMessage({ ask: 'stop' } satisfies Request);
      await exited;
    },
  };
}
