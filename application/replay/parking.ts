import type { DeadLetters } from '../ports/dead-letters.ts';
import type { Generation, ReadModels } from '../ports/read-models.ts';
import { type Parking, PoisonEvent } from '../projector.ts';
import { type ApplyLetters, retryStream } from './retry-letters.ts';

/**
 * A generation being built parks what the live one has parked, and gives up what was given up there. At an event
 * that only it cannot apply it stops: that is a fault in the new code, or in the history, to be seen to first.
 */
export function parkingLike(live: Generation, letters: DeadLetters): Parking {
  return {
    discarded: (partition) => letters.discarded(live, partition),

    async admit(parked) {
      const atFault = parked.filter(({ cause, discarded }) => cause !== 'behind' && discarded === null);
      const [first] = atFault;
      if (!first) return;
      const positions = atFault.map(({ position }) => position);
      const known = await letters.at(live, first.partition, positions);
      const news = atFault.find(({ position }) => !known.has(position));
      if (news) throw new PoisonEvent(live.projection, news);
    },
  };
}

/** What was retried or given up in the live generation since the new one parked it is so there too. */
export async function followLetters(
  live: Generation,
  next: Generation,
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
      const known = await letters.at(live, partition, [first.position]);
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
