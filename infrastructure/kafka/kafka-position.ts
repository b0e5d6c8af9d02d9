import type { Position } from '../../application/ports/event-source.ts';

/**
 * As Kafka's committed offsets do, a position names what comes next: `1188` once message 1187 is done, `1187-3`
 * once three of its events are. So the end of a partition is a position too, without a look into its last message.
 */
export type KafkaPosition = {
  /** Of the message that comes next or has been begun. */
  readonly offset: bigint;
  /** How many of that message's events are done. */
  readonly events: number;
};

export const formatPosition = ({ offset, events }: KafkaPosition): Position | null => {
  if (events > 0) return `${offset}-${events}`;
  return offset === 0n ? null : `${offset}`;
};

export function parsePosition(position: Position | null): KafkaPosition {
  const [offset = '0', events = '0'] = position?.split('-') ?? [];
  return { offset: BigInt(offset), events: Number(events) };
}
