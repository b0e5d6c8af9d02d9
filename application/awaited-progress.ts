import { pause } from './pause.ts';
import {
  comparePositions,
  type PartitionPosition,
  type Position,
  positionToken,
  type SourceName,
} from './ports/event-source.ts';
import type { ProgressQueries, ProjectionProgress } from './ports/queries.ts';
import { type ProjectionName, sourceOf } from './projections/projection.ts';

/** A place in one of the logs that a query wants to see the effects of. */
type AwaitedPartition = PartitionPosition & { readonly source: SourceName };

/** How far a projection had come over all partitions of its log. */
type AwaitedTotal = { readonly projection: ProjectionName; readonly total: Position };

export type AwaitedPosition = AwaitedPartition | AwaitedTotal;

/** Characters of all positions of one projection, so that they fit in a header with everything else. */
const longestList = 900;

/**
 * Where a projection stands, as callers see it and send it in `waitFor`: the position of each partition or, where these
 * would be too long for a header, one total.
 */
export function progressTokens({ projection, checkpoints }: ProjectionProgress): readonly string[] {
  const source = sourceOf(projection);
  const tokens = checkpoints.map((at) => positionToken(source, at));
  const length = tokens.reduce((sum, token) => sum + token.length + 1, 0);
  return length <= longestList ? tokens : [`${projection}:all:${totalOf(checkpoints)}`];
}

/**
 * The sums of the first, second… numbers of all positions. Every commit takes one checkpoint forward and none back, so
 * what the read models have been through is in order by it, as by the list that it stands for.
 */
function totalOf(checkpoints: readonly PartitionPosition[]): Position {
  const sums: bigint[] = [0n];
  // A partition at 0 has come further than one at its start.
  for (const { position } of checkpoints)
    for (const [at, number] of position.split('-').entries())
      sums[at] = (sums[at] ?? 0n) + BigInt(number) + (at === 0 ? 1n : 0n);
  return sums.join('-');
}

type Waiter = {
  readonly projections: readonly ProjectionName[];
  awaited: readonly AwaitedPosition[];
  readonly isDone: PromiseWithResolvers<boolean>;
  readonly deadline: number;
};

const shortestPause = 5;
const longestPause = 100;
const never = new AbortController().signal;

/** Reads the progress for all that wait in this process, one read at a time, less often while nothing changes. */
export class AwaitedProgress {
  readonly #queries: Pick<ProgressQueries, 'progress'>;
  readonly #waiters = new Set<Waiter>();
  #reading: Promise<readonly ProjectionProgress[]> | undefined;
  #isPolling = false;
  #pause = shortestPause;
  #last = '';
  #joined = new AbortController();

  constructor(queries: Pick<ProgressQueries, 'progress'>) {
    this.#queries = queries;
  }

  /** As it is or was a moment ago: callers that come during a read share it. */
  read(): Promise<readonly ProjectionProgress[]> {
    this.#reading ??= this.#queries.progress().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  /** Whether the projections have consumed all that is awaited within `timeout` milliseconds. */
  reached(
    projections: readonly ProjectionName[],
    awaited: readonly AwaitedPosition[],
    timeout: number,
  ): Promise<boolean> {
    const isDone = Promise.withResolvers<boolean>();
    this.#waiters.add({ projections, awaited, isDone, deadline: Date.now() + timeout });
    this.#joined.abort();
    if (!this.#isPolling) void this.#poll();
    return isDone.promise;
  }

  async #poll(): Promise<void> {
    this.#isPolling = true;
    while (this.#waiters.size > 0) {
      const started = Date.now();
      try {
        this.#settle(await this.read());
      } catch (error) {
        for (const { isDone } of this.#waiters) isDone.reject(error);
        this.#waiters.clear();
      }
      if (this.#waiters.size > 0) await this.#rest(Date.now() - started);
    }
    this.#isPolling = false;
  }

  /** Reads take no more than half of the time. Beyond that somebody who joins need not wait for the pause to end. */
  async #rest(reading: number): Promise<void> {
    await pause(Math.max(shortestPause, reading), never);
    this.#joined = new AbortController();
    const nextDeadline = Math.min(...[...this.#waiters].map(({ deadline }) => deadline));
    await pause(Math.min(this.#pause, nextDeadline - Date.now()) - shortestPause, this.#joined.signal);
  }

  #settle(progress: readonly ProjectionProgress[]): void {
    const text = JSON.stringify(progress);
    this.#pause = text === this.#last ? Math.min(longestPause, this.#pause * 2) : shortestPause;
    this.#last = text;
    const now = Date.now();
    for (const waiter of this.#waiters) {
      waiter.awaited = resolved(waiter.awaited, progress);
      const isReached = waiter.projections.every((name) =>
        waiter.awaited.every((one) => hasReached(name, one, progress)),
      );
      if (!isReached && now < waiter.deadline) continue;
      this.#waiters.delete(waiter);
      waiter.isDone.resolve(isReached);
    }
  }
}

/** A total that has been reached is awaited from then on as the positions that reached it, which others can come to. */
function resolved(
  awaited: readonly AwaitedPosition[],
  progress: readonly ProjectionProgress[],
): readonly AwaitedPosition[] {
  if (!awaited.some((one) => 'total' in one)) return awaited;
  return awaited.flatMap((one): readonly AwaitedPosition[] => {
    if (!('total' in one)) return [one];
    const { checkpoints = [] } = progress.find(({ projection }) => projection === one.projection) ?? {};
    if (comparePositions(totalOf(checkpoints), one.total) < 0) return [one];
    const source = sourceOf(one.projection);
    return checkpoints.map((at) => ({ ...at, source }));
  });
}

function hasReached(
  name: ProjectionName,
  awaited: AwaitedPosition,
  progress: readonly ProjectionProgress[],
): boolean {
  const source = sourceOf(name);
  if ('total' in awaited) return sourceOf(awaited.projection) !== source;
  if (awaited.source !== source) return true;
  const found = progress.find(({ projection }) => projection === name);
  const place = found?.reached.find(({ partition }) => partition === awaited.partition);
  return (
    found === undefined || (place !== undefined && comparePositions(place.position, awaited.position) >= 0)
  );
}
