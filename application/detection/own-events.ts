import type { Decider } from '../../domain/decider.ts';
import { UnknownEventType } from '../ports/event-registry.ts';
import { type RecordedEvent, streamDeletedType } from '../ports/event-store.ts';

type Readable<State, Event> = {
  readonly decider: Pick<Decider<State, never, Event>, 'initial' | 'evolve'>;
  readonly decode: (recorded: RecordedEvent) => Event;
};

/**
 * Those events of a stream, in order, that are of its aggregate. Other programs may have streams of the same name or write
 * into ours, and the first events may be hidden: what cannot be decoded or folded is passed over. Of a stream that
 * somebody deleted in the store, what came since. Throws `UnknownEventType` for what a newer release has written.
 */
export function ownEvents<State, Event>(
  recorded: readonly RecordedEvent[],
  { decider: { initial, evolve }, decode }: Readable<State, Event>,
): readonly RecordedEvent[] {
  let state = initial;
  let own: RecordedEvent[] = [];
  for (const event of recorded) {
    if (event.type === streamDeletedType) {
      state = initial;
      own = [];
      continue;
    }
    try {
      state = evolve(state, decode(event));
    } catch (error) {
      const isOfNewerRelease = typeof event.metadata.schemaVersion === 'number';
      if (error instanceof UnknownEventType && isOfNewerRelease) throw error;
      continue;
    }
    own.push(event);
  }
  return own;
}
