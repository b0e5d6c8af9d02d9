import { resolve } from 'node:path';
import { BroadcastChannel } from 'node:worker_threads';

/** Tells the readers of a file, in whichever thread of the process they run, that something was committed to it. */
export class CommitSignal {
  readonly #channel: BroadcastChannel;
  readonly #waiting = new Set<() => void>();

  constructor(path: string) {
    this.#channel = new BroadcastChannel(`fieldlog ${resolve(path)}`);
    this.#channel.unref();
    this.#channel.onmessage = () => {
      for (const wake of [...this.#waiting]) wake();
    };
  }

  announce(): void {
    this.#channel.postMessage(null);
  }

  /** Resolves at the next commit, when `signal` aborts, or after `atMost` milliseconds. */
  next(atMost: number, signal: AbortSignal): Promise<void> {
    return pause(atMost, signal, this.#waiting);
  }

  close(): void {
    this.#channel.close();
  }
}

/** Resolves after `ms`, when `signal` aborts, or when the function it adds to `wakers` is called. */
export function pause(ms: number, signal: AbortSignal, wakers?: Set<() => void>): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      wakers?.delete(done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
    wakers?.add(done);
  });
}
