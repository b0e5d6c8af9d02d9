import type { MetricValue } from '../../../domain/telemetry.ts';

/** Many points told in little memory, whatever order they came in: two sums are equal when the points are. */
export type PointSum = { readings: number; points: number; checksum: number };

export const noPoints = (): PointSum => ({ readings: 0, points: 0, checksum: 0 });

export function addPoint(sum: PointSum, timestamp: number, metric: string, value: MetricValue): void {
  sum.points += 1;
  sum.checksum = (sum.checksum + digest(`${timestamp} ${metric} ${JSON.stringify(value)}`)) >>> 0;
}

export const isSameSum = (a: PointSum, b: PointSum): boolean =>
  a.readings === b.readings && a.points === b.points && a.checksum === b.checksum;

/** FNV-1a. */
function digest(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
