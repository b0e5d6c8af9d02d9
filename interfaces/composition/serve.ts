import { Worker } from 'node:worker_threads';
import type { Log } from '../../application/ports/log.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { startApi } from './api.ts';
import { openContainer } from './container.ts';
import type { Answer, Request } from './projector-thread.ts';

export type Served = {
  readonly url: string;
  /** Rejects when a part of the process died and it should not go on. */
  readonly failed: Promise<never>;
  /** Drains requests, stops the projectors after the batch under way and closes the files. */
  close(): Promise<void>;
};

/** Every role in one process: the API here, the projectors in a thread of their own. */
export async function serve(config: Config, log: Log): Promise<Served> {
  const container = await openContainer(config, log);
  const thread = projectorThread(config);
  try {
    const api = await startApi(container, [() => thread.metrics()]);
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

type ProjectorThread = {
  readonly failed: Promise<never>;
  metrics(): Promise<string>;
  stop(): Promise<void>;
};

function projectorThread(config: Config): ProjectorThread {
  const worker = new Worker(new URL('./projector-thread.ts', import.meta.url), { workerData: config });
  const exited = new Promise<number>((resolve) => worker.once('exit', resolve));
  const waiting = new Map<number, (metrics: string) => void>();
  let asked = 0;
  let stopping = false;

  worker.on('message', ({ id, metrics }: Answer) => {
    waiting.get(id)?.(metrics);
    waiting.delete(id);
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

  return {
    failed,
    metrics: () =>
      new Promise((resolve) => {
        asked += 1;
        waiting.set(asked, resolve);
        worker.postMessage({ ask: 'metrics', id: asked } satisfies Request);
      }),
    async stop() {
      stopping = true;
      worker.postMessage({ ask: 'stop' } satisfies Request);
      await exited;
    },
  };
}
