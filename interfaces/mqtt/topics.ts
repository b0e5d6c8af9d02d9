import type { TopicRule } from '../../infrastructure/config/form-variables.ts';
import { decodeLines } from '../http/formats/line-protocol.ts';
import { decodeValue } from '../http/formats/own-shape.ts';
import { decodePayload, guessedType, type PayloadType, payloadType } from '../http/formats/payload.ts';
import type { DecodeContext, Decoded } from '../http/formats/reading-set.ts';
import { decodeThingsBoard, decodeThingsBoardGateway } from '../http/formats/thingsboard.ts';

/** What clients of other systems publish to. */
const ownRules: readonly TopicRule[] = [
  { filter: 'v1/devices/me/telemetry', form: 'thingsboard' },
  { filter: 'v2/t', form: 'thingsboard' },
  { filter: 'v1/gateway/telemetry', form: 'gateway' },
  { filter: 'fieldlog/{device}/telemetry', form: 'any' },
  { filter: 'fieldlog/{device}/senml', form: 'senml' },
  { filter: 'telegraf/#', form: 'lines' },
  ...['telemetry', 't', 'event', 'e'].flatMap((name): TopicRule[] => [
    { filter: name, form: 'any' },
    { filter: `${name}/+/{device}`, form: 'any' },
  ]),
];

/** Decodes what was published to a topic that it knows. */
type TopicCodec = {
  readonly decode: (payload: Uint8Array, context: DecodeContext) => Decoded;
  /** The device that the topic names. */
  readonly device?: string;
};

/**
 * How the payload of a topic is decoded; `undefined` for a topic that leads nowhere. The rules given come before those
 * for other systems' clients.
 */
export function topicCodecs(rules: readonly TopicRule[]) {
  const all = [...rules, ...ownRules].map(({ filter, form }) => ({ levels: filter.split('/'), form }));
  return (topic: string, contentType?: string): TopicCodec | undefined => {
    const { path, type } = withoutProperties(topic);
    const levels = path.split('/');
    for (const { levels: filter, form } of all) {
      const named = matches(filter, levels);
      if (!named) continue;
      const { device, metric = 'value' } = named;
      const decode: TopicCodec['decode'] =
        form === 'value'
          ? (payload, context) => decodeValue(metric, payload, context)
          : decoderOf(form, payloadType(contentType ?? type ?? ''));
      return { decode, ...(device !== undefined && { device }) };
    }
    return undefined;
  };
}

/** Hono's property bag behind a topic: `telemetry/?content-type=application%2Fjson`. */
function withoutProperties(topic: string): { readonly path: string; readonly type?: string } {
  const at = topic.indexOf('/?');
  if (at === -1) return { path: topic };
  const type = new URLSearchParams(topic.slice(at + 2)).get('content-type');
  return { path: topic.slice(0, at), ...(type !== null && { type }) };
}

/** What a topic names. */
type Named = { readonly device?: string; readonly metric?: string };

/** What the levels name where they match the filter. */
function matches(filter: readonly string[], levels: readonly string[]): Named | undefined {
  const named: { -readonly [Name in keyof Named]: string } = {};
  for (const [i, wanted] of filter.entries()) {
    if (wanted === '#') return named;
    const level = levels[i];
    if (level === undefined) return undefined;
    if (wanted === '{device}') named.device = level;
    else if (wanted === '{metric}') named.metric = level;
    else if (wanted !== '+' && wanted !== level) return undefined;
  }
  return filter.length === levels.length ? named : undefined;
}

function decoderOf(
  form: Exclude<TopicRule['form'], 'value'>,
  said: PayloadType | undefined,
): TopicCodec['decode'] {
  if (form === 'thingsboard') return decodeThingsBoard;
  if (form === 'gateway') return decodeThingsBoardGateway;
  if (form === 'lines') return (payload, context) => decodeLines(payload, context, { precision: 'ns' });
  return (payload, context) => decodePayload(said ?? typeOf(form, payload), payload, context);
}

function typeOf(form: 'any' | 'json' | 'cbor' | 'senml', payload: Uint8Array): PayloadType {
  const guessed = guessedType(payload);
  if (form === 'senml')
    return guessed === 'application/cbor' ? 'application/senml+cbor' : 'application/senml+json';
  if (form === 'any') return guessed;
  return `application/${form}`;
}

/** Subscriptions that SDKs of ThingsBoard wait for: granted, and nothing is ever sent. */
const granted = [
  'v1/devices/me/attributes',
  'v1/devices/me/attributes/response/+',
  'v1/devices/me/rpc/request/+',
  'v1/devices/me/rpc/response/+',
];

export const isGranted = (filter: string): boolean => granted.includes(filter);
