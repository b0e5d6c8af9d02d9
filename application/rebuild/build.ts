import { parkingLike } from '../parking.ts';
import { pause } from '../pause.ts';
import type { BatchConsumer, Position, Positioned } from '../ports/event-source.ts';
import {
  type BuildPhase,
  type BuildProgress,
  type HeldGeneration,
  RebuildUnderWay,
} from '../ports/generations.ts';
import type { GenerationId, ReadModels } from '../ports/read-models.ts';
import type { Clock } from '../ports/system.ts';
import { countLag } from '../progress.ts';
import { covers, PositionGate, type Positions } from './position-gate.ts';
import type { ProjectionPipeline, ReplayPorts } from './projection-pipeline.ts';

type BuildOrder = {
  readonly what: ProjectionPipeline;
  readonly live: GenerationId;
  readonly next: GenerationId;
  /** Build of this stream alone. */
  readonly stream?: string | undefined;
  /** The live generation may stand still: go on to the end of the log without it. */
  readonly overtakes: boolean;
  readonly runner: string;
  readonly throttle: number | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: ((progress: BuildProgress) => void) | undefined;
};

/** A generation being filled beside the live one. */
export type Build = {
  enter(phase: BuildPhase): Promise<void>;
  /** Comes near to where the live generation stands, or to the end of the log. */
  catchUp(): Promise<void>;
  /**
   * Brings the generation to where the live one stands, holds both there and does `then` before letting go. Answers
   * with whether they stand at the same position; they do not where this one has overtaken.
   */
  align(then: (held: HeldGeneration) => Promise<void>): Promise<boolean>;
  /** Lets everything pass, for `milliseconds`, when all is done: to be stopped then is no failure. */
  goOn(milliseconds: number): Promise<void>;
};

const reportEveryMilliseconds = 1_000;
/** A round of catching up that took no longer leaves no more than that behind. */
const nearMilliseconds = 500;
const mostRounds = 100;

/** Runs `work` on a build that is reported alive meanwhile, and stops it. Throws what the projection throws. */
export async function runBuild<T>(
  order: BuildOrder,
  ports: ReplayPorts,
  work: (build: Build) => Promise<T>,
): Promise<T> {
  const { what, live, next, overtakes, runner, throttle, onProgress } = order;
  const { control, readModels, clock } = ports;
  const failure = new AbortController();
  const ended = AbortSignal.any([order.signal, failure.signal]);
  const progress = progressOf(clock);
  let phase: BuildPhase = 'fill';
  let isDone = false;
  let session = openSession();
  let reporting: Promise<unknown> = Promise.resolve();
  const reports = setInterval(() => {
    reporting = report().catch((error) => {
      // A database that is away for a moment ends what needs it, not this.
      if (error instanceof RebuildUnderWay) failure.abort(error);
    });
  }, reportEveryMilliseconds);

  try {
    return await orAbort(
      work({
        enter,
        catchUp,
        align,
        async goOn(milliseconds) {
          isDone = true;
          session.gate.limit('none');
          await pause(milliseconds, ended);
        },
      }),
    );
  } finally {
    clearInterval(reports);
    await session.stop();
    await reporting;
    await report().catch(() => {
      // It reports for the last time; whoever took over reports from now on.
    });
  }

  async function enter(entered: BuildPhase): Promise<void> {
    phase = entered;
    await report();
  }

  async function report(): Promise<void> {
    const now = progress.now(phase);
    onProgress?.(now);
    await control.report(next, runner, now);
  }

  function openSession() {
    const stopped = new AbortController();
    const signal = AbortSignal.any([ended, stopped.signal]);
    const borrowed = new SwitchableReadModels(readModels);
    const parking = parkingLike(live, ports.letters);
    const projector = what.consumer(next, borrowed, { parking, stream: order.stream });
    const gate = new PositionGate(projector, signal, (events) => progress.add(events.length));
    const rate = () => (phase === 'fill' || phase === 'catch-up' ? throttle : undefined);
    const running = what.run(stopOnPoison(throttled(gate, rate, signal)), next, signal);
    running.catch((error) => failure.abort(error));
    return {
      gate,
      borrowed,
      async stop() {
        stopped.abort();
        await running.catch(() => {
          // Told by `failure` already.
        });
      },
    };
  }

  /** A source would try again what can only fail again. */
  function stopOnPoison(inner: BatchConsumer<Positioned>): BatchConsumer<Positioned> {
    return {
      checkpoint: (partition) => inner.checkpoint(partition),
      consume: (batch, waiting) =>
        inner.consume(batch, waiting).catch((error) => {
          if (error.name === 'PoisonEvent') failure.abort(error);
          throw error;
        }),
    };
  }

  async function catchUp(): Promise<void> {
    for (let round = 0; round < mostRounds; round += 1) {
      const started = performance.now();
      const target = overtakes ? await endsOf(what) : await positionsOf(live, what, readModels);
      progress.remaining(
        await distance(nowhere, target),
        await distance(await positionsOf(next, what, readModels), target),
      );
      if (round === 0) await report();
      session.gate.limit(target);
      await orAbort(session.gate.whenReached(target));
      if (phase === 'fill') await enter('catch-up');
      if (round > 0 && performance.now() - started < nearMilliseconds) return;
    }
  }

  async function align(then: (held: HeldGeneration) => Promise<void>): Promise<boolean> {
    for (;;) {
      await session.gate.close();
      const { gate, borrowed } = session;
      let samePosition = true;
      let calls = 0;
      try {
        await control.hold(live, async (held) => {
          calls += 1;
          // What the first call consumed was taken back: the session believes in it, so it cannot be used again.
          if (calls > 1) throw new HoldRolledBack();
          borrowed.use(held.readModels);
          gate.limit(held.checkpoints);
          await orAbort(gate.whenReached(held.checkpoints));
          await gate.close();
          samePosition = covers(held.checkpoints, gate.reached);
          await then(held);
        });
        return samePosition;
      } catch (error) {
        if (!(error instanceof HoldRolledBack)) throw error;
        await session.stop();
        session = openSession();
      } finally {
        borrowed.use(readModels);
      }
    }
  }

  /** How many events lie between two places, as far as the log can count. */
  async function distance(from: Positions, to: Positions): Promise<number> {
    const lagAt = (positions: Positions) =>
      countLag(
        what,
        [...positions].map(([partition, position]) => ({ partition, position })),
      );
    return Math.max(0, (await lagAt(from)) - (await lagAt(to)));
  }

  function orAbort<Result>(promise: Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      const end = () => {
        if (!isDone) reject(ended.reason);
      };
      if (ended.aborted) end();
      ended.addEventListener('abort', end);
      promise.then(resolve, reject).finally(() => ended.removeEventListener('abort', end));
    });
  }
}

/** The transaction that held the live generation was lost and what it did was taken back. */
class HoldRolledBack extends Error {}

/** Read models that for a while are those inside somebody's transaction. */
class SwitchableReadModels implements ReadModels {
  #current: ReadModels;

  constructor(own: ReadModels) {
    this.#current = own;
  }

  use(readModels: ReadModels): void {
    this.#current = readModels;
  }

  checkpoint: ReadModels['checkpoint'] = (...args) => this.#current.checkpoint(...args);
  transact: ReadModels['transact'] = (...args) => this.#current.transact(...args);
  repair: ReadModels['repair'] = (...args) => this.#current.repair(...args);
}

function progressOf(clock: Clock) {
  const started = clock.now();
  let last = started;
  let doneBefore = 0;
  let done = 0;
  let total = 0;
  return {
    add(events: number): void {
      done += events;
      last = clock.now();
    },
    /** Told of all events there are and of those to come, which no run before has consumed. */
    remaining(all: number, left: number): void {
      if (done === 0) doneBefore = Math.max(0, all - left);
      total = doneBefore + done + left;
    },
    now: (phase: BuildPhase): BuildProgress => ({
      phase,
      done: doneBefore + done,
      total: Math.max(doneBefore + done, total),
      rate: Math.round(done / Math.max(0.001, (last - started) / 1000)),
    }),
  };
}

const nowhere: Positions = new Map();

async function endsOf({ ends }: ProjectionPipeline): Promise<Positions> {
  return new Map([...(await ends())].filter((end): end is [number, Position] => end[1] !== null));
}

/** Where a generation stands in each partition of its log. */
async function positionsOf(
  of: GenerationId,
  { ends }: ProjectionPipeline,
  readModels: ReadModels,
): Promise<Positions> {
  const found = new Map<number, Position>();
  for (const partition of (await ends()).keys()) {
    const position = await readModels.checkpoint(of, partition);
    if (position !== null) found.set(partition, position);
  }
  return found;
}

/** Pieces a second: the pace is even, and a wait never long. */
const steps = 5;

/** Takes no more than so many events a second; `rate` may change at any time, and be none. */
export function throttled(
  inner: BatchConsumer<Positioned>,
  rate: () => number | undefined,
  signal: AbortSignal,
): BatchConsumer<Positioned> {
  return {
    checkpoint: (partition) => inner.checkpoint(partition),
    async consume(batch, waiting) {
      if (rate() === undefined) return inner.consume(batch, waiting);
      // The next batch must not come before the last pause is over.
      let { onApplied: _, ...rest } = batch;
      while (rest.events.length > 0) {
        const limit = rate();
        const size = limit === undefined ? rest.events.length : Math.max(1, Math.floor(limit / steps));
        const events = rest.events.slice(0, size);
        const started = performance.now();
        await inner.consume({ ...rest, events }, waiting);
        if (limit !== undefined)
          await pause((events.length / limit) * 1000 - (performance.now() - started), signal);
        rest = {
          ...rest,
          after: events.at(-1)?.position ?? rest.after,
          events: rest.events.slice(events.length),
        };
      }
    },
  };
}
