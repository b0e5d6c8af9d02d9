import type { KafkaMessage } from 'kafkajs';
import type { Position } from '../../application/ports/event-source.ts';
import { eventOf, type LoggedTelemetry, type Said } from '../../application/ports/telemetry-log.ts';
import { formatPosition } from './kafka-position.ts';
import { countHeader } from './telemetry-encoding.ts';

type Packed = Said & {
  readonly indexes: readonly number[];
  readonly events: readonly unknown[];
};

/**
 * The events of a message, never none. One that was not published by Fieldlog is one event: a single reading as
 * JSON, keyed by its device id as Fieldlog's are, is a recorded reading; anything else is passed on as the text it
 * is, for the projector to park.
 */
export function decodeMessage(
  message: KafkaMessage,
  origin: { readonly topic: string; readonly partition: number },
): readonly LoggedTelemetry[] {
  const text = message.value?.toString() ?? '';
  const value = parsed(text);
  if (isPacked(value)) return unpack(value, message.offset);
  return [
    {
      id: `${origin.topic}/${origin.partition}/${message.offset}`,
      type: 'TelemetryRecorded',
      schemaVersion: 1,
      position: after(message.offset),
      receivedAt: Number(message.timestamp),
      correlationId:
        header(message, 'ce_correlationid') ?? `${origin.topic}/${origin.partition}/${message.offset}`,
      actor: header(message, 'ce_actor') ?? 'kafka',
      data: isOwnReading(value, message.key) ? value : text,
    },
  ];
}

function unpack(packed: Packed, offset: string): readonly LoggedTelemetry[] {
  const { indexes, events } = packed;
  const last = events.length - 1;
  return events.map((data, i) =>
    eventOf(packed, indexes[i] as number, i === last ? after(offset) : `${offset}-${i + 1}`, data),
  );
}

const after = (offset: string): Position =>
  formatPosition({ offset: BigInt(offset) + 1n, events: 0 }) as Position;

/** How many events `decodeMessage` gives, told by the header alone. */
export const eventsIn = (message: KafkaMessage): number => Number(header(message, countHeader) ?? 1);

function header(message: KafkaMessage, name: string): string | undefined {
  const value = message.headers?.[name];
  return Array.isArray(value) ? value[0]?.toString() : value?.toString();
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Other producers write to the topic too: what is not wholly in Fieldlog's shape is not taken apart. */
function isPacked(value: unknown): value is Packed {
  if (typeof value !== 'object' || value === null) return false;
  const { id, type, schemaVersion, receivedAt, correlationId, actor, traceparent, indexes, events } =
    value as Partial<Packed>;
  return (
    typeof id === 'string' &&
    typeof type === 'string' &&
    typeof schemaVersion === 'number' &&
    typeof receivedAt === 'number' &&
    typeof correlationId === 'string' &&
    typeof actor === 'string' &&
    (traceparent === undefined || typeof traceparent === 'string') &&
    Array.isArray(events) &&
    events.length > 0 &&
    Array.isArray(indexes) &&
    indexes.length === events.length
  );
}

/** Under another key a device could come to stand in two partitions, and its order would be lost. */
const isOwnReading = (value: unknown, key: Buffer | null): boolean =>
  typeof value === 'object' &&
  value !== null &&
  'deviceId' in value &&
  typeof value.deviceId === 'string' &&
  key?.toString() === value.deviceId;
