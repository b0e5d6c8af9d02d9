import { setTimeout as delay } from 'node:timers/promises';

export type Balancer = {
  /** The next server that is ready, one after the other. Waits while none is. */
  next(): Promise<string>;
  /** Resolves once the server is, or is not, among those that get requests. */
  until(url: string, ready: boolean): Promise<void>;
  add(url: string): void;
  remove(url: string): void;
  close(): Promise<void>;
};

/** Chooses servers as a load balancer does: asks each for its readiness, now and then, and goes by the last answer. */
export function balancer(every: number): Balancer {
  const ready = new Map<string, boolean>();
  let turn = 0;
  let closed = false;
  const polling = (async () => {
    for (; !closed; await delay(every))
      await Promise.all(
        [...ready.keys()].map(async (url) => {
          const is = await isReady(url);
          if (ready.has(url)) ready.set(url, is);
        }),
      );
  })();

  return {
    async next() {
      for (;;) {
        const urls = [...ready].flatMap(([url, is]) => (is ? [url] : []));
        turn += 1;
        const url = urls[turn % urls.length];
        if (url !== undefined) return url;
        await delay(every);
      }
    },
    async until(url, wanted) {
      while (ready.get(url) !== wanted) await delay(every);
    },
    add: (url) => void ready.set(url, false),
    remove: (url) => void ready.delete(url),
    async close() {
      closed = true;
      await polling;
    },
  };
}

const isReady = (url: string): Promise<boolean> =>
  fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(2000) }).then(
    async (answer) => {
      await answer.arrayBuffer();
      return answer.ok;
    },
    () => false,
  );
