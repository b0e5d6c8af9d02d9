import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { SubmittedReading } from '../../application/telemetry/ingest.ts';
import type { DecodeContext } from '../http/formats/reading-set.ts';
import { type Intake, notThisDevice, type RejectedReading } from '../http/intake.ts';
import type { MqttRejection } from '../http/mqtt-rejections-route.ts';
import { HttpProblem, problemKinds, problemOf } from '../http/problems.ts';
import type { RequestContext } from '../http/request-context.ts';
import type { topicCodecs } from './topics.ts';

/** One PUBLISH as it came. */
export type Publication = {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly contentType?: string | undefined;
  /** Of a repeated PUBLISH, what identifies it among others of the client; absent where it is not one that may repeat. */
  readonly repeat?: { readonly client: string; readonly messageId: number; readonly isDup: boolean };
};

/** `code` is a reason code of MQTT 5: below 0x80 for success. `detail` says what was rejected. */
export type PublicationOutcome = { readonly code: number; readonly detail?: string };

export const reasons = {
  success: 0x00,
  notAuthorized: 0x87,
  topicInvalid: 0x90,
  quotaExceeded: 0x97,
  payloadInvalid: 0x99,
} as const;

/** The last ones of this process: MQTT 3.1.1 cannot report them to the client. */
export class MqttRejections {
  readonly #all: MqttRejection[] = [];

  add(rejection: MqttRejection): void {
    this.#all.push(rejection);
    if (this.#all.length > 1000) this.#all.shift();
  }

  /** The newest first. */
  list(): readonly MqttRejection[] {
    return this.#all.toReversed();
  }
}

type PublicationParts = {
  readonly intake: Intake;
  readonly codecs: ReturnType<typeof topicCodecs>;
  readonly rejections: MqttRejections;
  readonly limits: DecodeContext['limits'];
  readonly duplicate: () => void;
};

/** Who publishes. */
type Publisher = Pick<RequestContext, 'identity' | 'caller'>;

/**
 * Takes a batch of publications of one connection. Resolves with one outcome each once what is accepted is durable.
 * Throws a problem, with nothing accepted, when the servers behind cannot be reached or a rate limit is reached.
 */
type TakePublications = (
  batch: readonly Publication[],
  publisher: Publisher,
) => Promise<readonly PublicationOutcome[]>;

export function takePublications(parts: PublicationParts): TakePublications {
  /** Publications without a time that are stored, so that a repeat is not another reading. */
  const stored = new LRUCache<string, true>({ max: 10_000, ttl: 10 * 60_000 });

  return async (batch, publisher) => {
    const outcomes: (PublicationOutcome | undefined)[] = batch.map(() => undefined);
    const readings: SubmittedReading[] = [];
    const rejected: RejectedReading[] = [];
    const untimed = new Map<number, string>();
    for (const [index, publication] of batch.entries()) {
      const decoded = decode(publication, publisher);
      if ('code' in decoded) {
        outcomes[index] = decoded;
        note(publication, publisher, decoded.kind, decoded.detail);
        rejected.push({ index, kind: decoded.kind, path: publication.topic, detail: decoded.detail });
        continue;
      }
      const key = decoded.readings.some(({ timestamp }) => timestamp === undefined)
        ? repeatKey(publication)
        : undefined;
      if (key !== undefined && publication.repeat?.isDup && stored.has(key)) {
        outcomes[index] = { code: reasons.success };
        parts.duplicate();
        continue;
      }
      if (key !== undefined) untimed.set(index, key);
      for (const reading of decoded.readings) readings.push({ ...reading, index });
      for (const { path, detail } of decoded.rejections)
        rejected.push({ index, kind: 'invalid-request', path, detail });
    }
    const taken = await parts.intake({ readings, rejected }, publisher);
    for (const key of untimed.values()) stored.set(key, true);
    const faults = Map.groupBy(taken.rejected, ({ index }) => index);
    const counts = new Map<number, number>();
    for (const { index } of readings) counts.set(index, (counts.get(index) ?? 0) + 1);
    return batch.map((publication, index) => {
      const known = outcomes[index];
      if (known) return known;
      const own = faults.get(index) ?? [];
      for (const { kind, path, detail } of own) note(publication, publisher, kind, `${path}: ${detail}`);
      const refused = own.filter(({ kind }) => kind !== 'invalid-request').length;
      return outcomeOf(own, (counts.get(index) ?? 0) - refused);
    });
  };

  function decode({ topic, payload, contentType }: Publication, { identity }: Publisher) {
    const codec = parts.codecs(topic, contentType);
    if (!codec)
      return {
        code: reasons.topicInvalid,
        kind: 'invalid-request',
        detail: 'No reading is taken by this topic',
      } as const;
    const own = identity.is === 'device' ? identity.deviceId : undefined;
    try {
      const context = { limits: parts.limits, device: codec.device ?? own, now: Date.now() };
      const decoded = codec.decode(payload, context);
      const other = decoded.readings.find(({ deviceId }) => own !== undefined && deviceId !== own);
      if (own !== undefined && other) throw notThisDevice(own, other.deviceId, 0);
      if (decoded.readings.length === 0 && decoded.rejections.length === 0)
        throw new HttpProblem('invalid-request', 'It has no reading');
      return decoded;
    } catch (error) {
      const { kind, message: detail } = problemOf(error);
      if (problemKinds[kind].status >= 500) throw error;
      return {
        code: kind === 'not-this-device' ? reasons.notAuthorized : reasons.payloadInvalid,
        kind,
        detail,
      };
    }
  }

  function note({ topic }: Publication, { caller }: Publisher, kind: string, detail: string): void {
    parts.rejections.add({
      at: Date.now(),
      actor: caller.actor,
      topic: topic.slice(0, 256),
      kind,
      detail: detail.slice(0, 512),
    });
  }
}

function outcomeOf(rejected: readonly RejectedReading[], accepted: number): PublicationOutcome {
  const [first] = rejected;
  if (!first) return { code: reasons.success };
  if (accepted > 0)
    return {
      code: reasons.success,
      detail: `${rejected.length} rejected; the first: ${first.path}: ${first.detail}`,
    };
  const code = first.kind === 'invalid-request' ? reasons.payloadInvalid : reasons.notAuthorized;
  return { code, detail: `${first.path}: ${first.detail}` };
}

/** By what a client sends again after it lost the line: its own packet id and the same bytes. */
function repeatKey({ repeat, topic, payload }: Publication): string | undefined {
  if (!repeat) return undefined;
  const digest = createHash('sha256').update(topic).update('\0').update(payload).digest('base64');
  return `${repeat.client}\0${repeat.messageId}\0${digest}`;
}
