import {
  BACKWARDS,
  END,
  type EventStoreDBClient,
  type JSONType,
  jsonEvent,
  NO_STREAM,
  START,
  StreamNotFoundError,
  WrongExpectedVersionError,
} from '@eventstore/db-client';
import {
  type EventEraser,
  type EventStore,
  EventStoreUnavailable,
  type ExpectedRevision,
  type NewEvent,
  type RecordedEvent,
  RevisionConflict,
  StreamDeleted,
  StreamUnreadable,
} from '../../application/ports/event-store.ts';
import type { EventStoreDbConnection, Ticket } from './connection.ts';
import { isSoftDeletion, reading, recordedEvent, toPosition } from './recorded-events.ts';
import { checkEventStore } from './rights.ts';

/**
 * What is read decides over commands or answers them, and a follower may be behind. Whoever is asked and does not lead
 * says who does.
 */
const atLeader = { requiresLeader: true } as const;

const metadataAttempts = 8;

/** Device streams in EventStoreDB 22.6 or newer. */
export class EventStoreDbEventStore implements EventStore, EventEraser {
  readonly #connection: EventStoreDbConnection;

  constructor(connection: EventStoreDbConnection) {
    this.#connection = connection;
  }

  async read(stream: string): Promise<readonly RecordedEvent[]> {
    const call = (client: EventStoreDBClient, ticket: Ticket) => readStream(client, stream, ticket);
    const events = await this.#connection.persistently(call, { doing: 'read', stream });
    // A stream that is there, and shows nothing: it can neither be begun nor continued.
    if (events?.length === 0) throw new StreamUnreadable({ stream, revision: 0 }, new Error(allHidden));
    return events ?? [];
  }

  async isDeleted(stream: string): Promise<boolean> {
    try {
      return isSoftDeletion((await this.#metadata(stream)).properties);
    } catch (error) {
      if (error instanceof StreamDeleted) return true;
      throw error;
    }
  }

  async append(
    stream: string,
    events: readonly NewEvent[],
    expected: ExpectedRevision,
    ids?: 'unused',
  ): Promise<readonly RecordedEvent[]> {
    const expectedRevision = expectedBy(expected);
    const firstRevision = expected === 'none' ? 0n : BigInt(expected) + 1n;
    const proposed = events.map(proposedEvent);
    let attempts = 0;

    // An attempt whose outcome is unknown is simply made again: with the same ids at the same revision the server
    // takes it for the same append.
    const attempt: Attempt = async (client, ticket) => {
      attempts += 1;
      const { success, position, nextExpectedRevision } = await client
        .appendToStream(stream, proposed, { expectedRevision, ...atLeader, deadline: ticket.deadlineMs })
        .catch(conflictOf(stream));
      if (!success) throw new RevisionConflict(stream);
      const [only] = events;
      if (ids === 'unused' && attempts === 1 && events.length === 1 && only && position)
        return [{ ...only, stream, revision: Number(nextExpectedRevision), position: toPosition(position) }];
      ticket.progress();
      // Read back, because the answer has at most the last event's position, and because a repeated append answers
      // with what was stored the first time.
      const appended = (await readStream(client, stream, ticket, firstRevision, events.length)) ?? [];
      if (appended.length < events.length)
        throw new EventStoreUnavailable(`Stream ${stream} does not show yet what was appended to it`);
      return appended;
    };
    return this.#connection.persistently(attempt, { doing: 'append to', stream });
  }

  /**
   * Nobody reads the stream's events before it from now on; the server's next scavenge takes them off the disk. What
   * else the stream's metadata says stays: setting metadata replaces all of it.
   */
  async eraseBefore(stream: string, revision: number): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      const { properties, revision: current } = await this.#metadata(stream);
      if (Number(properties.$tb ?? 0) >= revision) return;
      try {
        await this.#setMetadata(stream, { ...properties, $tb: revision }, current);
        return;
      } catch (error) {
        if (!(error instanceof RevisionConflict) || attempt === metadataAttempts) throw error;
      }
    }
  }

  /** Throws `EventStoreUnavailable` when the store does not do now all that it is needed for. */
  check(): Promise<void> {
    return checkEventStore(this.#connection);
  }

  /** The metadata as it is stored; `none` when there is none. */
  #metadata(stream: string): Promise<StreamProperties> {
    const newest = { direction: BACKWARDS, fromRevision: END, maxCount: 1, ...atLeader } as const;
    return this.#connection.persistently(
      async (client, { signal }) => {
        let found: StreamProperties = { properties: {}, revision: 'none' };
        await reading(client.readStream(metastreamOf(stream), newest), signal, async (events) => {
          for await (const { event } of events)
            if (event) found = { properties: propertiesIn(event.data), revision: Number(event.revision) };
        }).catch(missingAsEmpty);
        return found;
      },
      { doing: 'read the metadata of', stream },
    );
  }

  /** Throws `RevisionConflict` when the metadata was set meanwhile. */
  #setMetadata(stream: string, data: Properties, expected: ExpectedRevision): Promise<void> {
    const event = jsonEvent({ type: '$metadata', data: data as JSONType });
    const expectedRevision = expectedBy(expected);
    return this.#connection.persistently(
      async (client, { deadlineMs: deadline }) => {
        const { success } = await client
          .appendToStream(metastreamOf(stream), event, { expectedRevision, ...atLeader, deadline })
          .catch(conflictOf(stream));
        if (!success) throw new RevisionConflict(stream);
      },
      { doing: 'set the metadata of', stream },
    );
  }
}

type Properties = Readonly<Record<string, unknown>>;
type StreamProperties = { readonly properties: Properties; readonly revision: ExpectedRevision };

const metastreamOf = (stream: string): string => `$$${stream}`;

/** Somebody may have written what is no metadata; the server takes it for none. */
const propertiesIn = (data: unknown): Properties =>
  typeof data === 'object' && data !== null && !(data instanceof Uint8Array) ? (data as Properties) : {};

const allHidden = 'its metadata ($tb, $maxAge, $maxCount) hides all of its events';

type Attempt = (client: EventStoreDBClient, ticket: Ticket) => Promise<readonly RecordedEvent[]>;

/** Nothing where there is no such stream. */
async function readStream(
  client: EventStoreDBClient,
  stream: string,
  { signal, progress }: Ticket,
  from?: bigint,
  maxCount: number = Number.MAX_SAFE_INTEGER,
): Promise<readonly RecordedEvent[] | undefined> {
  const events: RecordedEvent[] = [];
  try {
    await reading(
      client.readStream(stream, { fromRevision: from ?? START, maxCount, ...atLeader }),
      signal,
      async (found) => {
        for await (const { event } of found) {
          progress();
          if (event) events.push(recordedEvent(event));
        }
      },
    );
  } catch (error) {
    missingAsEmpty(error);
    return undefined;
  }
  return events;
}

function proposedEvent({ id, type, data, metadata }: NewEvent) {
  // The client would find out half-way through the append, in a promise that nobody holds.
  JSON.stringify([data, metadata]);
  return jsonEvent({ id, type, data: data as JSONType, metadata });
}

const expectedBy = (expected: ExpectedRevision) => (expected === 'none' ? NO_STREAM : BigInt(expected));

function missingAsEmpty(error: unknown): void {
  if (!(error instanceof StreamNotFoundError)) throw error;
}

const conflictOf = (stream: string) => (error: unknown) => {
  throw error instanceof WrongExpectedVersionError ? new RevisionConflict(stream) : error;
};
