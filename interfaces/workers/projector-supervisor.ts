import { pause } from '../../application/pause.ts';
import type { ProjectionControl, ProjectionState } from '../../application/ports/generations.ts';
import type { GenerationId } from '../../application/ports/read-models.ts';
import type { Log } from '../../application/ports/system.ts';
import type { ProjectorWatch } from './stall-detector.ts';

/** A projection this process can project, by its name. */
export type Supervised = {
  readonly name: string;
  /** Of the code in this release. */
  readonly version: number;
  /** Consumes the projection's log into a generation until `signal` is aborted. */
  run(of: GenerationId, signal: AbortSignal): Promise<void>;
  /** Builds a generation of this release's version beside the live one and switches to it. */
  upgrade(signal: AbortSignal): Promise<void>;
};

const lookEveryMilliseconds = 1000;
const longestPauseMilliseconds = 10_000;

/**
 * Keeps the active generation of each projection consumed by this process until `signal` is aborted: starts, stops
 * and changes over as operators rebuild, pause and switch. A generation filled by another version of the code is
 * left to the nodes that have it; one that is older than this release is built anew beside it.
 */
export async function superviseProjectors(
  supervised: readonly Supervised[],
  control: ProjectionControl,
  signal: AbortSignal,
  log: Log,
  watch: Pick<ProjectorWatch, 'looked'> = { looked() {} },
): Promise<void> {
  const states = sharedLook(() => control.states());
  await Promise.all(supervised.map((one) => supervise(one, states, signal, log, watch)));
}

type Look = () => Promise<readonly ProjectionState[]>;

/** Those who look while somebody is looking share what is found: supervisors that start together stay together. */
function sharedLook(look: Look): Look {
  let underWay: Promise<readonly ProjectionState[]> | undefined;
  return () => {
    underWay ??= look().finally(() => {
      underWay = undefined;
    });
    return underWay;
  };
}

async function supervise(
  one: Supervised,
  states: Look,
  signal: AbortSignal,
  log: Log,
  watch: Pick<ProjectorWatch, 'looked'>,
): Promise<void> {
  let running: Running | undefined;
  let upgrading: Running | undefined;
  while (!signal.aborted) {
    const state = await stateOf(one.name, states, log);
    const wanted = state && generationToRun(one, state);
    watch.looked(one.name, state && isHeld(state) ? undefined : wanted);
    if (state) {
      if (running && running.key !== wanted?.generation) {
        await running.stop();
        running = undefined;
      }
      if (!running && wanted)
        running = start(wanted.generation, (stop) => one.run(wanted, stop), one, signal, log);
      if (!upgrading && isOutdated(one, state)) upgrading = start(0, one.upgrade, one, signal, log);
      if (upgrading && !isOutdated(one, state)) {
        await upgrading.stop();
        upgrading = undefined;
      }
    }
    await pause(lookEveryMilliseconds, signal);
  }
  await Promise.all([running?.stop(), upgrading?.stop()]);
}

async function stateOf(name: string, states: Look, log: Log): Promise<ProjectionState | undefined> {
  try {
    return (await states()).find(({ projection }) => projection === name);
  } catch (err) {
    // What runs goes on and waits for the database by itself.
    log.warn({ projection: name, err }, 'cannot read which generation is active');
    return undefined;
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

/** Runs `work` again and again, after a longer pause each time it fails, until it is stopped. */
function start(
  key: number,
  work: (signal: AbortSignal) => Promise<void>,
  { name }: Supervised,
  signal: AbortSignal,
  log: Log,
): Running {
  const stopped = new AbortController();
  const either = AbortSignal.any([signal, stopped.signal]);
  const over = (async () => {
    for (let failures = 0; !either.aborted; ) {
      const started = Date.now();
      try {
        await work(either);
        failures = 0;
      } catch (err) {
        if (either.aborted) return;
        failures = Date.now() - started > longestPauseMilliseconds ? 1 : failures + 1;
        log.error({ projection: name, generation: key, err }, 'projector failed and starts again');
      }
      await pause(Math.min(longestPauseMilliseconds, 100 * 2 ** failures), either);
    }
  })();
  return {
    key,
    async stop() {
      stopped.abort();
      await over;
    },
  };
}
