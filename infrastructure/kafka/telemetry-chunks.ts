import type { KafkaMessage } from 'kafkajs';
import type { LoggedTelemetry } from '../../application/ports/telemetry-log.ts';
import type { KafkaPosition } from './kafka-position.ts';
import { decodeMessage } from './telemetry-decoding.ts';

/** The events from `start` on, at most `size` at a time; messages are decoded when their events are due. */
export function* telemetryChunks(
  messages: readonly KafkaMessage[],
  origin: { readonly topic: string; readonly partition: number },
  start: KafkaPosition,
  size: number,
): Generator<readonly LoggedTelemetry[]> {
  let chunk: LoggedTelemetry[] = [];
  for (const message of messages) {
    const offset = BigInt(message.offset);
    if (offset < start.offset) continue;
    const events = decodeMessage(message, origin);
    for (let i = offset === start.offset ? start.events : 0; i < events.length; ) {
      const some = events.slice(i, i + size - chunk.length);
      chunk.push(...some);
      i += some.length;
      if (chunk.length === size) {
        yield chunk;
        chunk = [];
      }
    }
  }
  if (chunk.length > 0) yield chunk;
}
