import { asError, causeOf, errorTexts } from './checked-batch.ts';
import { pagesById } from './pages.ts';
import type { DeadLetters, ParkedStream } from './ports/dead-letters.ts';
import type { Positioned } from './ports/event-source.ts';
import { EventStoreUnavailable } from './ports/event-store.ts';
import {
  type DeadLetter,
  type DeadLetterCause,
  type GenerationId,
  type ProjectionTables,
  type ReadModels,
  ReadModelsUnavailable,
  type WaitingLetter,
} from './ports/read-models.ts';
import type { Clock } from './ports/system.ts';
import { TelemetryLogUnavailable } from './ports/telemetry-log.ts';
import type { Projection, RejectedEvent } from './projections/projection.ts';

/** How the dead letters of a projection are tried again. */
export type DeadLetterRetry = {
  /** Applies the events of dead letters, in their order, as the projector would have. Throws at the first it cannot. */
  apply(deadLetters: readonly DeadLetter[], tables: ProjectionTables): Promise<void>;
  /** Whether a dead letter holds later events of its stream. */
  holds(cause: DeadLetterCause, eventType: string): boolean;
  /** Called in a transaction behind which no more of the stream is tried. */
  atRest?(stream: string, tables: ProjectionTables): Promise<void>;
};

export type RetriedStream = {
  readonly stream: string;
  readonly applied: number;
  /** The first dead letter that failed again. The stream stops at it, unless it holds nothing. */
  readonly failed: Pick<DeadLetter, 'position' | 'cause' | 'error'> | null;
};

const retryBatchSize = 500;
const streamPageSize = 500;

/** A valid event that was rejected by `validate`. */
class EventRejected extends Error {
  override readonly name = 'EventRejected';
  readonly deadLetterCause: DeadLetterCause;

  constructor({ cause, error }: RejectedEvent) {
    super(error);
    this.deadLetterCause = cause;
  }
}

export function deadLetterRetry<Event extends Positioned, Decoded>(
  projection: Projection<Event, Decoded>,
  clock: Clock,
): DeadLetterRetry {
  const { holdsStream: holds = () => true, postpone } = projection;
  return {
    holds,
    async apply(deadLetters, tables) {
      const partition = projection.forPartition();
      const events = deadLetters.map(({ event }) => event as Event);
      const decoded = events.map((event) => projection.decode(event));
      const postponed = postpone && decoded.map((one) => postpone(one, clock.now())).find(Boolean);
      if (postponed) throw new EventRejected(postponed);
      const validated = await partition.validate?.(decoded, deadLetters[0]?.partition ?? 0);
      const [failure] = validated?.rejected.values() ?? [];
      if (failure) throw new EventRejected(failure);
      for (const [i, { cause, eventType }] of deadLetters.entries()) {
        if (holds(cause, eventType)) continue;
        const error = await partition.validateLate?.(decoded[i] as Decoded, tables);
        if (error !== undefined) throw new EventRejected({ cause, error });
      }
      await partition.apply(validated?.accepted ?? decoded, tables);
      await partition.onUnparked?.(events, tables);
    },
  };
}

/**
 * Applies the dead letters of a stream from the first one on, until none is left or one fails again that holds the others.
 * Each step is one transaction that holds the partition's checkpoint, so no new event of the stream comes between.
 */
export async function retryStream(
  generation: GenerationId,
  { partition, stream }: Pick<ParkedStream, 'partition' | 'stream'>,
  retry: DeadLetterRetry,
  readModels: ReadModels,
): Promise<RetriedStream> {
  let applied = 0;
  let failed: RetriedStream['failed'] = null;
  let after = 0;
  for (let size = retryBatchSize; ; ) {
    let deadLetters: readonly WaitingLetter[] = [];
    try {
      await readModels.repair(generation, partition, async (tables) => {
        deadLetters = await tables.deadLetters.waiting(partition, stream, size, after);
        // First: what is applied now does not wait, should a retraction among it look.
        const positions = deadLetters.map(({ position }) => position);
        await tables.deadLetters.remove(partition, positions);
        if (deadLetters.length > 0) await retry.apply(deadLetters, tables);
        if (deadLetters.length < size) await retry.atRest?.(stream, tables);
      });
      applied += deadLetters.length;
      if (deadLetters.length < size) return { stream, applied, failed };
      size = Math.min(retryBatchSize, 2 * size);
    } catch (error) {
      if (
        error instanceof ReadModelsUnavailable ||
        error instanceof EventStoreUnavailable ||
        error instanceof TelemetryLogUnavailable
      )
        throw error;
      const [first] = deadLetters;
      if (!first) throw error;
      // Of several any may be at fault: the next tries take them one by one.
      if (deadLetters.length > 1) {
        size = 1;
        continue;
      }
      const failure = await recordFailure(generation, first, error, retry, readModels);
      failed ??= failure;
      if (retry.holds(failure.cause, first.eventType)) return { stream, applied, failed };
      after = first.id;
    }
  }
}

/** Every stream that waits, in the order in which they were parked. */
export async function* retryAll(
  generation: GenerationId,
  retry: DeadLetterRetry,
  deadLetters: DeadLetters,
  readModels: ReadModels,
): AsyncGenerator<RetriedStream> {
  for await (const streams of parkedStreamPages(generation, deadLetters))
    for (const stream of streams) yield await retryStream(generation, stream, retry, readModels);
}

const parkedStreamPages = (
  generation: GenerationId,
  deadLetters: DeadLetters,
): AsyncGenerator<readonly ParkedStream[]> =>
  pagesById(
    streamPageSize,
    (page) => deadLetters.parkedStreams(generation, page),
    ({ firstId }) => firstId,
  );

async function recordFailure(
  generation: GenerationId,
  { partition, position, stream, eventType }: DeadLetter,
  error: unknown,
  retry: DeadLetterRetry,
  readModels: ReadModels,
): Promise<NonNullable<RetriedStream['failed']>> {
  const cause = error instanceof EventRejected ? error.deadLetterCause : causeOf(error);
  const texts = errorTexts(asError(error));
  const failed = { partition, position, cause, ...texts };
  await readModels.repair(generation, partition, async (tables) => {
    await tables.deadLetters.failedAgain(failed);
    if (retry.holds(cause, eventType)) await retry.atRest?.(stream, tables);
  });
  return { position, cause, error: texts.error };
}
