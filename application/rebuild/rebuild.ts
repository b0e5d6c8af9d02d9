import { assertOwnLog } from '../log-guard.ts';
import {
  activeGeneration,
  type BuildProgress,
  type Comparison,
  type GenerationState,
  type LeaseOwner,
  type ProjectionState,
  projectionState,
  RebuildUnderWay,
  ReplayRefused,
} from '../ports/generations.ts';
import type { GenerationId } from '../ports/read-models.ts';
import { storageFaultOf } from '../ports/storage.ts';
import { type Build, runBuild } from './build.ts';
import { type Claimed, claimNext, isOfThisLog, SwitchedMeanwhile } from './claim.ts';
import { compareGenerations, losses, nothingCompared } from './comparison.ts';
import { hasAppliedDiscarded } from './dead-letters.ts';
import { assertNoLoss, copyExpired, expiredHistory, hasMissed } from './expired-history.ts';
import type { ProjectionPipeline, RebuildPorts } from './projection-pipeline.ts';

export type ReplayOptions = {
  readonly builder: LeaseOwner;
  /** Events a second at most. */
  readonly throttle?: number | undefined;
  readonly signal: AbortSignal;
  /** For how many milliseconds to continue after a switch: workers look every half second and then take over. */
  readonly handover?: number | undefined;
  /** The generation is this runner's from now on. */
  readonly onClaimed?: ((claimed: Claimed) => void) | undefined;
  readonly onProgress?: ((progress: BuildProgress) => void) | undefined;
};

export type RebuildOptions = ReplayOptions & {
  /** Carry over what the log no longer has. */
  readonly keepOlder?: boolean;
};

export type RebuildOutcome = {
  readonly projection: string;
  readonly generation: number;
  /** The generation that was active before. */
  readonly replaced: number;
  readonly switched: boolean;
  readonly resumed: boolean;
  readonly comparison: Comparison;
  /** Generations that were one too many to keep, removed with their tables. */
  readonly dropped: readonly number[];
};

const usualHandover = 1_000;

/**
 * Builds the next generation of a projection beside the live one, compares the two at the same position and makes
 * the new one active in one transaction; with differences that no new version explains it only becomes `ready`.
 * Killed at any moment, the next call continues where it stopped. Throws `RebuildUnderWay`, `SwitchedMeanwhile`,
 * `HistoryExpired` and `PoisonEvent`.
 */
export async function rebuild(
  pipeline: ProjectionPipeline,
  ports: RebuildPorts,
  options: RebuildOptions,
): Promise<RebuildOutcome> {
  return rebuildFrom(await activeGeneration(pipeline, ports.control), pipeline, ports, options);
}

/** `alone`: nobody has asked for it, so a generation with fewer rows only becomes `ready`. */
export async function rebuildFrom(
  live: GenerationState,
  pipeline: ProjectionPipeline,
  ports: RebuildPorts,
  { keepOlder = false, ...options }: RebuildOptions,
  by: 'an operator' | 'alone' = 'an operator',
): Promise<RebuildOutcome> {
  const isOtherLog = !(await isOfThisLog(live, pipeline, ports));
  const expired = isOtherLog ? undefined : await expiredHistory(pipeline);
  if (expired && !keepOlder) await assertNoLoss(pipeline, live, expired, ports);
  const request = { projection: pipeline.name, version: pipeline.version, device: null };
  const mayPassLive = isOtherLog || live.version !== pipeline.version;
  const claim = { live, pipeline, request, isOtherLog };
  const { resumed, ...next } = await claimNext(claim, ports, options.builder);
  const terms = { next, live, mayPassLive, isOtherLog, resumed };

  return withClaim(pipeline, ports, options, terms, async (build) => {
    if (expired) await copyExpired(pipeline, live, next, expired, ports);
    // No further than the live one: what was retracted or deleted since would be fewer rows.
    await build.catchUp();
    const keepsOlder = expired !== undefined && keepOlder;
    const comparison = await compareGenerations(build, pipeline, terms, ports, options, keepsOlder);
    const isExplained = mayPassLive || keepsOlder;
    const isLoss = by === 'alone' && losses(comparison).length > 0;
    const switched = comparison.equal || (isExplained && !isLoss);
    if (switched) await switchTo(build, next, options);
    return { switched, comparison };
  });
}

/**
 * Catches up a generation that waits or has retired, and makes it the active one whatever differs. Refused where the log
 * no longer has what it has yet to consume.
 */
export async function activate(
  pipeline: ProjectionPipeline,
  which: 'ready' | 'retired',
  ports: RebuildPorts,
  options: ReplayOptions,
): Promise<RebuildOutcome> {
  const { control } = ports;
  const live = await activeGeneration(pipeline, control);
  const chosen = chosenGeneration(await projectionState(pipeline, control), which);
  if (chosen.version !== pipeline.version)
    throw new ReplayRefused(
      `Generation ${chosen.generation} of ${pipeline.name} was built by version ${chosen.version} of its code and this ` +
        `release has version ${pipeline.version}: run this with the release that built it`,
    );
  const next = { projection: pipeline.name, generation: chosen.generation };
  if (await hasMissed(next, pipeline, ports.readModels))
    throw new ReplayRefused(
      `Generation ${chosen.generation} of ${pipeline.name} has yet to consume events that the log no longer has, and ` +
        'would not have them: keep the active one, or rebuild and keep what is older',
    );
  await control.reopen(next, options.builder);
  const now = await activeGeneration(pipeline, control);
  if (now.generation !== live.generation) {
    await control.release(next, options.builder.id, null, false);
    throw new SwitchedMeanwhile(now);
  }
  const isOtherLog = !(await isOfThisLog(live, pipeline, ports));
  const terms = { next, live, mayPassLive: true, isOtherLog, resumed: true };
  return withClaim(pipeline, ports, options, terms, async (build) => {
    await build.catchUp();
    const comparison = await compareGenerations(build, pipeline, terms, ports, options);
    await switchTo(build, next, options);
    return { switched: true, comparison };
  });
}

/** Builds one device's rows beside the live ones and puts them in their place in one transaction. */
export async function rebuildDevice(
  pipeline: ProjectionPipeline,
  { deviceId, stream }: { readonly deviceId: string; readonly stream: string },
  ports: RebuildPorts,
  { keepOlder = false, ...options }: RebuildOptions,
): Promise<{ readonly projection: string; readonly generation: number; readonly deviceId: string }> {
  const { control } = ports;
  const { retention } = pipeline;
  if (pipeline.isWhole)
    throw new ReplayRefused(
      `Rows of one device of ${pipeline.name} depend on those of others: rebuild all of it`,
    );
  const live = await activeGeneration(pipeline, control);
  if (live.version !== pipeline.version)
    throw new ReplayRefused(
      `The active generation of ${pipeline.name} is of version ${live.version} and this release of ${pipeline.version}: ` +
        'rebuild all of it',
    );
  await assertOwnLog(live, ports.readModels, pipeline);
  const expired = await expiredHistory(pipeline, { deviceId, stream });
  if (expired && !keepOlder) await assertNoLoss(pipeline, live, expired, ports);
  const request = { projection: pipeline.name, version: pipeline.version, device: deviceId };
  const claim = { live, pipeline, request, isOtherLog: false, stream };
  const { resumed, ...next } = await claimNext(claim, ports, options.builder);
  const terms = { next, live, mayPassLive: false, isOtherLog: false, resumed, stream };
  await withClaim(pipeline, ports, options, terms, async (build) => {
    if (expired) await copyExpired(pipeline, live, next, expired, ports);
    await build.catchUp();
    await build.enter('switch');
    const adopt = () =>
      build.align(async (held) => {
        if (await hasAppliedDiscarded(live, next, pipeline, ports.deadLetters, ports.readModels, stream))
          throw new ReplayRefused(`Events of ${deviceId} were discarded meanwhile: try again`);
        await held.adopt(next, deviceId, stream);
      });
    if (retention)
      await retention.withoutSweeps(options.builder, options.signal, async () => {
        await build.align(async () => {});
        await retention.catchUpSweeps(live, next, options.signal, deviceId);
        await adopt();
      });
    else await adopt();
    return { switched: true, comparison: nothingCompared };
  });
  await control.drop(next, options.builder);
  return { projection: pipeline.name, generation: live.generation, deviceId };
}

type Terms = {
  readonly next: GenerationId;
  readonly live: GenerationState;
  readonly mayPassLive: boolean;
  readonly isOtherLog: boolean;
  readonly resumed: boolean;
  readonly stream?: string;
};

/** Does the work of a claimed generation and lets go of it, whatever comes. */
async function withClaim(
  pipeline: ProjectionPipeline,
  ports: RebuildPorts,
  { builder, throttle, signal, onClaimed, onProgress }: ReplayOptions,
  { next, live, mayPassLive, isOtherLog, resumed, stream }: Terms,
  work: (build: Build) => Promise<{ readonly switched: boolean; readonly comparison: Comparison }>,
): Promise<RebuildOutcome> {
  const { control } = ports;
  onClaimed?.({ ...next, resumed });
  const { id: runner } = builder;
  const order = {
    pipeline,
    live,
    next,
    stream,
    mayPassLive,
    isOtherLog,
    runner,
    throttle,
    signal,
    onProgress,
  };
  const { switched, comparison } = await runBuild(order, ports, work).catch(async (error) => {
    const message = error instanceof Error ? error.message : String(error);
    // What went wrong before matters more than that it cannot be written down.
    await control.release(next, runner, { result: 'failed', error: message }, false).catch(() => {});
    // What it took is needed by others, and continuing would need as much again.
    if (storageFaultOf(error)?.kind === 'full') await control.drop(next, builder).catch(() => {});
    throw error;
  });
  await control.release(next, runner, { result: switched ? 'switched' : 'kept', comparison }, !switched);
  return {
    projection: pipeline.name,
    generation: next.generation,
    replaced: live.generation,
    switched,
    resumed,
    comparison,
    // The switch stands whatever comes of this: what could not be dropped is found again the next time.
    dropped: stream === undefined ? await dropOldGenerations(pipeline, ports, builder).catch(() => []) : [],
  };
}

/**
 * Drops the oldest retired generations, all but as many as are to be kept, and those that wait behind a newer one.
 * Answers with their numbers: none while another owner builds.
 */
export async function dropOldGenerations(
  projection: { readonly name: string },
  { control, keepGenerations }: Pick<RebuildPorts, 'control' | 'keepGenerations'>,
  builder: LeaseOwner,
): Promise<readonly number[]> {
  const { generations } = await projectionState(projection, control);
  const newestFirst = generations.toSorted((a, b) => orderOf(b) - orderOf(a) || b.generation - a.generation);
  const kept = { retired: keepGenerations, ready: 1 };
  const dropped: number[] = [];
  for (const which of ['retired', 'ready'] as const)
    for (const one of newestFirst.filter(({ status }) => status === which).slice(kept[which]))
      try {
        await control.drop({ projection: projection.name, generation: one.generation }, builder);
        dropped.push(one.generation);
      } catch (error) {
        if (error instanceof ReplayRefused || error instanceof RebuildUnderWay) return dropped;
        throw error;
      }
  return dropped;
}

async function switchTo(
  build: Build,
  next: GenerationId,
  { handover = usualHandover }: ReplayOptions,
): Promise<void> {
  await build.catchUp('passing');
  await build.enter('switch');
  await build.align(async (held) => {
    await held.switchTo(next);
    build.finish();
  });
  await build.keepRunning(handover);
}

function chosenGeneration(
  { projection, generations }: ProjectionState,
  which: 'ready' | 'retired',
): GenerationState {
  const candidates = generations.filter(({ status }) => status === which);
  const newest = candidates.reduce<GenerationState | undefined>(
    (best, one) => (best && orderOf(best) > orderOf(one) ? best : one),
    undefined,
  );
  if (newest) return newest;
  throw new ReplayRefused(
    which === 'ready'
      ? `${projection} has no generation that waits to be switched to: rebuild it first`
      : `${projection} has no retired generation to go back to`,
  );
}

const orderOf = ({ retiredAt, generation }: GenerationState): number => retiredAt ?? generation;
