import type { Parking } from '../checked-batch.ts';
import { LogGuard } from '../log-guard.ts';
import { type DeadLetterRetry, deadLetterRetry } from '../parking.ts';
import type { DeadLetters } from '../ports/dead-letters.ts';
import type { BatchConsumer, EventSource, Positioned } from '../ports/event-source.ts';
import type { ExpiredReadings, ProjectionControl } from '../ports/generations.ts';
import type {
  DeadLetter,
  GenerationId,
  ProjectionTables,
  ReadingRow,
  ReadModels,
} from '../ports/read-models.ts';
import type { Disk } from '../ports/storage.ts';
import type { Clock, Log } from '../ports/system.ts';
import type { Projection, ProjectionName } from '../projections/projection.ts';
import { Projector, type ProjectorObserver } from '../projector.ts';
import type { GenerationSweep } from '../retention/generation-sweep.ts';

/** A projection with its log, whatever its events are: all that is needed to build a generation of it. */
export type ProjectionPipeline = {
  readonly name: ProjectionName;
  /** Of the code in this release. */
  readonly version: number;

  /** A projector into a generation. With `stream`, of that stream's events only. */
  consumer(
    generation: GenerationId,
    readModels: ReadModels,
    options?: { readonly stream?: string | undefined; readonly parking?: Parking },
  ): BatchConsumer<Positioned>;

  /**
   * Has the log consumed until `signal` is aborted, beside those that consume it into other generations. Of the
   * live one, a partition that keeps failing leaves the others running.
   */
  run(
    consumer: BatchConsumer<Positioned>,
    generation: GenerationId,
    signal: AbortSignal,
    role?: 'live',
  ): Promise<void>;

  readonly deadLetterRetry: DeadLetterRetry;

  /** Takes over from another generation what is no longer in the log; absent where logs keep all. */
  carry?(
    older: { readonly rows: readonly ReadingRow[]; readonly deadLetters: readonly DeadLetter[] },
    tables: ProjectionTables,
  ): Promise<void>;

  /** Rows of one device depend on those of others: only all of them can be rebuilt. */
  readonly isWhole?: true;

  /** Moves the checkpoints to the end of the log until there is something to consume it for; absent where there always is. */
  untilNeeded?(of: GenerationId, signal: AbortSignal): Promise<void>;

  /** Absent where everything is kept for ever. */
  readonly retention?: GenerationSweep;
} & Pick<EventSource<Positioned>, 'ends' | 'expired' | 'countAfter' | 'partitioner' | 'identity' | 'eventAt'>;

type LiveParts<Event extends Positioned> = {
  readonly clock: Clock;
  readonly log: Log;
  /** Called for the live generation only: history is not late, and its events were counted when they came. */
  readonly observer: ProjectorObserver<Event>;
  /** What else is to happen with each batch of the live generation. */
  readonly around?: ((consumer: BatchConsumer<Event>) => BatchConsumer<Event>) | undefined;
};

export function projectionPipeline<Event extends Positioned, Decoded>(
  projection: Projection<Event, Decoded>,
  source: EventSource<Event>,
  group: string,
  { clock, log, observer, around = (consumer) => consumer }: LiveParts<Event>,
): ProjectionPipeline {
  return {
    name: projection.name,
    version: projection.version,
    ends: () => source.ends(),
    expired: () => source.expired(),
    countAfter: (...asked) => source.countAfter(...asked),
    partitioner: () => source.partitioner(),
    identity: () => source.identity(),
    eventAt: (partition, position) => source.eventAt(partition, position),
    deadLetterRetry: deadLetterRetry(projection, clock),

    consumer(generation, readModels, options) {
      const { stream, parking } = options ?? {};
      const building = {
        ...(stream !== undefined && { only: (event: Event) => projection.describe(event).stream === stream }),
        ...(parking && { parking }),
      };
      const parts = { projection, generation, readModels, clock, log };
      const consumer = new Projector({ ...parts, observer: options ? unobserved : observer }, building);
      return new LogGuard(
        options ? consumer : around(consumer),
        generation,
        readModels,
        source,
      ) as BatchConsumer<Positioned>;
    },

    run: (consumer, { generation }, signal, role) =>
      source.run(consumer as BatchConsumer<Event>, {
        group: generation === 1 ? group : `${group}-g${generation}`,
        signal,
        keepsOthers: role === 'live',
        ...(projection.batchEvents !== undefined && { batchEvents: projection.batchEvents }),
      }),
  };
}

export const unobserved = { consumed() {}, failed() {} };

/** What building a generation needs besides the projection itself. */
export type RebuildPorts = {
  readonly control: ProjectionControl;
  readonly readModels: ReadModels;
  readonly deadLetters: DeadLetters;
  readonly gap: ExpiredReadings;
  readonly clock: Clock;
  /** Of the files that builds fill; absent where a server has them. */
  readonly disk?: Disk | undefined;
  /** Retired generations that stay, of each projection. */
  readonly keepGenerations: number;
};
