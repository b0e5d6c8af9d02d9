import type { Position as LogPosition } from '@eventstore/db-client';
import type { Position } from '../../application/ports/event-source.ts';

const form = /^(\d{1,20})-(\d{1,20})$/;

/** Commit and prepare: events of one transaction share the first, and tell apart by the second alone. */
export const toPosition = ({ commit, prepare }: LogPosition): Position => `${commit}-${prepare}`;

/** Throws when the position was given by another store. */
export function logPosition(position: Position): LogPosition {
  const parts = form.exec(position);
  if (!parts)
    throw new Error(`"${position}" is not a position of EventStoreDB, which has the form <commit>-<prepare>`);
  return { commit: BigInt(parts[1] as string), prepare: BigInt(parts[2] as string) };
}
