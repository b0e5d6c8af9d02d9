import { FORWARDS, START } from '@eventstore/db-client';
import {
  type BatchConsumer,
  comparePositions,
  type EventPlace,
  furthest,
  type Position,
} from '../../application/ports/event-source.ts';
import type { RecordedEvent } from '../../application/ports/event-store.ts';
import type { EventStoreDbConnection } from './connection.ts';
import { eventOfStreams, logPosition, reading, toPosition } from './recorded-events.ts';
import { checkpointEvery, type Searched } from './subscription.ts';

const allEvents = { doing: 'read', stream: '$all' } as const;

/** What a few events of the log are: how far they go, and how many of them are of ours. */
type Stretch = {
  /** The last event of another program before the first of ours. */
  readonly foreign: EventPlace | undefined;
  /** The last of all. */
  readonly last: Position | undefined;
  readonly ours: number;
};

/** Reads what follows a position, whoever wrote it, the event at the position itself left out. */
export function readStretch(
  connection: EventStoreDbConnection,
  prefix: string,
  after: Position | null,
): Promise<Stretch> {
  const fromPosition = after === null ? START : logPosition(after);
  return connection.once(
    (client, { signal, progress }) =>
      reading(
        client.readAll({ direction: FORWARDS, fromPosition, maxCount: checkpointEvery }),
        signal,
        async (events) => {
          let ours = 0;
          let [foreign, last]: [EventPlace | undefined, Position | undefined] = [undefined, undefined];
          for await (const { event } of events) {
            progress();
            if (!event) continue;
            const position = toPosition(event.position);
            if (comparePositions(position, after) <= 0) continue;
            last = position;
            if (eventOfStreams(prefix, event)) ours += 1;
            else if (ours === 0) foreign = { position, eventId: event.id };
          }
          return { foreign, last, ours };
        },
      ),
    allEvents,
  );
}

/**
 * Where a subscription begins: behind what was skipped, if the log still has the same event there. After a store was
 * put back to an earlier copy it has not, and events of ours may have taken its place.
 */
export async function beginOf(
  connection: EventStoreDbConnection,
  after: Position | null,
  skipped: EventPlace | null,
): Promise<Position | null> {
  if (!skipped || comparePositions(skipped.position, after) <= 0) return after;
  const { commit, prepare } = logPosition(skipped.position);
  try {
    const options = { direction: FORWARDS, fromPosition: { commit, prepare }, maxCount: 1 } as const;
    const isThere = await connection.once(
      (client, { signal }) =>
        reading(client.readAll(options), signal, async (events) => {
          let found = false;
          for await (const { event } of events)
            found = event?.id === skipped.eventId && toPosition(event.position) === skipped.position;
          return found;
        }),
      allEvents,
    );
    return isThere ? skipped.position : after;
  } catch {
    // A position inside a record cannot be read at all; a store that is away is met by the subscription.
    return after;
  }
}

const firstPauseMs = 250;
const longestPauseMs = 2_000;
const storeEveryMs = 5_000;

/**
 * Reports to a consumer how far its log has nothing for it. While events and the server's own checkpoints come, these say
 * so; once they rest, what lies behind them is read, since a server names no checkpoint for a few events.
 */
export class ForeignEvents {
  readonly #connection: EventStoreDbConnection;
  readonly #prefix: string;
  readonly #consumer: BatchConsumer<RecordedEvent>;
  readonly #partition: number;
  /** The last event consumed, and the place that is known to have nothing of ours before it but what was consumed. */
  #after: Position | null;
  #upTo: Position | null;
  /** The server has searched further than what is consumed or stored. */
  #isAhead = false;
  #heardAt = performance.now();
  #storedAt = performance.now();
  #pauseMs = firstPauseMs;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #isEnded = false;

  constructor(
    connection: EventStoreDbConnection,
    prefix: string,
    consumer: BatchConsumer<RecordedEvent>,
    partition: number,
    { after, begin }: { readonly after: Position | null; readonly begin: Position | null },
  ) {
    this.#connection = connection;
    this.#prefix = prefix;
    this.#consumer = consumer;
    this.#partition = partition;
    this.#after = after;
    this.#upTo = begin;
    this.#schedule(firstPauseMs);
  }

  /** The consumer has everything up to `position`, which is an event of ours. */
  consumed(position: Position): void {
    this.#after = furthest(this.#after, position);
    if (comparePositions(position, this.#upTo) > 0) {
      this.#upTo = position;
      this.#isAhead = false;
    }
    this.#heard();
  }

  /** The consumer has everything up to where the server has searched. */
  async searched({ upTo, isEnd }: Searched): Promise<void> {
    if (upTo !== undefined) this.#heard();
    if (upTo !== undefined && comparePositions(upTo, this.#upTo) > 0) {
      this.#upTo = upTo;
      this.#isAhead = true;
      await this.#consumer.skip?.(this.#partition, this.#after, { position: upTo });
    }
    if (isEnd) await this.#look();
  }

  async end(): Promise<void> {
    this.#isEnded = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  #heard(): void {
    this.#heardAt = performance.now();
    this.#pauseMs = firstPauseMs;
  }

  #schedule(ms: number): void {
    clearTimeout(this.#timer);
    if (!this.#isEnded) this.#timer = setTimeout(() => void this.#tick(), ms);
  }

  async #tick(): Promise<void> {
    const now = performance.now();
    const isQuiet = now - this.#heardAt >= firstPauseMs;
    if (isQuiet || (this.#isAhead && now - this.#storedAt >= storeEveryMs)) await this.#look();
    this.#schedule(this.#pauseMs);
  }

  /** One look at a time; a log that cannot be read is the subscription's to report. */
  #look(): Promise<void> {
    this.#looking ??= this.#lookOnce()
      .catch(() => undefined)
      .finally(() => {
        this.#looking = undefined;
      });
    return this.#looking;
  }

  async #lookOnce(): Promise<void> {
    const { foreign } = await readStretch(this.#connection, this.#prefix, this.#upTo);
    this.#pauseMs = foreign ? firstPauseMs : Math.min(longestPauseMs, 2 * this.#pauseMs);
    if (!foreign || comparePositions(foreign.position, this.#upTo) <= 0) return;
    this.#upTo = foreign.position;
    this.#isAhead = false;
    this.#storedAt = performance.now();
    await this.#consumer.skip?.(this.#partition, this.#after, foreign);
  }
}
