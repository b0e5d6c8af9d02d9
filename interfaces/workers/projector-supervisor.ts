import { pause } from '../../application/pause.ts';
import { OperatorNeeded } from '../../application/ports/event-source.ts';
import { EventStoreUnavailable } from '../../application/ports/event-store.ts';
import type { ProjectionControl, ProjectionState } from '../../application/ports/generations.ts';
import type { GenerationId } from '../../application/ports/read-models.ts';
import type { Log } from '../../application/ports/system.ts';
import { ProjectionRefusal } from './refusal.ts';
import type { StallDetector } from './stall-detector.ts';

/** A projection this process can project, by its name. */
export type Supervised = {
  readonly name: string;
  /** The version of this release's code. */
  readonly version: number;
  /** Consumes the projection's log into a generation until `signal` is aborted. */
  run(generation: GenerationId, signal: AbortSignal): Promise<void>;
  /** Builds a generation of this release's version beside the live one and switches to it. */
  upgrade(signal: AbortSignal): Promise<void>;
};

const pollMilliseconds = 1000;
const longestPauseMilliseconds = 10_000;

/**
 * Projects the active generation of each projection in this process until `signal` is aborted: starts, stops and
 * changes generation as operators rebuild, pause and switch. A generation of another version of the code is left to
 * the nodes that have that version; for one that is older than this release, a new one is built beside it.
 */
export async function superviseProjectors(
  supervised: readonly Supervised[],
  control: ProjectionControl,
  signal: AbortSignal,
  log: Log,
  detector: Ticked = { supervisorTick() {} },
): Promise<void> {
  const states = shareReads(() => control.states());
  await Promise.all(supervised.map((one) => supervise(one, states, control, signal, log, detector)));
}

type Ticked = Pick<StallDetector, 'supervisorTick'>;

type ReadStates = () => Promise<readonly ProjectionState[]>;

/** Concurrent calls share one read: supervisors that start together stay together. */
function shareReads(read: ReadStates): ReadStates {
  let reading: Promise<readonly ProjectionState[]> | undefined;
  return () => {
    reading ??= read().finally(() => {
      reading = undefined;
    });
    return reading;
  };
}

async function supervise(
  one: Supervised,
  states: ReadStates,
  control: Pick<ProjectionControl, 'publishViews' | 'setRefused'>,
  signal: AbortSignal,
  log: Log,
  detector: Ticked,
): Promise<void> {
  const refusal = new ProjectionRefusal(one.name, control, log);
  let published: number | undefined;
  let running: Running | undefined;
  let upgrading: Running | undefined;
  while (!signal.aborted) {
    const state = await stateOf(one.name, states, log);
    const target = state && generationToRun(one, state);
    const isKept = state && (isHeld(state) || state.refused !== null);
    detector.supervisorTick(one.name, isKept ? undefined : target);
    if (state) {
      if (state.active !== published && (await publishViews(control, log))) published = state.active;
      if (running && running.key !== target?.generation) {
        await running.stop();
        running = undefined;
      }
      if (!running && target)
        running = start(target.generation, (stop) => one.run(target, stop), refusal, signal, log);
      if (!upgrading && isOutdated(one, state)) upgrading = start(0, one.upgrade, refusal, signal, log);
      if (upgrading && !isOutdated(one, state)) {
        await upgrading.stop();
        upgrading = undefined;
      }
    }
    await pause(pollMilliseconds, signal);
  }
  await Promise.all([running?.stop(), upgrading?.stop()]);
}

async function stateOf(name: string, states: ReadStates, log: Log): Promise<ProjectionState | undefined> {
  try {
    return (await states()).find(({ projection }) => projection === name);
  } catch (err) {
    // Running projectors continue, and retry the database themselves.
    log.warn({ projection: name, err }, 'cannot read which generation is active');
    return undefined;
  }
}

/** Whether it succeeded: projectors do not depend on it. */
async function publishViews(control: Pick<ProjectionControl, 'publishViews'>, log: Log): Promise<boolean> {
  try {
    await control.publishViews();
    return true;
  } catch (err) {
    log.warn({ err }, 'cannot point the views to the active generations, will retry');
    return false;
  }
}

function generationToRun({ version }: Supervised, state: ProjectionState): GenerationId | undefined {
  if (state.paused) return undefined;
  return state.generations.find((one) => one.generation === state.active && one.version === version);
}

/** A build that compares or switches holds the checkpoints of the active generation, for as long as it needs. */
const isHeld = ({ generations }: ProjectionState): boolean =>
  generations.some(
    ({ runner, progress }) =>
      runner !== null && (progress?.phase === 'compare' || progress?.phase === 'switch'),
  );

function isOutdated({ version }: Supervised, state: ProjectionState): boolean {
  const active = state.generations.find((one) => one.generation === state.active);
  return !state.paused && active !== undefined && active.version < version;
}

type Running = { readonly key: number; stop(): Promise<void> };

/** An outage of the event store is one line, however often it is tried to get over it. */
function levelOf(failure: unknown, failures: number): 'error' | 'warn' | 'debug' {
  if (!(failure instanceof EventStoreUnavailable)) return 'error';
  return failures === 1 ? 'warn' : 'debug';
}

/** Runs `work` again and again, after a longer pause each time it fails, until it is stopped. */
function start(
  key: number,
  work: (signal: AbortSignal) => Promise<void>,
  refusal: ProjectionRefusal,
  signal: AbortSignal,
  log: Log,
): Running {
  const stopped = new AbortController();
  const either = AbortSignal.any([signal, stopped.signal]);
  const ended = (async () => {
    for (let failures = 0; !either.aborted; ) {
      const started = Date.now();
      refusal.tried();
      try {
        // Before the pause that follows a failure: during it nothing continues.
        await work(either).finally(() => refusal.ended());
        failures = 0;
      } catch (err) {
        if (either.aborted) return;
        if (err instanceof OperatorNeeded) {
          await refusal.report(err.message);
          await pause(longestPauseMilliseconds, either);
          continue;
        }
        failures = Date.now() - started > longestPauseMilliseconds ? 1 : failures + 1;
        const level = levelOf(err, failures);
        log[level](
          { projection: refusal.projection, generation: key, err },
          'projector failed, will restart',
        );
      }
      await pause(Math.min(longestPauseMilliseconds, 100 * 2 ** failures), either);
    }
  })();
  return {
    key,
    async stop() {
      stopped.abort();
      await ended;
    },
  };
}
