import { type RecordedEvent as ClientEvent, FORWARDS } from '@eventstore/db-client';
import type { EventPlaces } from '../../application/ports/event-places.ts';
import type { EventPlace, KnownEvents, Position } from '../../application/ports/event-source.ts';
import type { RecordedEvent } from '../../application/ports/event-store.ts';
import type { Log } from '../../application/ports/system.ts';
import type { EventStoreDbConnection } from './connection.ts';
import { eventOfStreams, isLogPosition, logPosition, reading, toPosition } from './recorded-events.ts';

const allEvents = { doing: 'read', stream: '$all' } as const;

/**
 * The event at a position, by the leader. `none`: no event begins there; `unknown`: it was scavenged, and what follows is
 * there.
 */
export async function eventAtPosition(
  connection: EventStoreDbConnection,
  position: Position,
): Promise<ClientEvent | 'none' | 'unknown'> {
  if (!isLogPosition(position)) return 'none';
  const there = {
    direction: FORWARDS,
    fromPosition: logPosition(position),
    maxCount: 1,
    requiresLeader: true,
  } as const;
  try {
    return await connection.once(
      (client, { signal }) =>
        reading(client.readAll(there), signal, async (events) => {
          let found: ClientEvent | 'none' | 'unknown' = 'none';
          for await (const { event } of events)
            found = event && toPosition(event.position) === position ? event : 'unknown';
          return found;
        }),
      allEvents,
    );
  } catch (error) {
    if (isInsideRecord(error)) return 'none';
    throw error;
  }
}

/** What the server answers where no event begins, as in a store that was put back to an earlier copy and has grown since. */
const isInsideRecord = (error: unknown): boolean => {
  const { cause } = error as Error;
  return cause instanceof Error && cause.message.includes('Unexpected ReadAllResult');
};

/** So many are read at a start in about the time in which the server searches as many hundreds. */
const mostPlaces = 10_000;
const readsAtOnce = 32;

/** The events of streams of one kind, read one by one where they were found before. */
export class PlacedEvents {
  readonly #connection: EventStoreDbConnection;
  readonly #prefix: string;
  readonly #places: EventPlaces;
  readonly #log: Log;

  constructor(connection: EventStoreDbConnection, prefix: string, places: EventPlaces, log: Log) {
    this.#connection = connection;
    this.#prefix = prefix;
    this.#places = places;
    this.#log = log;
  }

  /** Nothing where one of them is not there any more. Throws `EventStoreUnavailable`. */
  async load(): Promise<KnownEvents<RecordedEvent> | undefined> {
    const known = await this.#stored();
    const events = known && (await this.#eventAt(known.upTo)) && (await this.#read(known.events));
    if (known && events) return { events, upTo: known.upTo };
    this.#log.info(
      { streams: this.#prefix, known: known ? 'of another log, or scavenged' : 'none' },
      'event places unknown, searching the event store from its start',
    );
    return undefined;
  }

  /** Never rejects: without them the next start takes longer. */
  async store(known: KnownEvents<EventPlace>): Promise<void> {
    // Those that are stored already are right up to where they go.
    if (known.events.length > mostPlaces) return;
    try {
      await this.#places.store(this.#prefix, known);
    } catch (err) {
      this.#log.debug({ err, streams: this.#prefix }, 'event places not stored');
    }
  }

  async #stored(): Promise<KnownEvents<EventPlace> | undefined> {
    try {
      return await this.#places.load(this.#prefix);
    } catch (err) {
      this.#log.warn({ err, streams: this.#prefix }, 'event places not read');
      return undefined;
    }
  }

  async #eventAt({ position, eventId }: EventPlace): Promise<ClientEvent | undefined> {
    const found = await eventAtPosition(this.#connection, position);
    return typeof found === 'object' && found.id === eventId ? found : undefined;
  }

  async #read(places: readonly EventPlace[]): Promise<readonly RecordedEvent[] | undefined> {
    const events: RecordedEvent[] = [];
    for (let from = 0; from < places.length; from += readsAtOnce) {
      const read = places.slice(from, from + readsAtOnce).map(async (place) => {
        const found = await this.#eventAt(place);
        return found && eventOfStreams(this.#prefix, found);
      });
      for (const event of await Promise.all(read)) {
        if (!event) return undefined;
        events.push(event);
      }
    }
    return events;
  }
}
