import { type MessagePort, parentPort, receiveMessageOnPort, Worker } from 'node:worker_threads';

/** An error as plain data, for a structured clone would lose its class. */
type SerializedError = {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  /** The primitive values among its own properties. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly cause: SerializedError | undefined;
};

type ErrorClass = abstract new (...args: never) => Error;

const primitives = new Set(['string', 'number', 'boolean', 'bigint']);

export function serializeError(error: unknown): SerializedError {
  if (!(error instanceof Error)) return serializeError(new Error(String(error)));
  const { name, message, stack, cause } = error;
  const fields = Object.entries(error).filter(([, value]) => value === null || primitives.has(typeof value));
  return {
    name,
    message,
    stack,
    fields: Object.fromEntries(fields),
    cause: cause instanceof Error ? serializeError(cause) : undefined,
  };
}

/** An instance of the class in `classes` that has its name; otherwise an `Error` with that name. */
function deserializeError(serialized: SerializedError, classes: readonly ErrorClass[]): Error {
  const { name, message, stack, fields, cause } = serialized;
  const error = new Error(message, cause && { cause: deserializeError(cause, classes) });
  const known = classes.find((one) => one.name === name);
  if (known) Object.setPrototypeOf(error, known.prototype);
  return Object.assign(error, fields, error.name !== name && { name }, stack !== undefined && { stack });
}

type ToThread<Request> = ReceivedRequest<Request> | 'close';

/** A request without an id has no reply. */
export type ReceivedRequest<Request> = { readonly id?: number; readonly request: Request };

export type Reply<Result> =
  | { readonly id: number; readonly result: Result }
  | { readonly id: number; readonly error: SerializedError };

type FromThread<Result, Notice> =
  | { readonly replies: readonly Reply<Result>[] }
  | { readonly notice: Notice };

type Pending<Result> = {
  readonly resolve: (result: Result) => void;
  readonly reject: (error: Error) => void;
};

type WorkerChannelOptions<Notice> = {
  /** Makes the error of requests to a thread that has ended; `cause` is what it threw, if it did. */
  readonly lost: (cause: unknown, exitCode: number) => Error;
  /** Classes that errors of the thread keep, that which it ends with included. */
  readonly errors?: readonly ErrorClass[];
  readonly onNotice?: (notice: Notice) => void;
};

/** A thread that is sent requests, and replies to each of them or sends notices; the module uses `WorkerEndpoint`. */
export class WorkerChannel<Request, Result, Notice = never> {
  /** Resolves with the error of later requests once the thread has ended, for whatever reason. */
  readonly exited: Promise<Error>;
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending<Result>>();
  #lastId = 0;
  #lost: Error | undefined;

  constructor(module: URL, workerData: unknown, options: WorkerChannelOptions<Notice>) {
    const { lost, errors = [], onNotice } = options;
    this.#worker = new Worker(module, { workerData });
    let cause: unknown;
    this.#worker.on('error', (error) => {
      cause = deserializeError(serializeError(error), errors);
    });
    this.#worker.on('message', (message: FromThread<Result, Notice>) => {
      if ('notice' in message) onNotice?.(message.notice);
      else for (const reply of message.replies) this.#settle(reply, errors);
    });
    this.exited = new Promise((resolve) => {
      this.#worker.on('exit', (exitCode) => {
        this.#lost = lost(cause, exitCode);
        for (const { reject } of this.#pending.values()) reject(this.#lost);
        this.#pending.clear();
        resolve(this.#lost);
      });
    });
  }

  get hasEnded(): boolean {
    return this.#lost !== undefined;
  }

  request(request: Request): Promise<Result> {
    if (this.#lost) return Promise.reject(this.#lost);
    return new Promise((resolve, reject) => {
      const id = this.#lastId + 1;
      // Throws where the request cannot be cloned, and then nothing is pending.
      this.#worker.postMessage({ id, request } satisfies ToThread<Request>);
      this.#lastId = id;
      this.#pending.set(id, { resolve, reject });
    });
  }

  /** A request without a reply; when the thread has ended, the next one that has a reply rejects. */
  send(request: Request): void {
    this.#worker.postMessage({ request } satisfies ToThread<Request>);
  }

  /**
   * Repeats a request whose results are iterator results until one says that it is the last: the thread makes the next
   * item only when this one has been consumed. Throws the signal's reason once it is aborted.
   */
  async *stream<Item>(request: Request, signal: AbortSignal): AsyncGenerator<Item, void> {
    signal.throwIfAborted();
    const aborted = Promise.withResolvers<never>();
    aborted.promise.catch(() => {});
    const abort = () => aborted.reject(signal.reason);
    signal.addEventListener('abort', abort);
    try {
      for (;;) {
        const result = await Promise.race([this.request(request), aborted.promise]);
        const { done, value } = result as IteratorResult<Item, void>;
        if (done) return;
        yield value;
      }
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** Asks the thread to end once it has replied to earlier requests, and waits for that. */
  async close(): Promise<void> {
    this.#worker.postMessage('close' satisfies ToThread<Request>);
    await this.exited;
  }

  #settle(reply: Reply<Result>, errors: readonly ErrorClass[]): void {
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if ('error' in reply) pending?.reject(deserializeError(reply.error, errors));
    else pending?.resolve(reply.result);
  }
}

/** The thread's end of a `WorkerChannel`. A module that uses one must call `end`, or its thread stays. */
export class WorkerEndpoint<Request, Result, Notice = never> {
  /** Resolves once the channel is closed and earlier requests have their replies. */
  readonly closed: Promise<void>;
  readonly #port: MessagePort;
  readonly #closing = new AbortController();
  readonly #closeReason: string;
  readonly #inProgress = new Set<Promise<void>>();

  /** `closeReason` is the message with which `closing` is aborted. Throws where the module does not run as a thread. */
  constructor(closeReason = 'The channel was closed') {
    if (!parentPort) throw new Error('This module runs in a worker thread only');
    this.#port = parentPort;
    this.#closeReason = closeReason;
    this.closed = new Promise<void>((resolve) => {
      this.closing.addEventListener('abort', () => resolve());
    }).then(async () => {
      await Promise.all(this.#inProgress);
    });
  }

  /** Aborted as soon as the channel is to be closed. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Calls `handle` with all requests that have arrived, in their order; it replies whenever it likes. */
  onRequests(handle: (requests: readonly ReceivedRequest<Request>[]) => void): void {
    this.#port.on('message', (first: ToThread<Request>) => {
      const requests: ReceivedRequest<Request>[] = [];
      let next: ToThread<Request> | undefined = first;
      for (; next !== undefined && next !== 'close'; next = receiveMessageOnPort(this.#port)?.message)
        requests.push(next);
      if (requests.length > 0) handle(requests);
      if (next === 'close') this.#closing.abort(new Error(this.#closeReason));
    });
  }

  /** Replies to each request with what `handle` resolves or rejects with; several may be in progress. */
  serve(handle: (request: Request) => Promise<Result>): void {
    this.onRequests((requests) => {
      for (const { id, request } of requests) {
        const work = handle(request).then(
          (result) => id !== undefined && this.reply({ id, result }),
          (error) => id !== undefined && this.reply({ id, error: serializeError(error) }),
        );
        const settled = work.then(() => void this.#inProgress.delete(settled));
        this.#inProgress.add(settled);
      }
    });
  }

  /** Several replies travel in one message. */
  reply(...replies: readonly Reply<Result>[]): void {
    this.#port.postMessage({ replies } satisfies FromThread<Result, Notice>);
  }

  notify(notice: Notice): void {
    this.#port.postMessage({ notice } satisfies FromThread<Result, Notice>);
  }

  /** Lets the thread end when nothing else keeps it. */
  end(): void {
    this.#port.close();
  }
}
