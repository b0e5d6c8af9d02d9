import { asError, causeOf } from './checked-batch.ts';
import type { DeadLetterFeed, DeadLetters, ParkedStream } from './ports/dead-letters.ts';
import type { Positioned } from './ports/event-source.ts';
import { EventStoreUnavailable } from './ports/event-store.ts';
import {
  type DeadLetter,
  type DeadLetterCause,
  type GenerationId,
  type ProjectionTables,
  type ReadModels,
  ReadModelsUnavailable,
} from './ports/read-models.ts';
import type { Log } from './ports/system.ts';
import type { Projection, RejectedEvent } from './projections/projection.ts';
import { type Parking, PoisonEvent, type ProjectorObserver } from './projector.ts';

/** Applies the events of letters, in their order, as the projector would have. Throws at the first it cannot. */
export type ApplyLetters = (letters: readonly DeadLetter[], tables: ProjectionTables) => Promise<void>;

export type RetriedStream = {
  readonly stream: string;
  readonly applied: number;
  /** The letter that failed again, at which the stream stops. */
  readonly failed: Pick<DeadLetter, 'position' | 'cause' | 'error'> | null;
};

const lettersAtOnce = 500;
const streamsAtOnce = 500;

/** A valid event that was rejected by `validate`. */
class EventRejected extends Error {
  override readonly name = 'EventRejected';
  readonly deadLetterCause: DeadLetterCause;

  constructor({ cause, error }: RejectedEvent) {
    super(error);
    this.deadLetterCause = cause;
  }
}

export function applyLetters<Event extends Positioned, Decoded>(
  projection: Projection<Event, Decoded>,
): ApplyLetters {
  return async (letters, tables) => {
    const partition = projection.forPartition();
    const events = letters.map(({ event }) => event as Event);
    const decoded = events.map((event) => projection.decode(event));
    const validated = await partition.validate?.(decoded);
    const [failure] = validated?.rejected.values() ?? [];
    if (failure) throw new EventRejected(failure);
    await partition.apply(validated?.accepted ?? decoded, tables);
    await partition.onUnparked?.(events, tables);
  };
}

/**
 * Applies the letters of a stream from the first one on, until none is left or one fails again. Each step is one
 * transaction that holds the partition's checkpoint, so no new event of the stream comes between.
 */
export async function retryStream(
  of: GenerationId,
  { partition, stream }: Pick<ParkedStream, 'partition' | 'stream'>,
  apply: ApplyLetters,
  readModels: ReadModels,
): Promise<RetriedStream> {
  let applied = 0;
  for (let size = lettersAtOnce; ; ) {
    let letters: readonly DeadLetter[] = [];
    try {
      await readModels.repair(of, partition, async (tables) => {
        letters = await tables.deadLetters.waiting(partition, stream, size);
        if (letters.length === 0) return;
        await apply(letters, tables);
        const positions = letters.map(({ position }) => position);
        await tables.deadLetters.remove(partition, positions);
      });
      applied += letters.length;
      if (letters.length < size) return { stream, applied, failed: null };
    } catch (error) {
      if (error instanceof ReadModelsUnavailable || error instanceof EventStoreUnavailable) throw error;
      const [first] = letters;
      if (!first) throw error;
      // Of several any may be at fault: the next tries take them one by one.
      if (letters.length === 1)
        return { stream, applied, failed: await recordFailure(of, first, error, readModels) };
      size = 1;
    }
  }
}

/** Every stream that waits, in the order in which they were parked. */
export async function* retryAll(
  of: GenerationId,
  apply: ApplyLetters,
  letters: DeadLetters,
  readModels: ReadModels,
): AsyncGenerator<RetriedStream> {
  for (let after = 0; ; ) {
    const streams = await letters.parkedStreams(of, { limit: streamsAtOnce, after });
    for (const stream of streams) yield await retryStream(of, stream, apply, readModels);
    const last = streams.at(-1);
    if (!last || streams.length < streamsAtOnce) return;
    after = last.firstId;
  }
}

async function recordFailure(
  of: GenerationId,
  { partition, position }: DeadLetter,
  error: unknown,
  readModels: ReadModels,
): Promise<NonNullable<RetriedStream['failed']>> {
  const { message, stack = null } = asError(error);
  const cause = error instanceof EventRejected ? error.deadLetterCause : causeOf(error);
  const failed = { partition, position, cause, error: message, stack };
  await readModels.repair(of, partition, (tables) => tables.deadLetters.failedAgain(failed));
  return { position, cause, error: message };
}

/**
 * A generation being built parks what the live one has parked, and gives up what was given up there. At an event
 * that only it cannot apply it stops: that is a fault in the new code, or in the history, to be seen to first.
 */
export function parkingLike(live: GenerationId, letters: DeadLetters): Parking {
  return {
    discarded: (partition) => letters.discarded(live, partition),

    async admit(parked) {
      const atFault = parked.filter(({ cause, discarded }) => cause !== 'behind' && discarded === null);
      const [first] = atFault;
      if (!first) return;
      const positions = atFault.map(({ position }) => position);
      const known = await letters.byPosition(live, first.partition, positions);
      const news = atFault.find(({ position }) => !known.has(position));
      if (news) throw new PoisonEvent(live.projection, news);
    },
  };
}

/** What was retried or given up in the live generation since the new one parked it is so there too. */
export async function followLetters(
  live: GenerationId,
  next: GenerationId,
  apply: ApplyLetters,
  letters: DeadLetters,
  readModels: ReadModels,
): Promise<void> {
  for (let after = 0; ; ) {
    const streams = await letters.parkedStreams(next, { limit: 500, after });
    for (const one of streams) {
      const { partition, stream, firstId } = one;
      const first = await letters.find(firstId);
      if (!first) continue;
      const known = await letters.byPosition(live, partition, [first.position]);
      const discard = known.get(first.position);
      if (discard)
        await readModels.repair(next, partition, (tables) =>
          tables.deadLetters.discard(partition, [first.position], discard),
        );
      if (discard || !known.has(first.position))
        await retryStream(next, { partition, stream }, apply, readModels);
    }
    const last = streams.at(-1);
    if (!last || streams.length < 500) return;
    after = last.firstId;
  }
}

/**
 * Tells an observer what is consumed, and a feed of every event parked, once it is. A feed that cannot be reached
 * holds nothing up: the letter is in the read models.
 */
export function withDeadLetterFeed<Event>(
  observer: ProjectorObserver<Event>,
  feed: DeadLetterFeed,
  log: Log,
): ProjectorObserver<Event> {
  return {
    failed: (error) => observer.failed(error),
    consumed(events, parked, seconds) {
      observer.consumed(events, parked, seconds);
      for (const letter of parked)
        feed.publish(letter).catch((err) => {
          const { eventId, correlationId } = letter;
          log.warn({ eventId, correlationId, err }, 'a dead letter could not be shown in its topic');
        });
    },
  };
}
