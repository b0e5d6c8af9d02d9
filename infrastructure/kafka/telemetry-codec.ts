import type { KafkaMessage, Message } from 'kafkajs';
import type { Position } from '../../application/ports/event-source.ts';
import {
  type PublicationHeader,
  recordAt,
  type TelemetryPublication,
  type TelemetryRecord,
} from '../../application/ports/telemetry-log.ts';
import { isDeviceId, isTimestamp, readingLimits } from '../../domain/telemetry.ts';

export type PartitionMessage = {
  readonly partition: number;
  readonly message: Message;
  /** Of the value, before compression. */
  readonly bytes: number;
};

/** Well below the 1 MiB that brokers take by default, so that a few of them still make a batch. */
const greatestValue = 262_144;

/** An event as JSON, with what decides its partition. */
export type EncodedEvent = { readonly deviceId: string; readonly json: string };

export function encodeEvents({
  events,
  eventsJson,
}: Pick<TelemetryPublication, 'events' | 'eventsJson'>): readonly EncodedEvent[] {
  const items = eventsJson === undefined ? undefined : objectsIn(eventsJson, events.length);
  return events.map((event, i) => ({ deviceId: event.deviceId, json: items?.[i] ?? JSON.stringify(event) }));
}

/**
 * The text of each of `count` objects in a JSON array, a tenth of the time that serializing them takes. Where there is
 * no space, the objects are `count - 1` times divided by `},{`: if it is there oftener it is in some text as well, and
 * the answer is `undefined`, as it is where there is space.
 */
function objectsIn(json: string, count: number): readonly string[] | undefined {
  if (spaces.some((space) => json.includes(space))) return undefined;
  const inner = json.slice('[{'.length, -'}]'.length).split('},{');
  return inner.length === count ? inner.map((members) => `{${members}}`) : undefined;
}

const spaces = [' ', '\n', '\r', '\t'];

/**
 * One message for each partition the events go to, since a message costs the same whatever it carries; more where
 * one would grow too large. The value is the publication with those of its events and their indexes, whole in
 * itself; the headers say the same to those who route by them (CloudEvents 1.0, binary mode).
 */
export function encodePublication(
  publication: TelemetryPublication,
  events: readonly EncodedEvent[],
  partitions: number,
  indexes: readonly number[] = events.map((_, index) => index),
): readonly PartitionMessage[] {
  const { events: _, eventsJson: __, ...header } = publication;
  const opening = JSON.stringify(header).slice(0, -1);
  const open = new Map<number, Part>();
  const full: Part[] = [];
  for (const [at, { deviceId, json }] of events.entries()) {
    const partition = partitionOf(deviceId, partitions);
    let part = open.get(partition);
    if (!part || part.size + json.length > greatestValue) {
      if (part) full.push(part);
      part = { partition, deviceId, indexes: [], jsons: [], size: opening.length };
      open.set(partition, part);
    }
    if (part.deviceId !== deviceId) part.deviceId = null;
    part.indexes.push(indexes[at] as number);
    part.jsons.push(json);
    part.size += json.length;
  }
  return [...full, ...open.values()].map((part) => messageOf(part, opening, publication));
}

type Part = {
  readonly partition: number;
  /** Whose events they all are, `null` when of several devices. */
  deviceId: string | null;
  readonly indexes: number[];
  readonly jsons: string[];
  size: number;
};

function messageOf(
  { partition, deviceId, indexes, jsons }: Part,
  opening: string,
  publication: TelemetryPublication,
): PartitionMessage {
  const value = Buffer.from(`${opening},"indexes":[${indexes.join()}],"events":[${jsons.join()}]}`);
  const { id, type, receivedAt, correlationId, actor, schemaVersion, traceparent } = publication;
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    ce_specversion: '1.0',
    ce_id: `${id}/${indexes[0]}`,
    ce_type: type,
    ce_source: '/fieldlog',
    ce_time: new Date(receivedAt).toISOString(),
    ce_schemaversion: String(schemaVersion),
    ce_correlationid: correlationId,
    ce_actor: actor,
    [countHeader]: String(jsons.length),
  };
  if (traceparent !== undefined) headers.traceparent = traceparent;
  return { partition, bytes: value.length, message: { partition, key: deviceId, value, headers } };
}

/** How many events a message carries, so that they can be counted without a look into the value. */
const countHeader = 'ce_count';

type Packed = PublicationHeader & {
  readonly indexes: readonly number[];
  readonly events: readonly unknown[];
};

/** Of the texts that describe an event, in characters: every column that holds one has room for more. */
const longestText = 160;
/** With an event's index behind it, an id still fits. */
const longestId = 128;

/**
 * The events of a message, never none; whatever the message holds, never an error. One that was not published by
 * Fieldlog is one event: a single reading as JSON, keyed by its device id as Fieldlog's are, is a recorded reading;
 * anything else is passed on as the text it is, for the projector to park.
 */
export function decodeMessage(
  message: KafkaMessage,
  origin: { readonly topic: string; readonly partition: number },
): readonly TelemetryRecord[] {
  const text = message.value?.toString() ?? '';
  const value = parsed(text);
  if (isPacked(value)) return unpack(value, message.offset);
  // A topic's name may have 249 characters; partition and offset alone distinguish the events of a topic.
  const id =
    originOf(message) ?? `${origin.topic.slice(0, longestId - 32)}/${origin.partition}/${message.offset}`;
  return [
    {
      id,
      type: 'TelemetryRecorded',
      schemaVersion: 1,
      position: after(message.offset),
      receivedAt: arrivalTime(message),
      correlationId: boundedHeader(message, 'ce_correlationid') ?? id,
      actor: boundedHeader(message, 'ce_actor') ?? 'kafka',
      data: isOwnReading(value, message.key) ? value : text,
    },
  ];
}

/**
 * The messages for a topic with so many partitions that carry what this one does: Fieldlog's are divided anew by the
 * devices of their events, others stay as they are, with where they came from as their identity
 * and when they arrived there.
 */
export function repartitioned(
  message: KafkaMessage,
  origin: { readonly topic: string; readonly partition: number },
  partitions: number,
): readonly Message[] {
  const value = parsed(message.value?.toString() ?? '');
  const { timestamp } = message;
  if (isPacked(value)) {
    const { indexes, events, ...header } = value;
    const publication = { ...header, events } as unknown as TelemetryPublication;
    const encoded = events.map((event) => ({ deviceId: deviceIdIn(event), json: JSON.stringify(event) }));
    const divided = encodePublication(publication, encoded, partitions, indexes);
    return divided.map((one) => ({ ...one.message, timestamp }));
  }
  const [{ id, receivedAt }] = decodeMessage(message, origin) as [TelemetryRecord];
  const key = isOwnReading(value, message.key) ? message.key?.toString() : undefined;
  const partition = key === undefined ? origin.partition % partitions : partitionOf(key, partitions);
  const headers = { ...message.headers, [originHeader]: id, [originTimeHeader]: String(receivedAt) };
  return [{ key: message.key, value: message.value, headers, partition, timestamp }];
}

/** The identity that a message of another producer had in the topic that it was copied from. */
const originHeader = 'ce_origin';
/** When it arrived there, epoch milliseconds: the broker stamps a copy with the time of copying. */
const originTimeHeader = 'ce_origintime';
const originForm = /^[\w.-]{1,96}\/\d{1,10}\/\d{1,19}$/;

function originOf(message: KafkaMessage): string | undefined {
  const text = header(message, originHeader);
  return text !== undefined && originForm.test(text) ? text : undefined;
}

function deviceIdIn(event: unknown): string {
  const id = typeof event === 'object' && event !== null && 'deviceId' in event ? event.deviceId : '';
  return typeof id === 'string' ? id : '';
}

/** The broker's time of appending where the topic has it so, else the producer's, which may be anything. */
function arrivalTime(message: KafkaMessage): number {
  const copied = originOf(message) === undefined ? undefined : header(message, originTimeHeader);
  return Math.floor(Math.min(readingLimits.latest, Math.max(0, Number(copied ?? message.timestamp) || 0)));
}

function unpack(packed: Packed, offset: string): readonly TelemetryRecord[] {
  const { indexes, events } = packed;
  const last = events.length - 1;
  return events.map((data, i) =>
    recordAt(packed, indexes[i] as number, i === last ? after(offset) : `${offset}-${i + 1}`, data),
  );
}

const after = (offset: string): Position =>
  formatPosition({ offset: BigInt(offset) + 1n, events: 0 }) as Position;

/** The number of events of a message, from its header alone; 1 where another producer wrote something else there. */
export function eventsIn(message: KafkaMessage): number {
  const count = Number(header(message, countHeader) ?? 1);
  return isCount(count) && count >= 1 && count <= mostEvents ? count : 1;
}

/** An event takes more than one byte of a message, and no broker takes messages as long as this. */
const mostEvents = 10_000_000;

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

const isBoundedText = (value: unknown): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= longestText && value.isWellFormed();

function boundedHeader(message: KafkaMessage, name: string): string | undefined {
  const text = header(message, name);
  return isBoundedText(text) ? text : undefined;
}

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
    isBoundedText(id) &&
    id.length <= longestId &&
    isBoundedText(type) &&
    isCount(schemaVersion) &&
    isTimestamp(receivedAt) &&
    isBoundedText(correlationId) &&
    isBoundedText(actor) &&
    (traceparent === undefined || isBoundedText(traceparent)) &&
    Array.isArray(events) &&
    events.length > 0 &&
    Array.isArray(indexes) &&
    indexes.length === events.length &&
    indexes.every(isCount)
  );
}

/** With another key a device could be in two partitions, and its order would be lost. */
const isOwnReading = (value: unknown, key: Buffer | null): boolean =>
  typeof value === 'object' &&
  value !== null &&
  'deviceId' in value &&
  isDeviceId(value.deviceId) &&
  key?.toString() === value.deviceId;

/** The events from `start` on, at most `size` at a time; messages are decoded when their events are due. */
export function* telemetryChunks(
  messages: readonly KafkaMessage[],
  origin: { readonly topic: string; readonly partition: number },
  start: KafkaPosition,
  size: number,
): Generator<readonly TelemetryRecord[]> {
  let chunk: TelemetryRecord[] = [];
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

const seed = 0x9747b28c;
const m = 0x5bd1e995;

/** A buffer for each key would cost more than the rest. Long enough for any device id, three bytes a character. */
const scratch = Buffer.allocUnsafe(384);

/**
 * The partition Kafka's own clients choose for this key, so that every producer puts a device in the same one.
 * kafkajs has the same function on 64-bit integers, at many times the cost.
 */
export function partitionOf(key: string, partitions: number): number {
  const fits = 3 * key.length <= scratch.length;
  const bytes = fits ? scratch : Buffer.from(key);
  const length = fits ? scratch.write(key) : bytes.length;
  return (murmur2(bytes, length) & 0x7fffffff) % partitions;
}

function murmur2(data: Buffer, length: number): number {
  let h = seed ^ length;
  let i = 0;
  for (; i + 4 <= length; i += 4) {
    let k = Math.imul(data.readInt32LE(i), m);
    k ^= k >>> 24;
    h = Math.imul(h, m) ^ Math.imul(k, m);
  }
  if (i < length) {
    for (let rest = length - i - 1; rest >= 0; rest -= 1) h ^= (data[i + rest] as number) << (8 * rest);
    h = Math.imul(h, m);
  }
  h ^= h >>> 13;
  h = Math.imul(h, m);
  return h ^ (h >>> 15);
}
