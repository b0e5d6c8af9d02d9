import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import {
  BACKWARDS,
  END,
  type EventStoreDBClient,
  type Filter,
  START,
  streamNameFilter,
} from '@eventstore/db-client';
import {
  type BatchConsumer,
  comparePositions,
  type EventSource,
  type Position,
  type RunOptions,
} from '../../application/ports/event-source.ts';
import { EventStoreUnavailable, type RecordedEvent } from '../../application/ports/event-store.ts';
import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import type { Log } from '../../application/ports/system.ts';
import { deviceStream } from '../../domain/device.ts';
import { type EventStoreDbConnection, pauseAfter } from './connection.ts';
import { logPosition, reading, recordedEvent, toPosition } from './recorded-events.ts';

export type SubscriptionOptions = {
  /** Events of streams whose name starts so. */
  readonly prefix?: string;
  /** The most events in a batch. */
  readonly batchSize?: number;
};

// The store has one log of all events; the streams of devices are picked from it as one partition.
const partition = 0;
const allEvents = { doing: 'read', stream: '$all' } as const;
const countLimit = 10_000;
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
  #searched: { readonly upTo: Position; readonly last: Position | null } | undefined;

  constructor(
    connection: EventStoreDbConnection,
    log: Log,
    { prefix = deviceStream(''), batchSize = 500 }: SubscriptionOptions = {},
  ) {
    this.#connection = connection;
    this.#log = log;
    this.#prefix = prefix;
    this.#batchSize = batchSize;
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

  /**
   * The client cannot filter when it reads backwards, so this looks from the end for the first event of ours. What
   * lies before the newest event of an earlier search is known already; a search costs what was written since.
   */
  async ends(): Promise<ReadonlyMap<number, Position | null>> {
    const known = this.#searched;
    let newest: Position | undefined;
    const last = await this.#connection.once(
      (client, { signal, progress }) =>
        reading(client.readAll({ direction: BACKWARDS, fromPosition: END }), signal, async (events) => {
          for await (const { event } of events) {
            progress();
            if (!event) continue;
            const position = toPosition(event.position);
            newest ??= position;
            if (known && comparePositions(position, known.upTo) <= 0) return known.last;
            if (event.streamId.startsWith(this.#prefix)) return position;
          }
          return null;
        }),
      allEvents,
    );
    if (newest !== undefined) this.#searched = { upTo: newest, last };
    return new Map([[partition, last]]);
  }

  /** The store keeps device streams for ever. */
  async expired(): Promise<ReadonlyMap<number, Position | null>> {
    return new Map([[partition, null]]);
  }

  async partitioner(): Promise<() => number> {
    return () => partition;
  }

  async countAfter(_partition: number, position: Position | null): Promise<number> {
    const end = (await this.ends()).get(partition) ?? null;
    if (comparePositions(position, end) >= 0) return 0;
    return this.#connection.once(
      (client, { signal, progress }) =>
        reading(this.#subscribe(client, position, progress), signal, async (events) => {
          let count = 0;
          for await (const { event } of events) {
            progress();
            if (!event) continue;
            count += 1;
            if (count === countLimit || comparePositions(toPosition(event.position), end) >= 0) break;
          }
          return count;
        }),
      allEvents,
    );
  }

  /** Hands over what comes behind the checkpoint until the subscription breaks or `signal` aborts. */
  async #follow(
    consumer: BatchConsumer<RecordedEvent>,
    signal: AbortSignal,
    consumed: () => void,
  ): Promise<void> {
    let after = await consumer.checkpoint(partition).catch(consumerFailed);
    const { client, deadlineMs } = this.#connection;
    const subscription = this.#subscribe(client, after);
    const unconfirmed = () => {
      this.#connection.abandon(client);
      subscription.destroy(new Error(`The subscription was not confirmed within ${deadlineMs} ms`));
    };
    const timer = setTimeout(unconfirmed, deadlineMs);
    subscription.once('confirmation', () => clearTimeout(timer));
    const moreIsHere = async (gathered: number) => {
      if (gathered === this.#batchSize) return false;
      // What has arrived is handed through the client's streams one by one: give it a turn to come out.
      if (subscription.readableLength === 0) await nextTurn();
      return subscription.readableLength > 0 || gathered === 0;
    };
    try {
      await reading(subscription, signal, async (arriving) => {
        // `for await` reads no further while a batch is consumed, which holds the server back.
        let events: RecordedEvent[] = [];
        for await (const { event } of arriving) {
          if (event) events.push(recordedEvent(event));
          if (await moreIsHere(events.length)) continue;
          if (signal.aborted) return;
          await consumer.consume({ partition, after, events }).catch(consumerFailed);
          consumed();
          after = (events.at(-1) as RecordedEvent).position;
          events = [];
        }
      });
    } finally {
      clearTimeout(timer);
    }
    throw new Error('The server ended the subscription');
  }

  /**
   * Positions come from events alone. The checkpoints that a filtered subscription tells may repeat and may lie
   * ahead of events still to come: they only show that the server is searching.
   */
  #subscribe(client: EventStoreDBClient, after: Position | null, searching?: () => void) {
    const filter: Filter = streamNameFilter({
      prefixes: [this.#prefix],
      ...(searching && { checkpointReached: searching }),
    });
    const fromPosition = after === null ? START : logPosition(after);
    return client.subscribeToAll({ fromPosition, filter }, { highWaterMark: this.#batchSize });
  }
}

/** What the consumer threw, told apart from what the connection throws. */
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
