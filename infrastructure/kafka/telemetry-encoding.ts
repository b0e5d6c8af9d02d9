import type { Message } from 'kafkajs';
import type { TelemetryPublication } from '../../application/ports/telemetry-log.ts';
import { partitionOf } from './partitioning.ts';

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

export const encodeEvents = (events: TelemetryPublication['events']): readonly EncodedEvent[] =>
  events.map((event) => ({ deviceId: event.deviceId, json: JSON.stringify(event) }));

/**
 * One message for each partition the events go to, since a message costs the same whatever it carries; more where
 * one would grow too large. The value is the publication with those of its events and their indexes, whole in
 * itself; the headers say the same to those who route by them (CloudEvents 1.0, binary mode).
 */
export function encodePublication(
  publication: TelemetryPublication,
  events: readonly EncodedEvent[],
  partitions: number,
): readonly PartitionMessage[] {
  const { events: _, eventsJson: __, ...said } = publication;
  const opening = JSON.stringify(said).slice(0, -1);
  const open = new Map<number, Part>();
  const full: Part[] = [];
  for (const [index, { deviceId, json }] of events.entries()) {
    const partition = partitionOf(deviceId, partitions);
    let part = open.get(partition);
    if (!part || part.size + json.length > greatestValue) {
      if (part) full.push(part);
      part = { partition, deviceId, indexes: [], jsons: [], size: opening.length };
      open.set(partition, part);
    }
    if (part.deviceId !== deviceId) part.deviceId = null;
    part.indexes.push(index);
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
export const countHeader = 'ce_count';
