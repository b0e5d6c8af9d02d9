import { pause } from '../pause.ts';
import { lastPositions, type Position, type Positioned } from '../ports/event-source.ts';
import {
  type BuildPhase,
  type BuildProgress,
  type HeldGeneration,
  RebuildUnderWay,
} from '../ports/generations.ts';
import type { GenerationId, ReadModels } from '../ports/read-models.ts';
import { assertWritable, storageFaultOf } from '../ports/storage.ts';
import type { Clock } from '../ports/system.ts';
import { countLag } from '../progress.ts';
import { BuildConsumer, covers, type Positions } from './build-consumer.ts';
import { parkAll, parkingLike } from './dead-letters.ts';
import { passExpired } from './expired-history.ts';
import type { ProjectionPipeline, RebuildPorts } from './projection-pipeline.ts';

type BuildOrder = {
  readonly pipeline: ProjectionPipeline;
  readonly live: GenerationId;
  readonly next: GenerationId;
  /** Build of this stream alone. */
  readonly stream?: string | undefined;
  /** The live generation may stand still: continue to the end of the log without it. */
  readonly mayPassLive: boolean;
  /** The live generation was built from another log: its positions and dead letters say nothing of this one. */
  readonly isOtherLog: boolean;
  readonly runner: string;
  readonly throttle: number | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: ((progress: BuildProgress) => void) | undefined;
};

/** A generation being filled beside the live one. */
export type Build = {
  enter(phase: BuildPhase): Promise<void>;
  /** Comes near to where the live generation stands; with `passing`, to the end of the log where it may. */
  catchUp(passing?: 'passing'): Promise<void>;
  /**
   * Brings the generation to where the live one stands, holds both there and runs `then` before it releases them. Returns
   * whether they stand at the same position; they do not where this one has overtaken. With `committed`, what was
   * consumed is committed before `then` runs, where the engine can.
   */
  align(then: (held: HeldGeneration) => Promise<void>, how?: 'committed'): Promise<boolean>;
  /** From the switch on an abort is not an error: whoever takes the generation over ends this build's session. */
  finish(): void;
  /** Keeps consuming for `milliseconds` after the switch. */
  keepRunning(milliseconds: number): Promise<void>;
};

const reportEveryMilliseconds = 1_000;
/** A round of catching up that took no longer leaves at most that much behind. */
const nearMilliseconds = 500;
/** After so many rounds none of which was shorter than those before, more would come no nearer. */
const lastRounds = 3;
/** What an estimate of the work ahead may take. */
const countingMilliseconds = 100;

/** Runs `work` on a build, with heartbeats to the lease meanwhile, and stops it. Throws what the projection throws. */
export function runBuild<T>(
  order: BuildOrder,
  ports: RebuildPorts,
  work: (build: Build) => Promise<T>,
): Promise<T> {
  return new RunningBuild(order, ports).run(work);
}

/** A consumer of the log into the next generation, until `stop` resolves. */
type BuildSession = {
  readonly consumer: BuildConsumer<Positioned>;
  readonly readModels: SwitchableReadModels;
  stop(): Promise<void>;
};

class RunningBuild implements Build {
  readonly #order: BuildOrder;
  readonly #ports: RebuildPorts;
  readonly #progress: ProgressCounter;
  readonly #failure = new AbortController();
  readonly #ended: AbortSignal;
  #phase: BuildPhase = 'fill';
  #isDone = false;
  #session: BuildSession | undefined;

  constructor(order: BuildOrder, ports: RebuildPorts) {
    this.#order = order;
    this.#ports = ports;
    this.#progress = progressCounter(ports.clock);
    this.#ended = AbortSignal.any([order.signal, this.#failure.signal]);
  }

  async run<T>(work: (build: Build) => Promise<T>): Promise<T> {
    let reporting: Promise<unknown> = Promise.resolve();
    const reports = setInterval(() => {
      reporting = this.#report().catch((error) => {
        // Only a lost lease or a full disk ends the build: a database that is away for a moment ends what needs it.
        if (error instanceof RebuildUnderWay || storageFaultOf(error)) this.#failure.abort(error);
      });
    }, reportEveryMilliseconds);
    try {
      return await this.#orAbort(work(this));
    } finally {
      clearInterval(reports);
      await this.#session?.stop();
      await reporting;
      await this.#report().catch(() => {
        // The last report is best effort: another owner may hold the lease by now.
      });
    }
  }

  async enter(phase: BuildPhase): Promise<void> {
    this.#phase = phase;
    await this.#report();
  }

  async catchUp(passing?: 'passing'): Promise<void> {
    const { pipeline, live, next, mayPassLive, isOtherLog } = this.#order;
    const isFree = isOtherLog || (mayPassLive && passing !== undefined);
    this.#ended.throwIfAborted();
    if (!this.#session) await passExpired(pipeline, next, this.#ports.readModels);
    const { consumer } = this.#opened();
    let shortest = Number.POSITIVE_INFINITY;
    for (let round = 0, noShorter = 0; noShorter < lastRounds; round += 1) {
      const target = isFree
        ? await lastPositions(pipeline)
        : await positionsOf(live, pipeline, this.#ports.readModels);
      // Counting may read the log: it is done for the first round, which is the long one.
      if (round === 0) await this.#countRemaining(target);
      const started = performance.now();
      consumer.allowUpTo(target);
      await this.#orAbort(consumer.whenReached(target));
      if (this.#phase === 'fill') await this.enter('catch-up');
      const took = performance.now() - started;
      if (round > 0 && took < nearMilliseconds) return;
      noShorter = took < shortest * 0.9 ? 0 : noShorter + 1;
      shortest = Math.min(shortest, took);
    }
  }

  async #countRemaining(target: Positions): Promise<void> {
    const reached = await positionsOf(this.#order.next, this.#order.pipeline, this.#ports.readModels);
    this.#progress.remaining(await this.#distance(nowhere, target), await this.#distance(reached, target));
    await this.#report();
  }

  async align(then: (held: HeldGeneration) => Promise<void>, how?: 'committed'): Promise<boolean> {
    const { isOtherLog } = this.#order;
    for (;;) {
      const { consumer, readModels } = this.#opened();
      await consumer.close();
      let samePosition = true;
      let calls = 0;
      try {
        await this.#ports.control.hold(this.#order.live, async (held) => {
          calls += 1;
          // The first call's transaction was rolled back, but the session's caches assume it committed.
          if (calls > 1) throw new HoldRolledBack();
          if (how !== 'committed' || !held.beginDigests) readModels.use(held.readModels);
          const limits = isOtherLog ? nowhere : held.checkpoints;
          consumer.allowUpTo(limits);
          await this.#orAbort(consumer.whenReached(limits));
          await consumer.close();
          samePosition = !isOtherLog && covers(held.checkpoints, consumer.reached);
          await then(held);
        });
        return samePosition;
      } catch (error) {
        if (!(error instanceof HoldRolledBack)) throw error;
        this.#isDone = false;
        await this.#session?.stop();
        this.#session = undefined;
      } finally {
        readModels.use(this.#ports.readModels);
      }
    }
  }

  finish(): void {
    this.#isDone = true;
  }

  async keepRunning(milliseconds: number): Promise<void> {
    this.#opened().consumer.allowUpTo('none');
    await pause(milliseconds, this.#ended);
  }

  async #report(): Promise<void> {
    const { next, runner, onProgress } = this.#order;
    const now = this.#progress.now(this.#phase);
    onProgress?.(now);
    // While something is left: to take back what the build has written needs room too.
    if (this.#ports.disk && !this.#isDone) assertWritable(this.#ports.disk);
    await this.#ports.control.report(next, runner, now);
  }

  /** Opened when it is first needed: it begins where the generation stands then. */
  #opened(): BuildSession {
    this.#session ??= this.#openSession();
    return this.#session;
  }

  #openSession(): BuildSession {
    const { pipeline, live, next, stream, isOtherLog } = this.#order;
    const stopped = new AbortController();
    const signal = AbortSignal.any([this.#ended, stopped.signal]);
    const readModels = new SwitchableReadModels(this.#ports.readModels);
    const parking = isOtherLog ? parkAll : parkingLike(live, this.#ports.deadLetters, this.#ports.readModels);
    const projector = pipeline.consumer(next, readModels, { parking, stream });
    const consumer = new BuildConsumer(projector, {
      signal,
      rate: () => this.#rate(),
      onConsumed: (events) => this.#progress.add(events.length),
      onPoison: (error) => this.#failure.abort(error),
    });
    const running = pipeline.run(consumer, next, signal);
    running.catch((error) => this.#failure.abort(error));
    return {
      consumer,
      readModels,
      async stop() {
        stopped.abort();
        await running.catch(() => {
          // `#failure` has the error.
        });
      },
    };
  }

  /** Events a second at most, `undefined` without a limit: once the generations are compared, all speed is needed. */
  #rate(): number | undefined {
    return this.#phase === 'fill' || this.#phase === 'catch-up' ? this.#order.throttle : undefined;
  }

  /** How many events lie between two positions, as far as the log can count. */
  async #distance(from: Positions, to: Positions): Promise<number> {
    const lagAt = (positions: Positions) =>
      countLag(
        this.#order.pipeline,
        [...positions].map(([partition, position]) => ({ partition, position })),
        countingMilliseconds,
      );
    return Math.max(0, (await lagAt(from)).events - (await lagAt(to)).events);
  }

  /** Rejects when the build is aborted before the promise settles. */
  #orAbort<Result>(promise: Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      const abort = () => {
        if (!this.#isDone) reject(this.#ended.reason);
      };
      if (this.#ended.aborted) abort();
      this.#ended.addEventListener('abort', abort);
      promise.then(resolve, reject).finally(() => this.#ended.removeEventListener('abort', abort));
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
  skipped: ReadModels['skipped'] = (...args) => this.#current.skipped(...args);
  // Not stored: it would wait for the transaction of a hold, which itself may wait for what comes behind.
  skip: ReadModels['skip'] = async () => {};
  logMark: ReadModels['logMark'] = (...args) => this.#current.logMark(...args);
  transact: ReadModels['transact'] = (...args) => this.#current.transact(...args);
  repair: ReadModels['repair'] = (...args) => this.#current.repair(...args);
}

type ProgressCounter = ReturnType<typeof progressCounter>;

function progressCounter(clock: Clock) {
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
    /** `all` events there are, of which no run has consumed `left`. */
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

/** Where a generation stands in each partition of its log. */
async function positionsOf(
  generation: GenerationId,
  { ends }: ProjectionPipeline,
  readModels: ReadModels,
): Promise<Positions> {
  const found = new Map<number, Position>();
  for (const partition of (await ends()).keys()) {
    const position = await readModels.checkpoint(generation, partition);
    if (position !== null) found.set(partition, position);
  }
  return found;
}
