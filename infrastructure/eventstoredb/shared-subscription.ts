import { Readable } from 'node:stream';
import type { Position } from '../../application/ports/event-source.ts';
import type { RecordedEvent } from '../../application/ports/event-store.ts';
import type { EventStoreDbConnection } from './connection.ts';
import { eventOfStreams, positionOf } from './recorded-events.ts';
import { type Arrival, type DeviceSubscription, Searched, subscribeTo } from './subscription.ts';

/** What a follower is handed: a place in the log and, where it is of ours, the event there; or how far there is none. */
export type Followed = { readonly position: Position; readonly event: RecordedEvent | undefined } | Searched;

/** What a follower of a subscription reads; it ends when it has fallen behind the others. */
export type Follower = Readable & AsyncIterable<Followed> & { unsubscribe(): Promise<void> };

/** So long, twice, the others wait for a follower that takes nothing; in between it can, if only this thread was busy. */
const patienceMs = 500;

/**
 * Subscriptions of one process to the same streams: those that begin at the same place at the same time are one on
 * the server, and each event is read and decoded once for all of them. They go as fast as the slowest, unless that one
 * takes nothing any more: then it is left behind, and has to subscribe anew.
 */
export class SharedSubscriptions {
  readonly #connection: EventStoreDbConnection;
  readonly #prefix: string;
  readonly #highWaterMark: number;
  /** Those that have delivered nothing yet, by where they begin. */
  readonly #joinable = new Map<Position | null, Feed>();

  constructor(connection: EventStoreDbConnection, prefix: string, highWaterMark: number) {
    this.#connection = connection;
    this.#prefix = prefix;
    this.#highWaterMark = highWaterMark;
  }

  follow(after: Position | null): Follower {
    const known = this.#joinable.get(after);
    if (known) return known.join();
    const feed = new Feed(this.#connection, this.#prefix, after, this.#highWaterMark, () => {
      if (this.#joinable.get(after) === feed) this.#joinable.delete(after);
    });
    this.#joinable.set(after, feed);
    return feed.join();
  }
}

class Feed {
  readonly #prefix: string;
  readonly #highWaterMark: number;
  readonly #subscription: DeviceSubscription;
  readonly #followers = new Set<Follower>();
  readonly #full = new Set<Follower>();
  readonly #onBegun: () => void;
  readonly #confirming: NodeJS.Timeout;
  #waiting: NodeJS.Timeout | undefined;
  #waits = 0;

  /** `onBegun` is called when nobody can join any more. */
  constructor(
    connection: EventStoreDbConnection,
    prefix: string,
    after: Position | null,
    highWaterMark: number,
    onBegun: () => void,
  ) {
    this.#prefix = prefix;
    this.#highWaterMark = highWaterMark;
    this.#onBegun = onBegun;
    const { client, deadlineMs } = connection;
    const subscription = subscribeTo(client, prefix, after, highWaterMark);
    this.#subscription = subscription;
    this.#confirming = setTimeout(() => {
      connection.abandon(client);
      subscription.destroy(new Error(`The subscription was not confirmed within ${deadlineMs} ms`));
    }, deadlineMs);
    subscription.once('confirmation', () => clearTimeout(this.#confirming));
    subscription.on('data', (arrival: Arrival) => this.#deliver(arrival));
    subscription.on('error', (error) => this.#end(error));
    subscription.once('close', () => this.#end(new Error('The server ended the subscription')));
    subscription.once('end', () => this.#end(new Error('The server ended the subscription')));
  }

  join(): Follower {
    const follower: Follower = Object.assign(
      new Readable({
        objectMode: true,
        highWaterMark: this.#highWaterMark,
        read: () => this.#taken(follower),
      }),
      { unsubscribe: () => this.#leave(follower) },
    );
    // Whoever reads it gets the error, too; before that nobody is.
    follower.on('error', () => undefined);
    this.#followers.add(follower);
    return follower;
  }

  #deliver(arrival: Arrival): void {
    this.#onBegun();
    try {
      const followed = arrival instanceof Searched ? arrival : followedIn(arrival, this.#prefix);
      if (!followed) return;
      for (const follower of this.#followers) if (!follower.push(followed)) this.#full.add(follower);
    } catch (error) {
      this.#subscription.destroy(error as Error);
      return;
    }
    if (this.#full.size === 0) return;
    this.#subscription.pause();
    if (this.#followers.size > 1) this.#waiting ??= setTimeout(() => this.#leaveBehind(), patienceMs);
  }

  #taken(follower: Follower): void {
    if (!this.#full.delete(follower) || this.#full.size > 0) return;
    clearTimeout(this.#waiting);
    this.#waiting = undefined;
    this.#waits = 0;
    this.#subscription.resume();
  }

  #leaveBehind(): void {
    const othersWait = this.#full.size < this.#followers.size;
    this.#waits = othersWait ? this.#waits + 1 : 0;
    if (this.#waits < 2) {
      this.#waiting = setTimeout(() => this.#leaveBehind(), patienceMs);
      return;
    }
    this.#waiting = undefined;
    for (const follower of this.#full) {
      this.#followers.delete(follower);
      follower.push(null);
      this.#taken(follower);
    }
  }

  async #leave(follower: Follower): Promise<void> {
    if (!this.#followers.delete(follower)) return;
    this.#taken(follower);
    if (this.#followers.size > 0) return;
    this.#end();
    this.#subscription.destroy();
    await this.#subscription.unsubscribe();
  }

  #end(error?: Error): void {
    this.#onBegun();
    clearTimeout(this.#confirming);
    clearTimeout(this.#waiting);
    for (const follower of this.#followers) follower.destroy(error);
    this.#followers.clear();
  }
}

function followedIn({ event }: Exclude<Arrival, Searched>, prefix: string): Followed | undefined {
  return event && { position: positionOf(event), event: eventOfStreams(prefix, event) };
}
