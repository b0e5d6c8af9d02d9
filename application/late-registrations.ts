import { pagesById } from './pages.ts';
import { type DeadLetterRetry, retryStream } from './parking.ts';
import { pause } from './pause.ts';
import type { DeadLetters, ParkedStream } from './ports/dead-letters.ts';
import { activeGeneration, type ProjectionControl } from './ports/generations.ts';
import type { ReadModels } from './ports/read-models.ts';
import type { Log } from './ports/system.ts';

/** The projection whose dead letters may wait for a device. */
type Waiting = { readonly name: string; readonly version: number; readonly deadLetterRetry: DeadLetterRetry };

type RegistrationPorts = {
  readonly control: Pick<ProjectionControl, 'states'>;
  readonly deadLetters: Pick<DeadLetters, 'ofRegisteredDevices' | 'list'>;
  readonly readModels: ReadModels;
};

const pollMilliseconds = 1000;
/** Of the time, looking for such dead letters may take this part at most: the look is as long as there are many. */
const greatestShare = 0.05;
const streamsAtOnce = 100;
const deadLettersAtOnce = 1000;
/** Nor does a look that a stall of the database drew out put off the next by longer. */
const longestPause = 60_000;
/** Milliseconds until a stream that failed again is tried once more. */
const failedPause = 60_000;

/**
 * Retries what was parked for a device that was not registered, once the device list has it, until `signal` is
 * aborted. It looks at what is there, not at registrations: one that came while no process ran is not missed.
 */
export async function retryRegistered(
  projection: Waiting,
  ports: RegistrationPorts,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const tried: TriedStreams = { failed: new Map(), interrupted: new Map() };
  let reported = false;
  let isReleased = false;
  while (!signal.aborted) {
    // Not by the clock, which may be set while it looks.
    const started = performance.now();
    try {
      if (!isReleased) await retryFreed(projection, ports, signal);
      isReleased = true;
      await retryOnce(projection, ports, tried, log, signal);
      reported = false;
    } catch (err) {
      // Readiness shows a database that is unavailable.
      if (!reported) log.warn({ err }, 'readings of newly registered devices not retried, will try again');
      reported = true;
    }
    const taken = performance.now() - started;
    await pause(Math.min(longestPause, Math.max(pollMilliseconds, taken / greatestShare)), signal);
  }
}

type TriedStreams = {
  /** When a stream may be tried again, by its name. */
  readonly failed: Map<string, number>;
  /** Whose first dead letters may be applied, so that nothing is found of those behind them any more. */
  readonly interrupted: Map<string, Pick<ParkedStream, 'partition' | 'stream'>>;
};

/** Events parked by a release in which others held them that hold nothing in this one. */
async function retryFreed(
  projection: Waiting,
  { control, deadLetters, readModels }: RegistrationPorts,
  signal: AbortSignal,
): Promise<void> {
  const { name, version, deadLetterRetry } = projection;
  const active = await activeGeneration(projection, control);
  if (active.version !== version) return;
  const seen = new Set<string>();
  const pages = pagesById(
    deadLettersAtOnce,
    (page) => deadLetters.list({ projection: name, cause: 'behind' }, page),
    ({ id }) => id,
  );
  if (signal.aborted) return;
  for await (const page of pages) {
    for (const { partition, stream } of page) {
      if (seen.has(`${partition} ${stream}`)) continue;
      seen.add(`${partition} ${stream}`);
      const ahead = await deadLetters.list({ projection: name, stream }, { limit: deadLettersAtOnce });
      if (ahead.some(({ cause, eventType }) => cause !== 'behind' && deadLetterRetry.holds(cause, eventType)))
        continue;
      await retryStream(active, { partition, stream }, deadLetterRetry, readModels);
    }
    if (signal.aborted) return;
  }
}

async function retryOnce(
  projection: Waiting,
  { control, deadLetters, readModels }: RegistrationPorts,
  { failed, interrupted }: TriedStreams,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const active = await activeGeneration(projection, control);
  // Tables of another version of the code are left to the nodes that have it.
  if (active.version !== projection.version) return;
  for (const [stream, until] of failed) if (until <= performance.now()) failed.delete(stream);
  const found = await deadLetters.ofRegisteredDevices(active, streamsAtOnce + failed.size);
  const streams = [...interrupted.values(), ...found.filter(({ stream }) => !interrupted.has(stream))];
  for (const { partition, stream } of streams) {
    if (signal.aborted) return;
    if (failed.has(stream)) continue;
    interrupted.set(stream, { partition, stream });
    const retried = await retryStream(active, { partition, stream }, projection.deadLetterRetry, readModels);
    interrupted.delete(stream);
    if (retried.failed) failed.set(stream, performance.now() + failedPause);
    log.info({ ...retried, partition }, 'dead letters of a device registered since were retried');
  }
}
