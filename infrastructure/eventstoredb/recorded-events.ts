import type { RecordedEvent as ClientEvent, Position as LogPosition } from '@eventstore/db-client';
import type { Position } from '../../application/ports/event-source.ts';
import {
  type EventMetadata,
  type RecordedEvent,
  streamDeletedType,
} from '../../application/ports/event-store.ts';

const noPosition = 2n ** 64n - 1n;

/** What an event of the log means for streams with a prefix; nothing for what other programs wrote. */
export function eventOfStreams(prefix: string, event: ClientEvent): RecordedEvent | undefined {
  if (event.streamId.startsWith(prefix))
    return event.type === streamDeletedType ? deletionOf(event.streamId, event) : recordedEvent(event);
  const isDeletion = event.streamId.startsWith(`$$${prefix}`) && isSoftDeletion(event.data);
  return isDeletion ? deletionOf(event.streamId.slice(2), event) : undefined;
}

/** The largest number of 64 bits, which JSON rounds: nothing of the stream is read any more. */
const beyondEverything = 2 ** 62;

/** A stream is deleted, but for good, by truncating it before any revision that it can have. */
export const isSoftDeletion = (data: unknown): boolean =>
  typeof data === 'object' &&
  data !== null &&
  Number((data as { $tb?: unknown }).$tb ?? 0) >= beyondEverything;

function deletionOf(stream: string, event: ClientEvent): RecordedEvent {
  const { id } = event;
  const metadata = {
    $correlationId: id,
    $causationId: id,
    actor: 'event store',
    recordedAt: new Date(event.created).toISOString(),
    schemaVersion: 1,
  };
  const revision = Number.MAX_SAFE_INTEGER;
  return {
    ...{ id, type: streamDeletedType, data: {}, metadata, stream, revision },
    position: positionOf(event),
  };
}

export function positionOf({ position }: ClientEvent): Position {
  if (position === undefined || position.commit === noPosition)
    throw new Error('The event store gives no positions with a stream: EventStoreDB 22.6 or newer is needed');
  return toPosition(position);
}

export function recordedEvent(event: ClientEvent): RecordedEvent {
  return {
    id: event.id,
    type: event.type,
    data: event.data,
    metadata: metadataOf(event),
    stream: event.streamId,
    revision: Number(event.revision),
    position: positionOf(event),
  };
}

/** What others write into our streams may have none, or bytes; without its fields the event is malformed. */
function metadataOf({ metadata }: ClientEvent): EventMetadata {
  const readable = typeof metadata === 'object' && metadata !== null && !(metadata instanceof Uint8Array);
  return (readable ? metadata : {}) as EventMetadata;
}

type ReadStream<Event> = AsyncIterable<Event> & { destroy(error?: Error): unknown } & (
    | { cancel(): Promise<void> }
    | { unsubscribe(): Promise<void> }
  );

/**
 * Reads a stream of the client's, and ends it on the server when `read` is done or `signal` aborts: the client leaves
 * the call open when its stream is left early. One that the server ends by itself is to be read to its end: the client
 * would keep it for ever, and wait for it when it is closed.
 */
export async function reading<Event, T>(
  stream: ReadStream<Event>,
  signal: AbortSignal,
  read: (events: AsyncIterable<Event>) => Promise<T>,
): Promise<T> {
  const abort = () => stream.destroy(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await read(stream);
  } finally {
    signal.removeEventListener('abort', abort);
    stream.destroy();
    const ended = 'cancel' in stream ? stream.cancel() : stream.unsubscribe();
    ended.catch(neverBegun);
  }
}

/** The call could not be made, which the reader knows already. */
const neverBegun = () => undefined;

const form = /^(\d{1,20})-(\d{1,20})$/;

/** Commit and prepare: events of one transaction share the first, and differ in the second alone. */
export const toPosition = ({ commit, prepare }: LogPosition): Position => `${commit}-${prepare}`;

export const isLogPosition = (position: Position): boolean => form.test(position);

/** Throws when the position was given by another store. */
export function logPosition(position: Position): LogPosition {
  const parts = form.exec(position);
  if (!parts)
    throw new Error(`"${position}" is not a position of EventStoreDB, which has the form <commit>-<prepare>`);
  return { commit: BigInt(parts[1] as string), prepare: BigInt(parts[2] as string) };
}
