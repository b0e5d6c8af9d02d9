import { pause } from '../../application/pause.ts';
import {
  type BatchConsumer,
  comparePositions,
  type EventSource,
  furthest,
  type Position,
  type Positioned,
} from '../../application/ports/event-source.ts';
import type { GenerationId } from '../../application/ports/read-models.ts';
import type { Clock, Log } from '../../application/ports/system.ts';

type Watched = {
  running: GenerationId | undefined;
  runningSince: number;
  tickedAt: number;
  /** The latest batch of each partition, while it is being consumed, since it began or since its last progress. */
  readonly batches: Map<number, { since: number }>;
  positions: () => Promise<readonly { readonly at: Position | null; readonly end: Position | null }[]>;
  /** The positions at the last check, of all nodes' work, and how many checks found the same. */
  lastPositions: string;
  checksWithoutProgress: number;
};

/** So many checks must find no progress: after one that was itself delayed, the others still have to. */
const checks = 12;

/** Finds projections that make no progress although they should; one that waits for events or a server is not stalled. */
export class StallDetector {
  readonly #patience: number;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #watched = new Map<string, Watched>();

  /** `patience`: milliseconds without progress after which a projection is stalled. */
  constructor(patience: number, clock: Clock, log: Log) {
    this.#patience = patience;
    this.#clock = clock;
    this.#log = log;
  }

  /** To be called by the supervisor each time round; `running` is what should make progress now, if that is known. */
  supervisorTick(projection: string, running: GenerationId | undefined): void {
    const watched = this.#find(projection);
    watched.tickedAt = this.#clock.now();
    if (running?.generation === watched.running?.generation) return;
    watched.running = running;
    watched.runningSince = watched.tickedAt;
    watched.checksWithoutProgress = 0;
  }

  /** The consumer, with its batches and its lag behind the log watched. */
  watch<Event extends Positioned>(
    projection: string,
    consumer: BatchConsumer<Event>,
    { ends, checkpoint }: Pick<EventSource<Event>, 'ends'> & Pick<BatchConsumer<Event>, 'checkpoint'>,
  ): BatchConsumer<Event> {
    const watched = this.#find(projection);
    const { batches } = watched;
    const seen = new Map<number, Position | null>();
    watched.positions = async () =>
      Promise.all(
        [...(await ends())].map(async ([partition, end]) => {
          const before = seen.get(partition) ?? null;
          // A checkpoint only moves forward: one that had reached the end need not be read again.
          const at =
            comparePositions(before, end) < 0 ? furthest(before, await checkpoint(partition)) : before;
          seen.set(partition, at);
          return { at, end };
        }),
      );
    return {
      checkpoint: (partition) => consumer.checkpoint(partition),
      skipped: async (partition) => (await consumer.skipped?.(partition)) ?? null,
      skip: async (partition, after, to) => {
        seen.set(partition, furthest(seen.get(partition) ?? null, to.position));
        await consumer.skip?.(partition, after, to);
      },
      consume: async (batch, waiting) => {
        const entry = { since: this.#clock.now() };
        batches.set(batch.partition, entry);
        const onProgress = () => {
          entry.since = this.#clock.now();
          watched.checksWithoutProgress = 0;
          batch.onProgress?.();
        };
        try {
          await consumer.consume({ ...batch, onProgress }, waiting);
        } finally {
          if (batches.get(batch.partition) === entry) batches.delete(batch.partition);
        }
      },
    };
  }

  /** Checks the projections' progress until `signal` is aborted, and logs each stall once. */
  async follow(signal: AbortSignal): Promise<void> {
    // Projectors that are being stopped are not stalled.
    signal.addEventListener('abort', () => this.#watched.clear());
    const logged = new Map<string, string | null>();
    while (!signal.aborted) {
      await pause(this.#patience / checks, signal);
      await Promise.all([...this.#watched.values()].map(checkProgress));
      for (const [projection, stall] of this.stalls()) {
        if (stall !== null && !logged.get(projection))
          this.#log.error({ projection, stall }, 'projector stalled');
        logged.set(projection, stall);
      }
    }
  }

  /** Why each projection is stalled; `null` while it is not. */
  stalls(): ReadonlyMap<string, string | null> {
    return new Map([...this.#watched].map(([projection, watched]) => [projection, this.#stallOf(watched)]));
  }

  #find(projection: string): Watched {
    const known = this.#watched.get(projection);
    if (known) return known;
    const now = this.#clock.now();
    const added: Watched = {
      running: undefined,
      runningSince: now,
      tickedAt: now,
      batches: new Map(),
      positions: async () => [],
      lastPositions: '',
      checksWithoutProgress: 0,
    };
    this.#watched.set(projection, added);
    return added;
  }

  #stallOf({ running, runningSince, tickedAt, batches, checksWithoutProgress }: Watched): string | null {
    const now = this.#clock.now();
    if (now - tickedAt > this.#patience) return `its supervisor has not run for ${now - tickedAt} ms`;
    if (!running) return null;
    for (const [partition, { since }] of batches) {
      const waited = now - Math.max(since, runningSince);
      if (waited > this.#patience)
        return `a batch of partition ${partition} has been in progress for ${waited} ms`;
    }
    return checksWithoutProgress >= checks
      ? `events have waited for ${this.#patience} ms and none was consumed`
      : null;
  }
}

async function checkProgress(watched: Watched): Promise<void> {
  if (!watched.running) return;
  try {
    const positions = await watched.positions();
    const lastPositions = JSON.stringify(positions.map(({ at }) => at));
    const isBehind = positions.some(({ at, end }) => comparePositions(at, end) < 0);
    watched.checksWithoutProgress =
      isBehind && lastPositions === watched.lastPositions ? watched.checksWithoutProgress + 1 : 0;
    watched.lastPositions = lastPositions;
  } catch {
    // A server is unavailable, which readiness reports: restarting this process would not bring it back.
    watched.checksWithoutProgress = 0;
  }
}
