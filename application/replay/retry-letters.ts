import type { DeadLetters, ParkedStream } from '../ports/dead-letters.ts';
import type { Positioned } from '../ports/event-source.ts';
import { EventStoreUnavailable } from '../ports/event-store.ts';
import {
  type DeadLetter,
  type Generation,
  type ProjectionTables,
  type ReadModels,
  ReadModelsUnavailable,
} from '../ports/read-models.ts';
import type { Projection, Refused } from '../projections/projection.ts';
import { asError, causeOf } from '../projector.ts';

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

/** The event decodes well, but is refused all the same. */
class StillRefused extends Error {
  override readonly name = 'StillRefused';
  readonly refused: Refused;

  constructor(refused: Refused) {
    super(refused.error);
    this.refused = refused;
  }
}

export function applyLetters<Event extends Positioned, Decoded>(
  projection: Projection<Event, Decoded>,
): ApplyLetters {
  return async (letters, tables) => {
    const worker = projection.open();
    const events = letters.map(({ event }) => event as Event);
    const decoded = events.map((event) => projection.decode(event));
    const refused = await worker.refuse?.(decoded);
    const first = refused && decoded.map((one) => refused.get(one)).find((one) => one !== undefined);
    if (first) throw new StillRefused(first);
    await worker.apply(decoded, tables);
    await worker.unparked?.(events, tables);
  };
}

/**
 * Applies the letters of a stream from the first one on, until none is left or one fails again. Each step is one
 * transaction that holds the partition's checkpoint, so no new event of the stream comes between.
 */
export async function retryStream(
  of: Generation,
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
  of: Generation,
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
  of: Generation,
  { partition, position }: DeadLetter,
  error: unknown,
  readModels: ReadModels,
): Promise<NonNullable<RetriedStream['failed']>> {
  const { message, stack = null } = asError(error);
  const cause = error instanceof StillRefused ? error.refused.cause : causeOf(error);
  const failed = { partition, position, cause, error: message, stack };
  await readModels.repair(of, partition, (tables) => tables.deadLetters.failedAgain(failed));
  return { position, cause, error: message };
}
