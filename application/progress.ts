import { type AwaitedPosition, AwaitedProgress, progressTokens } from './awaited-progress.ts';
import { pause } from './pause.ts';
import type {
  EventCount,
  EventSource,
  PartitionPosition,
  Position,
  Positioned,
  SourceName,
} from './ports/event-source.ts';
import type { ProgressQueries, ProjectionProgress } from './ports/queries.ts';
import type { Clock } from './ports/system.ts';
import { type ProjectionName, sourceOf } from './projections/projection.ts';

export type ProjectionStatus = {
  /** `telemetry:0:42` for each partition consumed so far or, where there are many, `telemetry:all:42` for all of them. */
  readonly positions: readonly string[];
  /** Events of the source not yet consumed; `null` while the source cannot be asked. */
  readonly lag: number | null;
  /** There may be more than `lag`: counting all of them would take too long. */
  readonly lagIsAtLeast: boolean;
};

export type ProgressReader = {
  /**
   * How far the projections a query reads have come. A lag that takes longer than `within` milliseconds to count is left
   * out, so that a log which does not answer holds up nobody: whoever asks while it is counted waits for what is left of
   * these, and then nobody waits. Without `within`, the count is waited for.
   */
  status(projections: readonly ProjectionName[], within?: number): Promise<ProjectionStatus>;
  /**
   * Resolves once they have consumed all that is awaited; throws `NotYetProjected` after `timeout` milliseconds and
   * `UnknownPartition` at once.
   */
  waitFor(
    projections: readonly ProjectionName[],
    awaited: readonly AwaitedPosition[],
    timeout: number,
  ): Promise<void>;
};

export class NotYetProjected extends Error {
  override readonly name = 'NotYetProjected';
  readonly lag: number | null;

  constructor({ lag, lagIsAtLeast }: Pick<ProjectionStatus, 'lag' | 'lagIsAtLeast'>) {
    const events = lag === null ? 'an unknown number of' : `${lagIsAtLeast ? 'at least ' : ''}${lag}`;
    super(`The read model has not reached the awaited position yet; it is ${events} events behind`);
    this.lag = lag;
  }
}

/** Something is awaited of a partition that its log does not have. */
export class UnknownPartition extends Error {
  override readonly name = 'UnknownPartition';

  constructor(source: SourceName, partition: number, partitions: readonly number[]) {
    super(`must name a partition of ${source}, which has ${partitions.join(', ')}: not ${partition}`);
  }
}

const lagKnownForMilliseconds = 250;

/** How long a log may take to name its partitions before what is awaited is awaited unchecked. */
const partitionsWithinMilliseconds = 1_000;

/** Of `lagWithinMilliseconds`, what is left for counting once the end of the log is known. */
const countWithinMilliseconds = 30;

/** How long a count may take for which an answer waits that only mentions the lag, and is to take a tenth of a second. */
export const lagWithinMilliseconds = 50;

export function progressReader(
  queries: ProgressQueries,
  sources: Readonly<Record<SourceName, EventSource<Positioned>>>,
  clock: Clock,
): ProgressReader {
  const lags = new Map<string, Lag>();
  const knownPartitions = new Map<SourceName, readonly number[]>();
  const awaitedProgress = new AwaitedProgress(queries);
  return { status, waitFor };

  async function status(projections: readonly ProjectionName[], within?: number): Promise<ProjectionStatus> {
    const progress = await progressOf(projections);
    const behindBy = progress.map((one) => lagOf(one));
    const counted = Promise.all(behindBy.map(({ counting }) => counting));
    const behind = await (within === undefined ? counted : orUnknown(counted, within - longest(behindBy)));
    const positions = progress.flatMap(progressTokens);
    return {
      positions: [...new Set(positions)],
      ...mostBehind(behind),
    };
  }

  async function waitFor(
    projections: readonly ProjectionName[],
    awaited: readonly AwaitedPosition[],
    timeout: number,
  ): Promise<void> {
    const started = Date.now();
    await assertPartitions(projections, awaited, Math.min(timeout, partitionsWithinMilliseconds));
    const left = timeout - (Date.now() - started);
    if (await awaitedProgress.reached(projections, awaited, left)) return;
    throw new NotYetProjected(await status(projections, lagWithinMilliseconds));
  }

  /** Asks a log only for partitions that it did not name before: topics gain partitions and lose none. */
  async function assertPartitions(
    projections: readonly ProjectionName[],
    awaited: readonly AwaitedPosition[],
    within: number,
  ): Promise<void> {
    const concerned = new Set(projections.map(sourceOf));
    for (const one of awaited) {
      if ('total' in one || !concerned.has(one.source)) continue;
      const { source, partition } = one;
      if (knownPartitions.get(source)?.includes(partition)) continue;
      const partitions = await partitionsOf(sources[source], within);
      if (!partitions) return;
      knownPartitions.set(source, partitions);
      if (!partitions.includes(partition)) throw new UnknownPartition(source, partition, partitions);
    }
  }

  async function progressOf(projections: readonly ProjectionName[]): Promise<readonly ProjectionProgress[]> {
    const progress = await awaitedProgress.read();
    return progress.filter(({ projection }) => projections.some((name) => name === projection));
  }

  /**
   * Asking a broker how far its log goes costs a round trip, so the answer serves every query of a moment, and those
   * that come before it. A bound is no answer any more once the projection has moved.
   */
  function lagOf({ projection, reached }: ProjectionProgress): Lag {
    const known = lags.get(projection);
    const hasMoved = known?.boundAt && isElsewhere(known.boundAt, reached);
    if (known && known.until > clock.now() && !hasMoved) return known;
    // Rows can be read while their log is away; only how far they are behind is not known.
    const counting = countLag(sources[sourceOf(projection)], reached, countWithinMilliseconds).catch(
      () => null,
    );
    const lag: Lag = { counting, countedSince: clock.now(), until: Number.POSITIVE_INFINITY };
    lags.set(projection, lag);
    void counting.then((count) => {
      if (count?.isAtLeast) lag.boundAt = reached;
      lag.countedSince = undefined;
      lag.until = clock.now() + lagKnownForMilliseconds;
    });
    return lag;
  }

  /** For how many milliseconds one of them has been counted that still is. */
  function longest(counted: readonly Lag[]): number {
    const now = clock.now();
    return Math.max(0, ...counted.map(({ countedSince = now }) => now - countedSince));
  }
}

type Lag = {
  readonly counting: Promise<EventCount | null>;
  /** The places that what it comes to was counted from, where it is a bound and good for these alone. */
  boundAt?: readonly PartitionPosition[];
  /** Since when, and until when what it comes to is good; epoch milliseconds. `undefined` once it is counted. */
  countedSince: number | undefined;
  until: number;
};

const isElsewhere = (before: readonly PartitionPosition[], now: readonly PartitionPosition[]): boolean =>
  before.length !== now.length || now.some(({ position }, n) => position !== before[n]?.position);

function mostBehind(counts: readonly (EventCount | null)[]): Pick<ProjectionStatus, 'lag' | 'lagIsAtLeast'> {
  const known = counts.filter((count) => count !== null);
  if (known.length < counts.length) return { lag: null, lagIsAtLeast: false };
  return {
    lag: Math.max(0, ...known.map(({ events }) => events)),
    lagIsAtLeast: known.some(({ isAtLeast }) => isAtLeast),
  };
}

async function orUnknown(
  lags: Promise<readonly (EventCount | null)[]>,
  within: number,
): Promise<readonly (EventCount | null)[]> {
  const answered = new AbortController();
  const late = pause(within, answered.signal).then(() => [null]);
  return Promise.race([lags, late]).finally(() => answered.abort());
}

/** `undefined` where the log does not answer in time. */
async function partitionsOf(
  source: Pick<EventSource<Positioned>, 'expired'>,
  within: number,
): Promise<readonly number[] | undefined> {
  const answered = new AbortController();
  const late = pause(within, answered.signal).then(() => undefined);
  const named = source.expired().then(
    (partitions) => [...partitions.keys()],
    () => undefined,
  );
  return Promise.race([named, late]).finally(() => answered.abort());
}

/** Events of every partition of the source behind the places reached. */
export async function countLag(
  source: Pick<EventSource<Positioned>, 'expired' | 'countAfter'>,
  reached: readonly PartitionPosition[],
  within?: number,
): Promise<EventCount> {
  const at = new Map<number, Position>(reached.map(({ partition, position }) => [partition, position]));
  // Also names every partition, and takes a source less than finding its ends.
  const partitions = [...(await source.expired()).keys()];
  const counts = await Promise.all(
    partitions.map((partition) => source.countAfter(partition, at.get(partition) ?? null, within)),
  );
  return {
    events: counts.reduce((sum, { events }) => sum + events, 0),
    isAtLeast: counts.some(({ isAtLeast }) => isAtLeast),
  };
}
