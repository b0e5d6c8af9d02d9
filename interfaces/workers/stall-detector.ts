import { pause } from '../../application/pause.ts';
import {
  type BatchConsumer,
  comparePositions,
  type EventSource,
  type Position,
  type Positioned,
} from '../../application/ports/event-source.ts';
import type { GenerationId } from '../../application/ports/read-models.ts';
import type { Clock, Log } from '../../application/ports/system.ts';

/** Tells a process whose projectors stand still from one that only waits for events or for a server. */
export type ProjectorWatch = {
  /** The supervisor has been round; `running` is what should be moving now, if that can be known. */
  looked(projection: string, running: GenerationId | undefined): void;
  /** The consumer, with an eye on the batches it is handed and on how far it is behind its log. */
  over<Event extends Positioned>(
    projection: string,
    consumer: BatchConsumer<Event>,
    log: Pick<EventSource<Event>, 'ends'>,
  ): BatchConsumer<Event>;
  /** Looks how far the projections have come until `signal` is aborted. */
  follow(signal: AbortSignal): Promise<void>;
  /** Of each projection, what stands still; `null` while nothing does. */
  stalls(): ReadonlyMap<string, string | null>;
};

type Watched = {
  running: GenerationId | undefined;
  runningSince: number;
  lookedAt: number;
  /** The batch that came last in a partition, while it is under way. */
  readonly underWay: Map<number, { readonly since: number }>;
  positions: () => Promise<readonly { readonly at: Position | null; readonly end: Position | null }[]>;
  /** Where everybody's work on it had come to at the last look, and for how many looks it has been so. */
  standing: string;
  looksWithoutProgress: number;
};

/** So many looks must find the same: one that was itself held up then says nothing. */
const checks = 12;

/** What has not moved for `patience` milliseconds although it should stands still. */
export function stallDetector(patience: number, clock: Clock, log: Log): ProjectorWatch {
  const watched = new Map<string, Watched>();
  return { looked, over, follow, stalls };

  function of(projection: string): Watched {
    const known = watched.get(projection);
    if (known) return known;
    const now = clock.now();
    const fresh: Watched = {
      running: undefined,
      runningSince: now,
      lookedAt: now,
      underWay: new Map(),
      positions: async () => [],
      standing: '',
      looksWithoutProgress: 0,
    };
    watched.set(projection, fresh);
    return fresh;
  }

  function looked(projection: string, running: GenerationId | undefined): void {
    const one = of(projection);
    one.lookedAt = clock.now();
    if (running?.generation === one.running?.generation) return;
    one.running = running;
    one.runningSince = one.lookedAt;
    one.looksWithoutProgress = 0;
  }

  function over<Event extends Positioned>(
    projection: string,
    consumer: BatchConsumer<Event>,
    source: Pick<EventSource<Event>, 'ends'>,
  ): BatchConsumer<Event> {
    const one = of(projection);
    const { underWay } = one;
    const seen = new Map<number, Position | null>();
    one.positions = async () =>
      Promise.all(
        [...(await source.ends())].map(async ([partition, end]) => {
          const before = seen.get(partition) ?? null;
          // A checkpoint only goes forward: one that had come to the end need not be asked for again.
          const at = comparePositions(before, end) < 0 ? await consumer.checkpoint(partition) : before;
          seen.set(partition, at);
          return { at, end };
        }),
      );
    return {
      checkpoint: (partition) => consumer.checkpoint(partition),
      async consume(batch) {
        const mine = { since: clock.now() };
        underWay.set(batch.partition, mine);
        try {
          await consumer.consume(batch);
        } finally {
          if (underWay.get(batch.partition) === mine) underWay.delete(batch.partition);
        }
      },
    };
  }

  async function follow(signal: AbortSignal): Promise<void> {
    // A process that is to end is not to be judged any more.
    signal.addEventListener('abort', () => watched.clear());
    const told = new Map<string, string | null>();
    while (!signal.aborted) {
      await pause(patience / checks, signal);
      await Promise.all([...watched.values()].map(look));
      for (const [projection, stall] of stalls()) {
        if (stall !== null && !told.get(projection))
          log.error({ projection, stall }, 'projector stands still');
        told.set(projection, stall);
      }
    }
  }

  async function look(one: Watched): Promise<void> {
    if (!one.running) return;
    try {
      const positions = await one.positions();
      const lastPositions = JSON.stringify(positions.map(({ at }) => at));
      const isBehind = positions.some(({ at, end }) => comparePositions(at, end) < 0);
      one.looksWithoutProgress =
        isBehind && lastPositions === one.standing ? one.looksWithoutProgress + 1 : 0;
      one.standing = lastPositions;
    } catch {
      // A server is away, which readiness tells: to start this process again would not bring it back.
      one.looksWithoutProgress = 0;
    }
  }

  function stalls(): ReadonlyMap<string, string | null> {
    return new Map([...watched].map(([projection, one]) => [projection, stallOf(one)]));
  }

  function stallOf({ running, runningSince, lookedAt, underWay, looksWithoutProgress }: Watched) {
    const now = clock.now();
    if (now - lookedAt > patience) return `nobody has looked after it for ${now - lookedAt} ms`;
    if (!running) return null;
    for (const [partition, { since }] of underWay) {
      const waited = now - Math.max(since, runningSince);
      if (waited > patience) return `a batch of partition ${partition} has been under way for ${waited} ms`;
    }
    return looksWithoutProgress >= checks
      ? `events have waited for ${patience} ms and none was consumed`
      : null;
  }
}
