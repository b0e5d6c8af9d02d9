import { MalformedEvent, UnknownEventType } from './ports/event-registry.ts';
import type { Position, Positioned } from './ports/event-source.ts';
import type { DeadLetterCause, Discard } from './ports/read-models.ts';

/** The events of a batch after validation. */
export type CheckedBatch<Event, Decoded> = {
  /** In the order of the log, at the same index of both lists. */
  readonly valid: readonly Event[];
  readonly decoded: readonly Decoded[];
  readonly invalid: ReadonlyMap<Event, { readonly cause: DeadLetterCause; readonly error: Error | string }>;
  readonly discarded: ReadonlyMap<Position, Discard>;
};

/**
 * Divides events, in the order of the log, into those to apply and those to park: invalid ones, discarded ones, and
 * those behind a parked event of their stream. A discarded event does not park its stream.
 */
export function splitParked<Event extends Positioned, Decoded>(
  events: readonly Event[],
  { valid, decoded, invalid, discarded }: CheckedBatch<Event, Decoded>,
  parkedBefore: ReadonlySet<string>,
  streamOf: (event: Event) => string,
  only?: (event: Event) => boolean,
): {
  readonly applied: readonly Decoded[];
  readonly parked: readonly Event[];
  readonly parkedStreams: ReadonlySet<string>;
} {
  const isWhole = valid.length === events.length && discarded.size === 0 && !only;
  if (isWhole && invalid.size === 0 && parkedBefore.size === 0)
    return { applied: decoded, parked: [], parkedStreams: parkedBefore };
  const decodedOf = new Map(valid.map((event, i) => [event, decoded[i] as Decoded]));
  const parkedStreams = new Set(parkedBefore);
  const applied: Decoded[] = [];
  const parked: Event[] = [];
  for (const event of events) {
    if (only?.(event) === false) continue;
    const known = invalid.has(event) ? undefined : decodedOf.get(event);
    if (known !== undefined && parkedStreams.size === 0) {
      applied.push(known);
      continue;
    }
    const stream = streamOf(event);
    const isDiscarded = discarded.has(event.position);
    if (known !== undefined && !isDiscarded && !parkedStreams.has(stream)) applied.push(known);
    else {
      if (!isDiscarded) parkedStreams.add(stream);
      parked.push(event);
    }
  }
  return { applied, parked, parkedStreams };
}

export function causeOf(error: unknown): DeadLetterCause {
  if (error instanceof UnknownEventType) return 'unknown-type';
  return error instanceof MalformedEvent ? 'malformed' : 'failed';
}

export const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));
