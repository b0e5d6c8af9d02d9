import type {
  RecordedEvent as ClientEvent,
  Position as LogPosition,
  ReadableSubscription,
  StreamingRead,
} from '@eventstore/db-client';
import type { Position } from '../../application/ports/event-source.ts';
import type { EventMetadata, RecordedEvent } from '../../application/ports/event-store.ts';

const noPosition = 2n ** 64n - 1n;

export function recordedEvent(event: ClientEvent): RecordedEvent {
  if (event.position === undefined || event.position.commit === noPosition)
    throw new Error('The event store tells no positions with a stream: EventStoreDB 22.6 or newer is needed');
  return {
    id: event.id,
    type: event.type,
    data: event.data,
    metadata: metadataOf(event),
    stream: event.streamId,
    revision: Number(event.revision),
    position: toPosition(event.position),
  };
}

/** What others write into our streams may have none, or bytes; without its fields the event is told as malformed. */
function metadataOf({ metadata }: ClientEvent): EventMetadata {
  const readable = typeof metadata === 'object' && metadata !== null && !(metadata instanceof Uint8Array);
  return (readable ? metadata : {}) as EventMetadata;
}

/**
 * Reads a stream of the client's, and ends it on the server when `read` is done or `signal` aborts: the client leaves
 * the call open when its stream is left early.
 */
export async function reading<Event, T>(
  stream: StreamingRead<Event> | ReadableSubscription<Event>,
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

/** Commit and prepare: events of one transaction share the first, and tell apart by the second alone. */
export const toPosition = ({ commit, prepare }: LogPosition): Position => `${commit}-${prepare}`;

export const isLogPosition = (position: Position): boolean => form.test(position);

/** Throws when the position was given by another store. */
export function logPosition(position: Position): LogPosition {
  const parts = form.exec(position);
  if (!parts)
    throw new Error(`"${position}" is not a position of EventStoreDB, which has the form <commit>-<prepare>`);
  return { commit: BigInt(parts[1] as string), prepare: BigInt(parts[2] as string) };
}
