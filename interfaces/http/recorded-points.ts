import type { Point, PointQuery } from '../../application/ports/queries.ts';

/** What of a device's points, which are in order of time and metric, a query asks for. */
export async function* recordedPoints(
  all: Promise<readonly Point[]>,
  { metrics, order, limit, after }: Pick<PointQuery, 'metrics' | 'order' | 'limit' | 'after'>,
): AsyncGenerator<readonly Point[]> {
  const direction = order === 'asc' ? 1 : -1;
  const wanted = (await all)
    .filter(({ metric }) => metrics?.includes(metric) ?? true)
    .filter((point) => after === undefined || follows(point, after))
    .sort((a, b) => (a.timestamp - b.timestamp) * direction || (a.metric < b.metric ? -1 : 1));
  const page = wanted.slice(0, limit);
  if (page.length > 0) yield page;

  function follows({ timestamp, metric }: Point, seen: NonNullable<PointQuery['after']>): boolean {
    const distance = (timestamp - seen.timestamp) * direction;
    return distance > 0 || (distance === 0 && metric > seen.metric);
  }
}
