import {
  comparePositions,
  type EventSource,
  type PartitionPosition,
  type Position,
  type Positioned,
} from '../../application/ports/event-source.ts';

/** The end of a partition, and when it was first seen to be there, epoch milliseconds. */
type Sighting = { readonly end: Position | null; readonly at: number };

/** Told is too little by this share of a wait at most, and a month's wait is a few hundred sightings. */
const precision = 1 / 32;

/**
 * How long events wait, without reading any: ends of partitions are noted with the time at which they were seen, and
 * what a checkpoint has not passed has waited since. It waited a little before, too, since the last look.
 */
export function waitingTimes(now: () => number) {
  const seen = new Map<string, readonly Sighting[]>();
  return { longest, sightings: () => [...seen.values()].flat().length };

  /** Of the events of all partitions that the checkpoints have not passed, the longest wait, in seconds. */
  async function longest(
    projection: string,
    source: Pick<EventSource<Positioned>, 'ends'>,
    checkpoints: readonly PartitionPosition[],
  ): Promise<number> {
    const reached = new Map(checkpoints.map(({ partition, position }) => [partition, position]));
    const at = now();
    let first = at;
    for (const [partition, end] of await source.ends()) {
      const key = `${projection}/${partition}`;
      const waiting = (seen.get(key) ?? []).filter((one) => isBehind(partition, one.end));
      const [oldest, newest] = [waiting[0]?.at ?? at, waiting.at(-1)];
      const isNews = !newest || (newest.end !== end && at - newest.at >= (at - oldest) * precision);
      if (isNews && isBehind(partition, end)) waiting.push({ end, at });
      seen.set(key, waiting);
      first = Math.min(first, oldest);
    }
    return (at - first) / 1000;

    function isBehind(partition: number, end: Position | null): boolean {
      return comparePositions(reached.get(partition) ?? null, end) < 0;
    }
  }
}
