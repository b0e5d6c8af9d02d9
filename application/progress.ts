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
   * How far the projections a query reads have come. A lag that is not known after `within` milliseconds is left out,
   * so that a log which does not answer holds up nobody; without it, that is waited for.
   */
  status(projections: readonly ProjectionName[], within?: number): Promise<ProjectionStatus>;
  /** Resolves once they have consumed all that is awaited; throws `NotYetProjected` after `timeout` milliseconds. */
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

const lagKnownForMilliseconds = 250;

/** Of `lagWithinMilliseconds`, what is left for counting once the end of the log is known. */
const countWithinMilliseconds = 60;

/** How long an answer that only mentions the lag waits for it. */
export const lagWithinMilliseconds = 100;

export function progressReader(
  queries: ProgressQueries,
  sources: Readonly<Record<SourceName, EventSource<Positioned>>>,
): ProgressReader {
  const lags = new Map<string, Lag>();
  const awaitedProgress = new AwaitedProgress(queries);
  return { status, waitFor };

  async function status(projections: readonly ProjectionName[], within?: number): Promise<ProjectionStatus> {
    const progress = await progressOf(projections);
    const counted = Promise.all(progress.map((one) => lagOf(one)));
    const behind = await (within === undefined ? counted : orUnknown(counted, within));
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
    if (await awaitedProgress.reached(projections, awaited, timeout)) return;
    throw new NotYetProjected(await status(projections, lagWithinMilliseconds));
  }

  async function progressOf(projections: readonly ProjectionName[]): Promise<readonly ProjectionProgress[]> {
    const progress = await awaitedProgress.read();
    return progress.filter(({ projection }) => projections.some((name) => name === projection));
  }

  /**
   * Asking a broker how far its log goes costs a round trip, so the answer serves every query of a moment, and those
   * that come before it.
   */
  function lagOf({ projection, reached }: ProjectionProgress): Promise<EventCount | null> {
    const known = lags.get(projection);
    if (known && known.until > Date.now()) return known.counting;
    // Rows can be read while their log is away; only how far they are behind is not known.
    const counting = countLag(sources[sourceOf(projection)], reached, countWithinMilliseconds).catch(
      () => null,
    );
    const lag: Lag = { counting, until: Number.POSITIVE_INFINITY };
    lags.set(projection, lag);
    void counting.then(() => {
      lag.until = Date.now() + lagKnownForMilliseconds;
    });
    return counting;
  }
}

type Lag = { readonly counting: Promise<EventCount | null>; until: number };

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
