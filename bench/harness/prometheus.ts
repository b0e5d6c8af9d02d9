const name = 'fieldlog_ingestion_to_storage_seconds';

/**
 * Seconds within which the given share of readings was stored between two scrapes: the bound of the histogram's
 * bucket that holds it, so never less than it was.
 */
export function storedWithin(before: string, after: string, share: number): number {
  const earlier = bucketsOf(before);
  const counts = [...bucketsOf(after)].map(
    ([bound, count]) => [bound, count - (earlier.get(bound) ?? 0)] as const,
  );
  const total = Math.max(...counts.map(([, count]) => count));
  const found = counts.filter(([, count]) => total > 0 && count >= total * share).map(([bound]) => bound);
  return Math.min(...found);
}

/** By upper bound, how many of telemetry's readings took at most so long. */
function bucketsOf(metrics: string): Map<number, number> {
  const buckets = new Map<number, number>();
  for (const line of metrics.split('\n')) {
    if (!line.startsWith(`${name}_bucket{`) || !line.includes('projection="telemetry"')) continue;
    const bound = /le="([^"]+)"/.exec(line)?.[1] ?? '';
    buckets.set(bound === '+Inf' ? Number.POSITIVE_INFINITY : Number(bound), Number(line.split(' ').at(-1)));
  }
  return buckets;
}
