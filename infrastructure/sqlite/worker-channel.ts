import { Worker } from 'node:worker_threads';

/** Ends a thread, once it has answered what came before. */
export type End = 'end';

/** An error on its way out of a thread, where it would lose its class. */
export type SerializedError = { readonly unavailable: string } | { readonly failed: unknown };

export const serializeError = (
  error: unknown,
  Unavailable: abstract new (...args: never) => Error,
): SerializedError => (error instanceof Unavailable ? { unavailable: error.message } : { failed: error });

export const deserializeError = (
  fault: SerializedError,
  Unavailable: new (message: string) => Error,
): unknown => ('unavailable' in fault ? new Unavailable(fault.unavailable) : fault.failed);

type Waiting<Answer> = {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
};

/** A thread that answers every order it is asked, in turn; one message may bring several answers. */
export class WorkerChannel<Order, Answer> {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  readonly #waiting: Waiting<Answer>[] = [];
  #lost: Error | undefined;

  /** `lost` makes the error of orders that the thread did not live to answer. */
  constructor(module: URL, workerData: unknown, lost: (cause: unknown) => Error) {
    this.#worker = new Worker(module, { workerData });
    let cause: unknown;
    this.#worker.on('error', (error) => {
      cause = error;
    });
    this.#worker.on('message', (answers: readonly Answer[]) => {
      for (const answer of answers) this.#waiting.shift()?.resolve(answer);
    });
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.#lost = lost(cause);
        for (const { reject } of this.#waiting.splice(0)) reject(this.#lost);
        resolve();
      });
    });
  }

  get hasEnded(): boolean {
    return this.#lost !== undefined;
  }

  ask(order: Order): Promise<Answer> {
    if (this.#lost) return Promise.reject(this.#lost);
    return new Promise((resolve, reject) => {
      // What cannot be posted throws, and has nothing to wait for.
      this.#worker.postMessage(order);
      this.#waiting.push({ resolve, reject });
    });
  }

  /** For what has no answer; a thread that has ended does not mind, and says so when next it is asked something. */
  tell(order: Order): void {
    this.#worker.postMessage(order);
  }

  async end(): Promise<void> {
    this.#worker.postMessage('end' satisfies End);
    await this.#exited;
  }
}
