import { decodeCloudEvents } from './cloudevents.ts';
import { decodeLines } from './line-protocol.ts';
import { decodeCbor, decodeJson } from './own-shape.ts';
import type { DecodeContext, Decoded } from './reading-set.ts';
import { decodeSenmlCbor, decodeSenmlJson } from './senml.ts';

type Decoder = (bytes: Uint8Array, context: DecodeContext) => Decoded;

/** The codec of each media type that names its form. Plain JSON is Fieldlog's own shape, or values by name. */
const decoders = {
  'application/json': decodeJson,
  'application/cbor': decodeCbor,
  'application/senml+json': decodeSenmlJson,
  'application/sensml+json': decodeSenmlJson,
  'application/senml+cbor': decodeSenmlCbor,
  'application/sensml+cbor': decodeSenmlCbor,
  'application/cloudevents+json': decodeCloudEvents,
  'application/cloudevents-batch+json': decodeCloudEvents,
  'text/plain': (bytes, context) => decodeLines(bytes, context, { precision: 'ns' }),
} as const satisfies Readonly<Record<string, Decoder>>;

export type PayloadType = keyof typeof decoders;

export const payloadTypes = Object.keys(decoders) as readonly PayloadType[];

/** `undefined` for a media type that is none of a payload. */
export function payloadType(contentType: string): PayloadType | undefined {
  const essence = contentType.toLowerCase().split(';', 1)[0]?.trim() ?? '';
  return payloadTypes.find((one) => one === essence);
}

/** What a payload without a media type most likely is, by its first byte: JSON, CBOR or line protocol. */
export function guessedType(bytes: Uint8Array): PayloadType {
  const first = bytes.find((byte) => byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d) ?? 0;
  if (first === 0x7b || first === 0x5b) return 'application/json';
  return first >= 0x80 ? 'application/cbor' : 'text/plain';
}

/** Throws `MalformedPayload` or `OversizedPayload`, and no other error, whatever the bytes are. */
export const decodePayload = (type: PayloadType, bytes: Uint8Array, context: DecodeContext): Decoded =>
  decoders[type](bytes, context);
