import { deletedRevision, type ProposedEvent } from './events.ts';

/** Who may do what to a stream: names of users and groups. An action that is missing is decided by the defaults. */
export type Acl = {
  readonly $r?: Roles;
  readonly $w?: Roles;
  readonly $d?: Roles;
  readonly $mr?: Roles;
  readonly $mw?: Roles;
};
type Roles = string | readonly string[];

/** What the newest event of a stream's metastream says of it. */
export type StreamMetadata = {
  /** How many events are read, counted from the end. */
  readonly maxCount?: bigint;
  /** Seconds after which an event is not read any more. */
  readonly maxAge?: number;
  /** The first revision that is read. */
  readonly truncateBefore?: bigint;
  readonly acl?: Acl;
};

export const isMetastream = (stream: string): boolean => stream.startsWith('$$');

export const metastreamOf = (stream: string): string => `$$${stream}`;

export const originalOf = (metastream: string): string => metastream.slice(2);

/** The server keeps one event of every metastream. */
const ofMetastreams: StreamMetadata = { maxCount: 1n };

export function metadataOf(stream: string, newest: ProposedEvent | undefined): StreamMetadata {
  if (isMetastream(stream)) return ofMetastreams;
  const json = newest && parsed(newest.data);
  if (!json) return {};
  return {
    ...(isCount(json.$maxCount) && { maxCount: BigInt(json.$maxCount) }),
    ...(isCount(json.$maxAge) && { maxAge: json.$maxAge }),
    ...(isCount(json.$tb) && { truncateBefore: asRevision(json.$tb) }),
    ...(isObject(json.$acl) && { acl: json.$acl }),
  };
}

/** The metadata event of a soft delete, which replaces whatever the metadata was. */
export const softDeletion = (id: string): ProposedEvent => metadataEvent(id, `{"$tb":${deletedRevision}}`);

/**
 * The metadata event by which a soft-deleted stream begins anew: what its metadata is now, but for the first revision.
 */
export function recreation(id: string, newest: ProposedEvent, from: bigint): ProposedEvent {
  const { $tb: _, ...rest } = parsed(newest.data) ?? {};
  const others = JSON.stringify(rest).slice(1, -1);
  return metadataEvent(id, `{"$tb":${from}${others && `,${others}`}}`);
}

const metadataEvent = (id: string, json: string): ProposedEvent => ({
  id,
  type: '$metadata',
  contentType: 'application/json',
  data: new TextEncoder().encode(json),
  metadata: new Uint8Array(),
});

/** The largest revision is no exact number of JavaScript's; what it is read as lies above it. */
const asRevision = (value: number): bigint =>
  value >= Number(deletedRevision) ? deletedRevision : BigInt(value);

const isCount = (value: unknown): value is number => typeof value === 'number' && Number.isInteger(value);

const isObject = (value: unknown): value is Acl => typeof value === 'object' && value !== null;

export function parsed(data: Uint8Array): Record<string, unknown> | undefined {
  try {
    const json = JSON.parse(Buffer.from(data).toString());
    return isObject(json) ? (json as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
