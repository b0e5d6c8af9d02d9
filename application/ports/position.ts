/**
 * Where an event stands in its source's partition: one or more whole numbers joined by `-`, compared number by
 * number. SQLite counts events (`42`), Kafka counts messages and the events inside one (`1187-3`), EventStoreDB
 * gives commit and prepare (`4711-4711`). A string, because a 64-bit position does not fit a JavaScript number.
 */
export type Position = string;

export type PartitionPosition = { readonly partition: number; readonly position: Position };

/** Less than, equal to or greater than zero as `a` stands before, at or after `b`; `null` is before everything. */
export function comparePositions(a: Position | null, b: Position | null): number {
  if (a === b) return 0;
  if (a === null) return -1;
  if (b === null) return 1;
  const left = a.split('-');
  const right = b.split('-');
  for (let i = 0; i < Math.max(left.length, right.length); i += 1) {
    const x = left[i] ?? '0';
    const y = right[i] ?? '0';
    if (x.length !== y.length) return x.length - y.length;
    if (x !== y) return x < y ? -1 : 1;
  }
  return 0;
}

/** The two logs a read model can be built from. */
export type SourceName = 'devices' | 'telemetry';

/** A position as callers see it and hand back in `waitFor`: `telemetry:0:42`. */
export const positionToken = (source: SourceName, { partition, position }: PartitionPosition): string =>
  `${source}:${partition}:${position}`;
