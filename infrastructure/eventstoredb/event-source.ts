import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import { BACKWARDS, END } from '@eventstore/db-client';
import type { EventPlaces } from '../../application/ports/event-places.ts';
import {
  type BatchConsumer,
  comparePositions,
  type EventAt,
  type EventCount,
  type EventPlace,
  type EventSource,
  exactly,
  type KnownEvents,
  OperatorNeeded,
  type Position,
  type RunOptions,
} from '../../application/ports/event-source.ts';
import { EventStoreUnavailable, type RecordedEvent } from '../../application/ports/event-store.ts';
import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import type { Log } from '../../application/ports/system.ts';
import { deviceStream } from '../../domain/device.ts';
import { type EventStoreDbConnection, pauseAfter } from './connection.ts';
import { beginOf, ForeignEvents, readStretch } from './foreign-events.ts';
import { eventAtPosition, PlacedEvents } from './placed-events.ts';
import { eventOfStreams, positionOf, reading, toPosition } from './recorded-events.ts';
import { type Followed, type Follower, SharedSubscriptions } from './shared-subscription.ts';
import { type Arrival, Searched, subscribeTo } from './subscription.ts';

export type SubscriptionOptions = {
  /** Events of streams whose name starts so. */
  readonly prefix?: string;
  /** The most events in a batch. */
  readonly batchSize?: number;
  /** Whether `ends` is the leader's: whoever waits for it then has all that was ever answered. */
  readonly endsAtLeader?: boolean;
  /** Where the places of its events are kept, if there are few. */
  readonly places?: EventPlaces;
};

// The store has one log of all events; the streams of devices are picked from it as one partition.
const partition = 0;
const allEvents = { doing: 'read', stream: '$all' } as const;
const countLimit = 10_000;
const countWithinMs = 2_000;
const consumerAttempts = 5;

/**
 * The events of all device streams, in the order in which the store took them. Groups do not share: each run gets
 * every event.
 */
export class EventStoreDbEventSource implements EventSource<RecordedEvent> {
  readonly name = 'devices';
  readonly #connection: EventStoreDbConnection;
  readonly #log: Log;
  readonly #prefix: string;
  readonly #batchSize: number;
  readonly #endsAtLeader: boolean;
  readonly #subscriptions: SharedSubscriptions;
  readonly #placed: PlacedEvents | undefined;

  constructor(
    connection: EventStoreDbConnection,
    log: Log,
    { prefix = deviceStream(''), batchSize = 500, endsAtLeader = false, places }: SubscriptionOptions = {},
  ) {
    this.#connection = connection;
    this.#log = log;
    this.#prefix = prefix;
    this.#batchSize = batchSize;
    this.#endsAtLeader = endsAtLeader;
    this.#subscriptions = new SharedSubscriptions(connection, prefix, batchSize);
    this.#placed = places && new PlacedEvents(connection, prefix, places, log);
  }

  async run(consumer: BatchConsumer<RecordedEvent>, options: RunOptions): Promise<void> {
    const signal = AbortSignal.any([options.signal, this.#connection.closed]);
    let failures = 0;
    let faults = 0;
    let reported: string | undefined;
    const consumed = () => {
      failures = 0;
      faults = 0;
      reported = undefined;
    };
    while (!signal.aborted) {
      try {
        await this.#follow(consumer, signal, consumed);
      } catch (error) {
        if (signal.aborted) return;
        failures += 1;
        if (error instanceof ConsumerFailure && error.cause instanceof OperatorNeeded) throw error.cause;
        if (error instanceof ConsumerFailure && !error.passing) {
          faults += 1;
          if (faults === consumerAttempts) throw error.cause;
        }
        const pauseMs = Math.round(pauseAfter(failures, this.#connection.longestPauseMs));
        const err =
          error instanceof ConsumerFailure ? error : this.#connection.failures.translated(error, allEvents);
        // An outage is one line, however often it is tried to get over it.
        const { message } = err as Error;
        this.#log[message === reported ? 'debug' : 'warn'](
          { err, failures, pauseMs },
          'reading device events was interrupted, reading on',
        );
        reported = message;
        await delay(pauseMs, undefined, { signal }).catch(stopped);
      }
    }
  }

  async ends(): Promise<ReadonlyMap<number, Position | null>> {
    const at = { direction: BACKWARDS, fromPosition: END, maxCount: 1 } as const;
    const newest = { ...at, ...(this.#endsAtLeader && { requiresLeader: true }) };
    const end = await this.#connection.once(
      (client, { signal }) =>
        reading(client.readAll(newest), signal, async (events) => {
          let last: Position | null = null;
          for await (const { event } of events) if (event) last = toPosition(event.position);
          return last;
        }),
      allEvents,
    );
    return new Map([[partition, end]]);
  }

  /** The store keeps device streams for ever. */
  async expired(): Promise<ReadonlyMap<number, Position | null>> {
    return new Map([[partition, null]]);
  }

  async partitioner(): Promise<() => number> {
    return () => partition;
  }

  /** The server reports nothing that a store restored from an earlier copy would not have too. */
  async identity(): Promise<null> {
    return null;
  }

  async eventAt(_partition: number, position: Position): Promise<EventAt> {
    const found = await eventAtPosition(this.#connection, position);
    return typeof found === 'object' ? { id: found.id } : found;
  }

  async known(): Promise<KnownEvents<RecordedEvent> | undefined> {
    return this.#placed?.load();
  }

  async remember(known: KnownEvents<EventPlace>): Promise<void> {
    await this.#placed?.store(known);
  }

  /** Exact where that is known within a moment: behind it there may be millions of events of other programs. */
  async countAfter(
    _partition: number,
    position: Position | null,
    within = countWithinMs,
  ): Promise<EventCount> {
    const end = (await this.ends()).get(partition) ?? null;
    if (comparePositions(position, end) >= 0) return exactly(0);
    const { ours, last = position } = await readStretch(this.#connection, this.#prefix, position);
    if (comparePositions(last, end) >= 0) return exactly(ours);
    return this.#connection.once(async (client, { signal, progress }) => {
      const subscription = subscribeTo(client, this.#prefix, last, this.#batchSize);
      let counted = ours;
      const count = async (arrivals: AsyncIterable<Arrival>): Promise<EventCount> => {
        for await (const arrival of arrivals) {
          progress();
          if (!(arrival instanceof Searched) && arrival.event && eventOfStreams(this.#prefix, arrival.event))
            counted += 1;
          if (isAt(arrival, end)) return exactly(counted);
          if (counted >= countLimit) break;
        }
        return { events: counted, isAtLeast: true };
      };
      const enough = setTimeout(() => subscription.destroy(), within);
      try {
        return await reading<Arrival, EventCount>(subscription, signal, count);
      } catch (error) {
        if ((error as { code?: unknown }).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
        return { events: counted, isAtLeast: true };
      } finally {
        clearTimeout(enough);
      }
    }, allEvents);
  }

  /** Hands over what comes behind the checkpoint until others have left it behind; rejects when the subscription breaks or `signal` aborts. */
  async #follow(
    consumer: BatchConsumer<RecordedEvent>,
    signal: AbortSignal,
    consumed: () => void,
  ): Promise<void> {
    let after = await consumer.checkpoint(partition).catch(consumerFailed);
    const skipped = (await consumer.skipped?.(partition).catch(consumerFailed)) ?? null;
    const begin = await beginOf(this.#connection, after, skipped);
    const subscription = this.#subscriptions.follow(begin);
    const gathering = new Gathering(subscription, this.#batchSize, signal);
    const foreign = new ForeignEvents(this.#connection, this.#prefix, consumer, partition, { after, begin });
    try {
      await reading<Followed, void>(subscription, signal, async (arriving) => {
        // `for await` reads no further while a batch is consumed, which holds the server back.
        let events: RecordedEvent[] = [];
        let searched = new Searched();
        let furthest = begin;
        for await (const arrival of arriving) {
          const position = (arrival instanceof Searched ? arrival.upTo : arrival.position) ?? furthest;
          // A store that was put back to an earlier copy under a subscription: what is consumed may not be of it.
          if (comparePositions(position, furthest) < 0)
            await consumer.checkpoint(partition).catch(consumerFailed);
          furthest = position;
          if (arrival instanceof Searched) searched = searched.and(arrival);
          else if (arrival.event) events.push(arrival.event);
          else searched = searched.and(new Searched({ upTo: arrival.position }));
          if (arrival instanceof Searched && arrival.isEnd) gathering.caughtUp();
          if (await gathering.isMoreThan(events.length)) continue;
          if (signal.aborted) return;
          const last = events.at(-1);
          if (last) {
            await consumer.consume({ partition, after, events }).catch(consumerFailed);
            consumed();
            after = last.position;
            foreign.consumed(after);
            events = [];
          }
          await foreign.searched(searched).catch(consumerFailed);
          searched = new Searched();
        }
      });
    } finally {
      await foreign.end();
    }
  }
}

const gatherMs = 10;
const longestGatherMs = 100;
const emptyWaitsAtEnd = 3;

/**
 * How long to wait for a batch to fill. While history comes, a moment: what has been decoded by then shares the
 * transaction. At its end, or once nothing came a few times, only until what has arrived is here. Never for long: where
 * other programs' events come by the thousand, something is always arriving.
 */
class Gathering {
  readonly #arriving: Pick<Follower, 'readableLength'>;
  readonly #batchSize: number;
  readonly #signal: AbortSignal;
  #emptyWaits = 0;
  #began: number | undefined;

  constructor(arriving: Pick<Follower, 'readableLength'>, batchSize: number, signal: AbortSignal) {
    this.#arriving = arriving;
    this.#batchSize = batchSize;
    this.#signal = signal;
  }

  caughtUp(): void {
    this.#emptyWaits = emptyWaitsAtEnd;
  }

  /** Whether more is to be gathered with what is; once it is not, the next batch begins. */
  async isMoreThan(gathered: number): Promise<boolean> {
    this.#began ??= performance.now();
    const isMore = await this.#isMoreWorthwhile(gathered);
    if (!isMore) this.#began = undefined;
    return isMore;
  }

  async #isMoreWorthwhile(gathered: number): Promise<boolean> {
    if (gathered === this.#batchSize) {
      // As much as that comes of history, or of a backlog.
      this.#emptyWaits = 0;
      return false;
    }
    if (performance.now() - (this.#began ?? 0) >= longestGatherMs) return false;
    if (this.#arriving.readableLength === 0) await this.#wait();
    return this.#arriving.readableLength > 0;
  }

  async #wait(): Promise<void> {
    if (this.#emptyWaits >= emptyWaitsAtEnd) {
      // What has arrived is handed through the client's streams one by one: give it a turn to come out.
      await nextTurn();
      return;
    }
    await delay(gatherMs, undefined, { signal: this.#signal }).catch(stopped);
    this.#emptyWaits = this.#arriving.readableLength > 0 ? 0 : this.#emptyWaits + 1;
  }
}

/** Whether a subscription has come to where the log ended. */
function isAt(arrival: Arrival, end: Position | null): boolean {
  if (arrival instanceof Searched) return arrival.isEnd || comparePositions(arrival.upTo ?? null, end) >= 0;
  return arrival.event !== undefined && comparePositions(positionOf(arrival.event), end) >= 0;
}

/** What the consumer threw, kept apart from what the connection throws. */
class ConsumerFailure extends Error {
  override readonly name = 'ConsumerFailure';
  /** What the consumer needs is away; it is not at fault. */
  readonly passing: boolean;

  constructor(cause: unknown) {
    super(`The consumer failed: ${cause instanceof Error ? cause.message : cause}`, { cause });
    this.passing = cause instanceof ReadModelsUnavailable || cause instanceof EventStoreUnavailable;
  }
}

function consumerFailed(cause: unknown): never {
  throw new ConsumerFailure(cause);
}

const stopped = () => undefined;
