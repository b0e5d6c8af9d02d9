import type { DiscardedEvents } from '../devices/device-stream.ts';
import { pagesById } from '../pages.ts';
import { type RetriedStream, retryAll, retryStream } from '../parking.ts';
import type { DeadLetters, StoredDeadLetter } from '../ports/dead-letters.ts';
import { activeGeneration, type ProjectionControl, ReplayRefused } from '../ports/generations.ts';
import type { GenerationId, ReadModels } from '../ports/read-models.ts';
import type { Clock } from '../ports/system.ts';
import type { ProjectionName } from '../projections/projection.ts';
import type { ProjectionPipeline } from '../rebuild/projection-pipeline.ts';

/** Selects dead letters: one with those behind it in its stream, a stream's, or all. */
export type DeadLetterSelector =
  | { readonly id: number }
  | { readonly projection: ProjectionName; readonly stream: string }
  | { readonly projection: ProjectionName };

export type Retried = RetriedStream & { readonly projection: string };

export type DeadLetterOperations = {
  /** Retries each stream in order until one of its dead letters fails again that holds the later ones. Throws `ReplayRefused`. */
  retry(choice: DeadLetterSelector): AsyncGenerator<Retried>;
  /** Discards a dead letter, or all waiting ones of a stream; returns how many. Throws `ReplayRefused`. */
  discard(
    choice: Exclude<DeadLetterSelector, { readonly projection: ProjectionName; readonly stream?: never }>,
    why: { readonly by: string; readonly reason: string },
  ): Promise<number>;
};

const retryBatchSize = 1000;

/** Operations on dead letters of the active generations. `live` also checks that this release may touch them. */
export function deadLetterOperations(
  live: (
    projection: string,
  ) => Promise<{ readonly pipeline: ProjectionPipeline; readonly generation: GenerationId }>,
  deadLetters: DeadLetters,
  readModels: ReadModels,
  clock: Clock,
): DeadLetterOperations {
  return {
    async *retry(choice) {
      if ('id' in choice) {
        const { partition, stream, projection } = await firstOfItsStream(choice.id);
        const { pipeline, generation } = await live(projection);
        yield {
          projection,
          ...(await retryStream(generation, { partition, stream }, pipeline.deadLetterRetry, readModels)),
        };
        return;
      }
      const { projection } = choice;
      const { pipeline, generation } = await live(projection);
      if ('stream' in choice) {
        const { stream } = choice;
        for (const partition of await partitionsOf(projection, stream))
          yield {
            projection,
            ...(await retryStream(generation, { partition, stream }, pipeline.deadLetterRetry, readModels)),
          };
        return;
      }
      for await (const stream of retryAll(generation, pipeline.deadLetterRetry, deadLetters, readModels))
        yield { projection, ...stream };
    },

    async discard(choice, why) {
      const discard = { ...why, at: clock.now() };
      if ('id' in choice) {
        const { projection, partition, position } = await waitingDeadLetter(choice.id);
        const { generation } = await live(projection);
        await readModels.repair(generation, partition, (tables) =>
          tables.deadLetters.discard(partition, [position], discard),
        );
        return 1;
      }
      const { projection, stream } = choice;
      const { generation } = await live(projection);
      let discarded = 0;
      for (const partition of await partitionsOf(projection, stream))
        await readModels.repair(generation, partition, async ({ deadLetters }) => {
          const all = await deadLetters.waiting(partition, stream, Number.MAX_SAFE_INTEGER);
          const positions = all.map(({ position }) => position);
          await deadLetters.discard(partition, positions, discard);
          discarded += positions.length;
        });
      return discarded;
    },
  };

  async function waitingDeadLetter(id: number): Promise<StoredDeadLetter> {
    const deadLetter = await deadLetters.find(id);
    const active =
      deadLetter && (await live(deadLetter.projection)).generation.generation === deadLetter.generation;
    if (!deadLetter || !active) throw new ReplayRefused(`There is no dead letter ${id}`);
    if (deadLetter.discarded)
      throw new ReplayRefused(
        `Dead letter ${id} was discarded by ${deadLetter.discarded.by}: ${deadLetter.discarded.reason}`,
      );
    return deadLetter;
  }

  async function firstOfItsStream(id: number): Promise<StoredDeadLetter> {
    const deadLetter = await waitingDeadLetter(id);
    const { projection, stream } = deadLetter;
    const { holds } = (await live(projection)).pipeline.deadLetterRetry;
    const waiting = await deadLetters.list({ projection, stream }, { limit: retryBatchSize });
    const first = waiting.find(({ cause, eventType }) => holds(cause, eventType));
    if (first && first.id < id)
      throw new ReplayRefused(
        `Dead letter ${id} stands behind ${first.id} of ${stream}: events of a stream are applied in order, so see to that one first`,
      );
    return deadLetter;
  }

  async function partitionsOf(projection: string, stream: string): Promise<ReadonlySet<number>> {
    const found = new Set<number>();
    const pages = pagesById(
      retryBatchSize,
      (page) => deadLetters.list({ projection, stream }, page),
      ({ id }) => id,
    );
    for await (const page of pages) for (const { partition } of page) found.add(partition);
    if (found.size === 0) throw new ReplayRefused(`No dead letter of ${stream} waits in ${projection}`);
    return found;
  }
}

/** Events whose dead letter in the device list was discarded; the list and commands skip them. */
export const discardedDeviceEvents =
  (
    control: Pick<ProjectionControl, 'states'>,
    deadLetters: Pick<DeadLetters, 'byPosition'>,
  ): DiscardedEvents =>
  async (events) => {
    const live = await activeGeneration({ name: 'devices' }, control);
    const positions = events.map(({ position }) => position);
    const known = await deadLetters.byPosition(live, devicePartition, positions);
    return new Set([...known].filter(([, discard]) => discard !== null).map(([position]) => position));
  };

/** Both event stores have one log of all devices. */
const devicePartition = 0;
