import { MalformedEvent, UnknownEventType } from './ports/event-registry.ts';
import type { Batch, Position, Positioned } from './ports/event-source.ts';
import {
  type DeadLetter,
  type DeadLetterCause,
  type Discard,
  ReadModelsUnavailable,
  UnfitValue,
} from './ports/read-models.ts';
import type { EventDescription, PartitionProjection, Projection } from './projections/projection.ts';

/** Why an event cannot be applied. */
export type Failure = { readonly cause: DeadLetterCause; readonly error: Error | string };

/** The events of a batch after validation. */
export type CheckedBatch<Event, Decoded> = {
  /** In the order of the log, at the same index of both lists. */
  readonly valid: readonly Event[];
  readonly decoded: readonly Decoded[];
  readonly invalid: ReadonlyMap<Event, Failure>;
  readonly discarded: ReadonlyMap<Position, Discard>;
};

type CheckOptions<Event> = {
  readonly only: ((event: Event) => boolean) | undefined;
  readonly discarded: ReadonlyMap<Position, Discard>;
  /** Events that were tried and failed: they are not tried again. */
  readonly failed: ReadonlyMap<Event, Failure>;
  /** Which of these positions have a dead letter where it matters: elsewhere nothing is postponed. */
  readonly parked:
    | ((partition: number, positions: readonly Position[]) => Promise<ReadonlySet<Position>>)
    | undefined;
};

/** Decides, before any transaction is open, which events can be applied. */
export async function checkBatch<Event extends Positioned, Decoded>(
  { partition, events }: Pick<Batch<Event>, 'partition' | 'events'>,
  { decode, postpone }: Pick<Projection<Event, Decoded>, 'decode' | 'postpone'>,
  { validate }: { readonly validate: PartitionProjection<Event, Decoded>['validate'] },
  { only, discarded, failed, parked }: CheckOptions<Event>,
): Promise<CheckedBatch<Event, Decoded>> {
  let valid: Event[] = [];
  let decoded: Decoded[] = [];
  const invalid = new Map<Event, Failure>(failed);
  const postponed = new Map<Event, Failure>();
  for (const event of events) {
    if (only?.(event) === false || failed.has(event)) continue;
    try {
      if (discarded.has(event.position)) continue;
      const one = decode(event);
      const reason = postpone?.(one);
      if (reason) postponed.set(event, reason);
      decoded.push(one);
      valid.push(event);
    } catch (error) {
      invalid.set(event, { cause: causeOf(error), error: asError(error) });
    }
  }
  if (postponed.size > 0) {
    const positions = [...postponed.keys()].map(({ position }) => position);
    const waiting = parked && (await parked(partition, positions));
    for (const [event, reason] of postponed)
      if (waiting?.has(event.position) ?? true) invalid.set(event, reason);
    decoded = decoded.filter((_, i) => !invalid.has(valid[i] as Event));
    valid = valid.filter((event) => !invalid.has(event));
  }
  if (!validate || valid.length === 0) return { valid, decoded, invalid, discarded };
  const { accepted, rejected } = await validate(decoded, partition);
  if (rejected.size === 0) return { valid, decoded: accepted, invalid, discarded };
  for (const [i, event] of valid.entries()) {
    const rejection = rejected.get(decoded[i] as Decoded);
    if (rejection) invalid.set(event, rejection);
  }
  return { valid: valid.filter((event) => !invalid.has(event)), decoded: accepted, invalid, discarded };
}

type SplitOptions<Event> = {
  readonly describe: (event: Event) => Pick<EventDescription, 'stream' | 'type'>;
  /** Whether later events of a stream wait for one that is parked. */
  readonly holds: (cause: DeadLetterCause, eventType: string) => boolean;
  readonly only?: ((event: Event) => boolean) | undefined;
};

/**
 * Divides events, in the order of the log, into those to apply and those to park: invalid ones, discarded ones, and
 * those behind a parked event of their stream that holds it. A discarded event holds nothing.
 */
export function splitParked<Event extends Positioned, Decoded>(
  events: readonly Event[],
  { valid, decoded, invalid, discarded }: CheckedBatch<Event, Decoded>,
  parkedBefore: ReadonlySet<string>,
  { describe, holds, only }: SplitOptions<Event>,
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
    const failure = invalid.get(event);
    const known = failure ? undefined : decodedOf.get(event);
    if (known !== undefined && parkedStreams.size === 0) {
      applied.push(known);
      continue;
    }
    const { stream, type } = describe(event);
    const isDiscarded = discarded.has(event.position);
    if (known !== undefined && !isDiscarded && !parkedStreams.has(stream)) applied.push(known);
    else {
      if (failure && !isDiscarded && holds(failure.cause, type)) parkedStreams.add(stream);
      parked.push(event);
    }
  }
  return { applied, parked, parkedStreams };
}

/** The dead letter of an event that is not applied: for its own fault, an operator's decision, or those before it. */
export function deadLetterOf<Event extends Positioned>(
  event: Event,
  described: EventDescription,
  { invalid, discarded }: Pick<CheckedBatch<Event, unknown>, 'invalid' | 'discarded'>,
  { partition, parkedAt }: Pick<DeadLetter, 'partition' | 'parkedAt'>,
): DeadLetter {
  const failure = invalid.get(event);
  const discard = discarded.get(event.position) ?? null;
  const error = failure?.error ?? discard?.reason ?? 'An earlier event of this stream is parked';
  return {
    partition,
    position: event.position,
    stream: described.stream,
    eventId: described.id,
    eventType: described.type,
    cause: failure?.cause ?? (discard ? 'failed' : 'behind'),
    ...errorTexts(error),
    correlationId: described.correlationId,
    event,
    parkedAt,
    discarded: discard,
  };
}

/** What a dead letter says of an error. */
export function errorTexts(error: Error | string): Pick<DeadLetter, 'error' | 'stack'> {
  const isError = error instanceof Error;
  return {
    error: bounded(isError ? error.message : error, longestError),
    stack: isError && error.stack !== undefined ? bounded(error.stack, longestError) : null,
  };
}

/** With room for it in every column of a dead letter, whoever wrote the event. */
export const boundedDescription = ({ id, type, stream, correlationId }: EventDescription) => ({
  id: bounded(id),
  type: bounded(type),
  stream: bounded(stream),
  correlationId: bounded(correlationId),
});

/** From so many streams on, a fault that nobody knows is taken for one of the database, not of the events. */
const manyStreams = 3;

/** Milliseconds that such a fault is waited for; events that fail for longer are parked, so that nothing stands for ever. */
const longestOutage = 600_000;

/** Distinguishes an outage without an error code from events that cannot be applied. */
export class UnknownFaults<Event> {
  #since: number | undefined;

  /** Throws `ReadModelsUnavailable` when events of many streams failed and none could be applied. */
  check(failed: ReadonlyMap<Event, Failure>, streamOf: (event: Event) => string, now: number): void {
    const unexplained = [...failed].filter(([, { error }]) => !(error instanceof UnfitValue));
    if (new Set(unexplained.map(([event]) => streamOf(event))).size < manyStreams) return;
    this.#since ??= now;
    if (now - this.#since >= longestOutage) return;
    const [, { error }] = unexplained[0] as [Event, Failure];
    const reason = error instanceof Error ? error.message : error;
    throw new ReadModelsUnavailable(`No event of ${manyStreams} streams can be applied: ${reason}`, {
      cause: error,
    });
  }

  end(): void {
    this.#since = undefined;
  }
}

/** Characters of what a dead letter says of its event, and of what went wrong. */
const longestText = 160;
const longestError = 10_000;

/** Such that a database gives it back unchanged, which it does not with half a character. */
function bounded(text: string, length = longestText): string {
  return text.length <= length && text.isWellFormed() ? text : text.slice(0, length).toWellFormed();
}

export function causeOf(error: unknown): DeadLetterCause {
  if (error instanceof UnknownEventType) return 'unknown-type';
  return error instanceof MalformedEvent ? 'malformed' : 'failed';
}

export const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

/** The policy for events that cannot be applied. */
export type Parking = {
  /** Events of a partition that an operator has discarded: they are not tried. */
  discarded(partition: number): Promise<ReadonlyMap<Position, Discard>>;
  /** Those of an operator's decision or a delay: which of these positions have a dead letter in the live generation. */
  parked(partition: number, positions: readonly Position[]): Promise<ReadonlySet<Position>>;
  /** Throws `PoisonEvent` when one of these events must not be parked. */
  admit(deadLetters: readonly DeadLetter[]): Promise<void>;
};

/** An event that must not be parked and cannot be applied. */
export class PoisonEvent extends Error {
  override readonly name = 'PoisonEvent';
  readonly deadLetter: DeadLetter;

  constructor(projection: string, deadLetter: DeadLetter) {
    const { eventType, position, partition, stream, eventId, correlationId, error } = deadLetter;
    super(
      `${projection} stops at the ${eventType} of ${stream} at ${position} in partition ${partition} ` +
        `(event ${eventId}, correlation id ${correlationId}): ${error}`,
    );
    this.deadLetter = deadLetter;
  }
}

/** Events that stand alone are batches of their own, the others between them stay together. */
export function* partsOf<Event extends Positioned>(
  batch: Batch<Event>,
  standsAlone: (event: Event) => boolean,
): Generator<Batch<Event>> {
  const { onApplied, ...rest } = batch;
  let { after } = batch;
  for (let from = 0; from < batch.events.length; ) {
    const first = batch.events[from] as Event;
    const next = standsAlone(first)
      ? from + 1
      : batch.events.findIndex((one, i) => i > from && standsAlone(one));
    const to = next === -1 ? batch.events.length : next;
    const isLast = to === batch.events.length;
    yield { ...rest, ...(isLast && onApplied && { onApplied }), after, events: batch.events.slice(from, to) };
    after = batch.events[to - 1]?.position ?? after;
    from = to;
  }
}
