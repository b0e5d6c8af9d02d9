import { type Parking, PoisonEvent } from '../checked-batch.ts';
import { pagesById } from '../pages.ts';
import { type DeadLetterRetry, retryStream } from '../parking.ts';
import type { DeadLetters, ParkedStream } from '../ports/dead-letters.ts';
import { comparePositions, type EventSource, type Position, type Positioned } from '../ports/event-source.ts';
import type { DeadLetterCause, Discard, GenerationId, ReadModels } from '../ports/read-models.ts';

/**
 * A generation being built parks what the live one has parked, and gives up what was given up there. At an event
 * that only it cannot apply it stops: that is a fault in the new code, or in the history, to be seen to first. One in
 * the wrong partition is parked whatever the live one did: releases before applied it, and miscounted. So is one that
 * the live one has not come to: nobody may consume into that any more.
 */
export function parkingLike(
  live: GenerationId,
  deadLetters: DeadLetters,
  readModels: Pick<ReadModels, 'checkpoint'>,
): Parking {
  return {
    discarded: (partition) => deadLetters.discarded(live, partition),

    async parked(partition, positions) {
      return new Set((await deadLetters.byPosition(live, partition, positions)).keys());
    },

    async admit(parked) {
      const atFault = parked.filter(({ cause, discarded }) => !isOfTheLog(cause) && discarded === null);
      const [first] = atFault;
      if (!first) return;
      // Looked up first: what the live one parks has its dead letter by the time its checkpoint is there.
      const reached = await readModels.checkpoint(live, first.partition);
      const consumed = atFault.filter(({ position }) => comparePositions(position, reached) <= 0);
      const positions = consumed.map(({ position }) => position);
      const known = await deadLetters.byPosition(live, first.partition, positions);
      const unknown = consumed.find(({ position }) => !known.has(position));
      if (unknown) throw new PoisonEvent(live.projection, unknown);
    },
  };
}

/** There is no live generation of the same log to be like. */
export const parkAll: Parking = {
  discarded: async () => new Map(),
  parked: async () => new Set(),
  admit: async () => {},
};

const isOfTheLog = (cause: DeadLetterCause): boolean => cause === 'behind' || cause === 'wrong-partition';

const pageSize = 500;

/** What was retried or given up in the live generation since the new one parked it is so there too. */
export async function followDeadLetters(
  live: GenerationId,
  next: GenerationId,
  retry: DeadLetterRetry,
  deadLetters: DeadLetters,
  readModels: ReadModels,
): Promise<void> {
  const streams = new Map<string, Pick<ParkedStream, 'partition' | 'stream'>>();
  const pages = pagesById(
    pageSize,
    (page) => deadLetters.ofGeneration(next, page),
    ({ id }) => id,
  );
  for await (const page of pages) {
    const waiting = page.filter(({ discarded }) => discarded === null);
    for (const [partition, parked] of Map.groupBy(waiting, (one) => one.partition)) {
      const positions = parked.map(({ position }) => position);
      const known = await deadLetters.byPosition(live, partition, positions);
      const discarded = new Map([...known].filter((one): one is [Position, Discard] => one[1] !== null));
      if (discarded.size > 0)
        await readModels.repair(next, partition, async (tables) => {
          // Most are of one command.
          for (const [text, some] of Map.groupBy(discarded, ([, discard]) => JSON.stringify(discard))) {
            const together = some.map(([position]) => position);
            await tables.deadLetters.discard(partition, together, JSON.parse(text) as Discard);
          }
        });
      for (const { stream, position } of parked)
        if (discarded.has(position) || !known.has(position))
          streams.set(`${partition} ${stream}`, { partition, stream });
    }
  }
  // Only now: what was given up behind the first of a stream is not to be applied.
  for (const stream of streams.values()) await retryStream(next, stream, retry, readModels);
}

/**
 * Whether the new generation has applied what was given up in the live one since, all of it or of one stream: it cannot
 * take that back, and has to be built anew.
 */
export async function hasAppliedDiscarded(
  live: GenerationId,
  next: GenerationId,
  log: Pick<EventSource<Positioned>, 'ends'>,
  deadLetters: DeadLetters,
  readModels: Pick<ReadModels, 'checkpoint'>,
  stream?: string,
): Promise<boolean> {
  for (const partition of (await log.ends()).keys()) {
    const reached = await readModels.checkpoint(next, partition);
    const discarded = [...(await deadLetters.discarded(live, partition, stream)).keys()];
    const passed = discarded.filter((position) => comparePositions(position, reached) <= 0);
    if ((await deadLetters.byPosition(next, partition, passed)).size < passed.length) return true;
  }
  return false;
}
