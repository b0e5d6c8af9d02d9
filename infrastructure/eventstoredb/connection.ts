import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import { EventStoreDBClient } from '@eventstore/db-client';
import { EventStoreUnavailable } from '../../application/ports/event-store.ts';
import { type CallSubject, Failures, isOfTheClient, kindOf } from './errors.ts';
import { tlsFault } from './tls-diagnosis.ts';

export type ConnectionOptions = {
  /** Milliseconds without an answer after which a call is given up. */
  readonly deadlineMs?: number;
  /** Milliseconds after which a call is not made once more. */
  readonly patienceMs?: number;
  /** The most milliseconds between two attempts. */
  readonly longestPauseMs?: number;
};

/** What a call is given: it ends when `signal` does, and each `progress` gives it the whole deadline again. */
export type Ticket = {
  readonly signal: AbortSignal;
  readonly deadlineMs: number;
  progress(): void;
};

type Call<T> = (client: EventStoreDBClient, ticket: Ticket) => Promise<T>;

/** A client that can be started afresh, and the deadlines that the client itself does not keep. */
export class EventStoreDbConnection {
  readonly deadlineMs: number;
  readonly longestPauseMs: number;
  readonly failures: Failures;
  readonly #url: string;
  readonly #patienceMs: number;
  readonly #closing = new AbortController();
  readonly #underWay = new Set<AbortController>();
  #client: EventStoreDBClient | undefined;

  /** `url` is the client's connection string, such as `esdb://localhost:2113?tls=false`, or the same of KurrentDB. */
  constructor(
    url: string,
    { deadlineMs = 5_000, patienceMs = 10_000, longestPauseMs = 5_000 }: ConnectionOptions = {},
  ) {
    this.#url = url;
    this.failures = new Failures(url);
    this.deadlineMs = deadlineMs;
    this.longestPauseMs = longestPauseMs;
    this.#patienceMs = patienceMs;
    // Now rather than with the first call, so that a malformed connection string is reported at the start.
    this.#client = newClient(url);
  }

  /** Aborts when the connection is closed. */
  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  /** Why no connection comes about, when that is a matter of TLS. */
  tlsFault(): Promise<string | undefined> {
    return tlsFault(this.#url);
  }

  /** The client to use for the next call. */
  get client(): EventStoreDBClient {
    this.#client ??= newClient(this.#url);
    return this.#client;
  }

  /**
   * Makes the call, at the leader when the node that was asked says who that is. Throws `EventStoreUnavailable` when nothing is known of its outcome, and whatever else the failure
   * of a call is to the ports.
   */
  async once<T>(call: Call<T>, subject: CallSubject): Promise<T> {
    for (let sentOn = 0; ; sentOn += 1)
      try {
        return await this.#attempt(call, subject);
      } catch (error) {
        // The client has gone by now to the leader that it was sent to; only an election takes longer than that.
        const { cause } = error as Error;
        if (sentOn === mostSentOn || kindOf(cause) !== 'not-leader') throw error;
        await nextTurn();
      }
  }

  async #attempt<T>(call: Call<T>, subject: CallSubject): Promise<T> {
    if (this.closed.aborted) throw new EventStoreUnavailable(this.closed.reason.message);
    const client = this.client;
    const ending = new AbortController();
    const { signal } = ending;
    const ended = Promise.withResolvers<never>();
    signal.onabort = () => ended.reject(signal.reason);
    this.#underWay.add(ending);
    const timer = setTimeout(
      () => ending.abort(new Error(`no answer within ${this.deadlineMs} ms`)),
      this.deadlineMs,
    );
    const ticket: Ticket = { signal, deadlineMs: this.deadlineMs, progress: () => timer.refresh() };
    try {
      return await Promise.race([call(client, ticket), ended.promise]);
    } catch (error) {
      if (!signal.aborted) {
        if (isOfTheClient(error)) this.abandon(client);
        throw this.failures.translated(error, subject);
      }
      this.abandon(client);
      throw new EventStoreUnavailable(`The event store does not answer: ${(error as Error).message}`, {
        cause: error,
      });
    } finally {
      clearTimeout(timer);
      this.#underWay.delete(ending);
    }
  }

  /**
   * Makes the call again and again until something is known of its outcome, so it must bear being repeated. What an
   * operator has to mend is not waited for.
   */
  async persistently<T>(call: Call<T>, subject: CallSubject): Promise<T> {
    const givenUpAt = performance.now() + this.#patienceMs;
    for (let failures = 1; ; failures += 1) {
      try {
        return await this.once(call, subject);
      } catch (error) {
        const mayPass = error instanceof EventStoreUnavailable && error.reason === undefined;
        if (this.closed.aborted || !mayPass) throw error;
        const pause = pauseAfter(failures, this.longestPauseMs);
        if (performance.now() + pause > givenUpAt) throw error;
        await delay(pause);
      }
    }
  }

  /**
   * Starts afresh with the next call. A connection whose other end vanished without a word stays as it is until
   * keep-alive notices, and a cluster may have a better node by now. Calls in flight on the old client continue.
   */
  abandon(client: EventStoreDBClient): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    closeChannel(client).catch(neverOpened);
  }

  /**
   * Ends calls in flight, and takes no longer than one deadline. Calls are failed first: the client ends their
   * streams as if all had been read.
   */
  async close(): Promise<void> {
    const client = this.#client;
    const reason = new Error('The connection to the event store is closed');
    this.#closing.abort(reason);
    for (const call of this.#underWay) call.abort(reason);
    if (!client) return;
    const closedClient = client.dispose().then(() => closeChannel(client));
    // Kept alive by the wait: a process with nothing else to do would otherwise end in the middle of closing.
    const waited = new AbortController();
    const deadline = delay(this.deadlineMs, undefined, { signal: waited.signal }).catch(closedInTime);
    await Promise.race([closedClient.catch(neverOpened), deadline]);
    waited.abort();
  }
}

/**
 * A client that appends with one call each. Its batch append keeps the pending appends of all clients in one map:
 * a broken stream fails everyone's, and ends the process when an answer comes for one it forgot
 * (kurrent-io/KurrentDB-Client-NodeJS#523). It also knows no deadline, and asks the server first whether it has
 * batch append at all, keeping a failure to discover the cluster as the answer for ever.
 */
function newClient(url: string): EventStoreDBClient {
  const client = EventStoreDBClient.connectionString(url.replace(/^kurrentdb/, 'esdb'));
  // biome-ignore lint/complexity/useLiteralKeys: private, and the only way to every channel
  const createChannel: () => Promise<Closable> = client['createChannel'];
  Object.assign(client, {
    supports: async () => false,
    createChannel: async () => closingLate(await createChannel()),
  });
  return client;
}

type Closable = { close(): void };

/**
 * A call that has its channel already, and is yet to be made on it, must not find it closed: an append would fail in a
 * promise that nobody holds, which ends the process, and never be answered. Such calls are made before the next turn.
 */
function closingLate<Channel extends Closable>(channel: Channel): Channel {
  const close = channel.close.bind(channel);
  channel.close = () => void setImmediate(close);
  return channel;
}

/** The client has no way to close what it opened; left open, it holds the connection for half an hour. */
async function closeChannel(client: EventStoreDBClient): Promise<void> {
  // biome-ignore lint/complexity/useLiteralKeys: protected, and the only way to the channel
  const channel = await client['getChannel']();
  channel.close();
}

const closedInTime = () => undefined;

/** Opening is what failed, so there is nothing to close. */
const neverOpened = () => undefined;

const mostSentOn = 2;
const firstMs = 100;

/**
 * How long to wait, in milliseconds, after so many failures in a row. The whole of it is random: the many clients
 * that a restarted server lost at one moment must not come back at one moment.
 */
export const pauseAfter = (failures: number, longestMs: number): number =>
  Math.random() * Math.min(longestMs, firstMs * 2 ** (failures - 1));
