import { countLag } from '../freshness.ts';
import type { Clock } from '../ports/clock.ts';
import type { BatchConsumer, EventSource, Positioned } from '../ports/event-source.ts';
import { comparePositions, type Position } from '../ports/position.ts';
import type {
  BuildPhase,
  GenerationDigest,
  ProjectionControl,
  ProjectionState,
} from '../ports/projection-control.ts';
import type { Generation, ReadModels } from '../ports/read-models.ts';
import { GatedConsumer } from './gated-consumer.ts';

export type RebuildProgress = {
  readonly phase: BuildPhase;
  /** Events consumed by this run and those that were in the log when it was last asked. */
  readonly done: number;
  readonly total: number;
  /** Events a second, over this run. */
  readonly rate: number;
};

export type RebuildOptions = {
  /** Who this is, as another operator is told. */
  readonly runner: string;
  /** Events a second at most. */
  readonly throttle?: number;
  /** Switch even when the tables differ from the live ones; for when they should. */
  readonly acceptDifferences?: boolean;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: RebuildProgress) => void;
};

export type RebuildOutcome = {
  readonly generation: number;
  readonly replaced: number;
  readonly resumed: boolean;
  readonly switched: boolean;
  readonly equal: boolean;
  /** The live generation first. */
  readonly digests: readonly GenerationDigest[];
};

/** What is rebuilt: the projection, its log, and a projector for a generation of it over given read models. */
export type Rebuildable = {
  readonly name: string;
  readonly version: number;
  consumer(of: Generation, readModels: ReadModels): BatchConsumer<Positioned>;
  /** Has the log consumed until `signal` is aborted, beside those that consume it into other generations. */
  run(consumer: BatchConsumer<Positioned>, of: Generation, signal: AbortSignal): Promise<void>;
} & Pick<EventSource<Positioned>, 'ends' | 'expired' | 'countAfter'>;

/** History no longer reaches back to the first event: the rebuilt tables would hold less than the live ones. */
export class HistoryExpired extends Error {
  override readonly name = 'HistoryExpired';
}

const heardWithinMilliseconds = 15_000;
const reportEveryMilliseconds = 2_000;
const comparisons = 20;
const handoverMilliseconds = 3_000;

/**
 * Builds the next generation of a projection beside the live one, compares the two at the same position and makes
 * the new one active in one transaction. Killed at any moment, the next call goes on where it stopped. Throws
 * `RebuildUnderWay`, `HistoryExpired`, and whatever the projection throws at an event it cannot take.
 */
export async function rebuild(
  what: Rebuildable,
  control: ProjectionControl,
  readModels: ReadModels,
  clock: Clock,
  options: RebuildOptions,
): Promise<RebuildOutcome> {
  await refuseExpired(what);
  const { generation, resumed } = await control.claim(
    what.name,
    what.version,
    options.runner,
    clock.now() - heardWithinMilliseconds,
  );
  const next = { projection: what.name, generation };
  const active = async (): Promise<Generation> => ({
    projection: what.name,
    generation: (await stateOf(what.name, control)).active,
  });

  const build = await startBuild(what, next, control, readModels, clock, options);
  try {
    await build.caughtUp();
    const live = await active();
    const digests = await build.compared(live);
    const equal = digests.length === 2 && sameTables(digests[0], digests[1]);
    const switched = equal || options.acceptDifferences === true;
    if (switched) await build.switched(live);
    else await control.finish(next);
    return { generation, replaced: live.generation, resumed, switched, equal, digests };
  } finally {
    await build.stop();
  }
}

type Build = {
  caughtUp(): Promise<void>;
  compared(live: Generation): Promise<readonly GenerationDigest[]>;
  switched(live: Generation): Promise<void>;
  stop(): Promise<void>;
};

async function startBuild(
  what: Rebuildable,
  next: Generation,
  control: ProjectionControl,
  readModels: ReadModels,
  clock: Clock,
  { runner, throttle, signal, onProgress }: RebuildOptions,
): Promise<Build> {
  const stopped = new AbortController();
  const either = AbortSignal.any([signal, stopped.signal]);
  const borrowed = new BorrowedReadModels(readModels);
  const started = clock.now();
  let phase: BuildPhase = 'fill';
  let done = 0;
  let total = 0;

  const gate = new GatedConsumer(what.consumer(next, borrowed), either, (events) => {
    done += events;
  });
  const throttled = throttle === undefined ? gate : throttledConsumer(gate, throttle, clock, either);
  const running = what.run(throttled, next, either);
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  running.catch((error) => {
    failed.reject(error);
    stopped.abort(error);
  });
  const reports = setInterval(() => {
    tell();
    control.report(next, runner, phase).catch((error) => {
      failed.reject(error);
      stopped.abort(error);
    });
  }, reportEveryMilliseconds);
  either.addEventListener('abort', () => failed.reject(either.reason), { once: true });

  return {
    caughtUp: () =>
      orFailure(async () => {
        for (let lag = Number.POSITIVE_INFINITY; lag > 0; ) {
          const ends = definedEntries(await what.ends());
          total = Math.max(total, done + (await lagNow()));
          tell();
          await gate.untilReached(ends);
          phase = 'catch-up';
          lag = Math.min(lag / 2, await lagNow());
          if (lag < 1000) lag = 0;
        }
      }),

    compared: (live) =>
      orFailure(async () => {
        phase = 'compare';
        await control.report(next, runner, phase);
        for (let attempt = 0; attempt < comparisons; attempt += 1) {
          await alignedWith(live);
          const digests = await control.digests([live, next]);
          gate.limit(undefined);
          if (sameCheckpoints(digests)) return digests;
        }
        throw new Error(`${what.name} moved on during every one of ${comparisons} comparisons`);
      }),

    switched: (live) =>
      orFailure(async () => {
        phase = 'switch';
        await control.report(next, runner, phase);
        await alignedWith(live, (held) => held.switchTo(next));
        gate.limit(undefined);
        // Workers notice within a moment and take over; until then readers must not fall behind.
        await pause(handoverMilliseconds, either);
      }),

    async stop() {
      clearInterval(reports);
      stopped.abort();
      await running.catch(() => {});
      tell();
    },
  };

  function orFailure<T>(work: () => Promise<T>): Promise<T> {
    return Promise.race([work(), failed.promise]);
  }

  /** Brings the new generation to exactly where the live one is held, and then does `then` before letting go. */
  async function alignedWith(
    live: Generation,
    then: (held: Parameters<Parameters<ProjectionControl['hold']>[1]>[0]) => Promise<void> = async () => {},
  ): Promise<void> {
    for (;;) {
      await gate.close();
      let aligned = false;
      await control.hold(live, async (held) => {
        if (isAhead(gate.reached, held.checkpoints)) return;
        borrowed.use(held.readModels);
        try {
          gate.limit(held.checkpoints);
          await orFailure(() => gate.untilReached(held.checkpoints));
          await gate.close();
          await then(held);
          aligned = true;
        } finally {
          borrowed.use(readModels);
        }
      });
      if (aligned) return;
      await pause(20, either);
    }
  }

  async function lagNow(): Promise<number> {
    const checkpoints = [...gate.reached].map(([partition, position]) => ({ partition, position }));
    return countLag(what, checkpoints);
  }

  function tell(): void {
    const seconds = Math.max(0.001, (clock.now() - started) / 1000);
    onProgress?.({ phase, done, total: Math.max(total, done), rate: done / seconds });
  }
}

/** Read models that for a while are those inside somebody's transaction. */
class BorrowedReadModels implements ReadModels {
  #current: ReadModels;

  constructor(own: ReadModels) {
    this.#current = own;
  }

  use(readModels: ReadModels): void {
    this.#current = readModels;
  }

  checkpoint: ReadModels['checkpoint'] = (...args) => this.#current.checkpoint(...args);
  transact: ReadModels['transact'] = (...args) => this.#current.transact(...args);
}

function throttledConsumer(
  inner: BatchConsumer<Positioned>,
  rate: number,
  clock: Clock,
  signal: AbortSignal,
): BatchConsumer<Positioned> {
  const started = clock.now();
  let consumed = 0;
  return {
    checkpoint: (partition) => inner.checkpoint(partition),
    async consume(batch) {
      await inner.consume(batch);
      consumed += batch.events.length;
      await pause(started + (consumed / rate) * 1000 - clock.now(), signal);
    },
  };
}

async function refuseExpired({ name, expired }: Rebuildable): Promise<void> {
  const lost = [...(await expired())].filter(([, upTo]) => upTo !== null);
  if (lost.length === 0) return;
  const where = lost.map(([partition, upTo]) => `up to ${upTo} in partition ${partition}`).join(', ');
  throw new HistoryExpired(
    `The log of ${name} no longer has its first events (${where}): they would be lost`,
  );
}

async function stateOf(name: string, control: ProjectionControl): Promise<ProjectionState> {
  const state = (await control.states()).find(({ projection }) => projection === name);
  if (!state) throw new Error(`There is no projection named ${name}`);
  return state;
}

function isAhead(reached: ReadonlyMap<number, Position>, held: ReadonlyMap<number, Position>): boolean {
  return [...reached].some(
    ([partition, position]) => comparePositions(position, held.get(partition) ?? null) > 0,
  );
}

function sameCheckpoints([live, next]: readonly GenerationDigest[]): boolean {
  if (!live || !next || live.checkpoints.size !== next.checkpoints.size) return false;
  return [...live.checkpoints].every(([partition, position]) => next.checkpoints.get(partition) === position);
}

function sameTables(live: GenerationDigest | undefined, next: GenerationDigest | undefined): boolean {
  if (!live || !next) return false;
  return live.tables.every(
    ({ rows, digest }, i) => next.tables[i]?.rows === rows && next.tables[i]?.digest === digest,
  );
}

function definedEntries(ends: ReadonlyMap<number, Position | null>): ReadonlyMap<number, Position> {
  return new Map([...ends].filter((end): end is [number, Position] => end[1] !== null));
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted || milliseconds <= 0) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done);
  });
}
