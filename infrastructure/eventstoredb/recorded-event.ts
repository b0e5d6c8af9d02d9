import type { RecordedEvent as ClientEvent } from '@eventstore/db-client';
import type { EventMetadata, RecordedEvent } from '../../application/ports/event-store.ts';
import { toPosition } from './positions.ts';

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
