import { isUtf8 } from 'node:buffer';
import { parseExactJson } from '../../exact-json.ts';
import { MalformedPayload, OversizedPayload } from './reading-set.ts';

const deepest = 64;
const mostValues = 500_000;

/** Text of UTF-8, without a byte order mark. Throws `MalformedPayload`. */
export function textOf(bytes: Uint8Array): string {
  if (!isUtf8(bytes)) throw new MalformedPayload('It must be UTF-8');
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

/** JSON, with integers that no double holds as bigint. Throws `MalformedPayload` or `OversizedPayload`. */
export function jsonOf(bytes: Uint8Array): unknown {
  const text = textOf(bytes);
  refuseBombs(bytes);
  try {
    return parseExactJson(text);
  } catch (error) {
    throw new MalformedPayload((error as SyntaxError).message);
  }
}

/** What is not JSON is counted somehow: the parser refuses it. */
function refuseBombs(bytes: Uint8Array): void {
  let depth = 0;
  let values = 0;
  let isInString = false;
  for (let i = 0; i < bytes.length; i += 1) {
    const byte = bytes[i];
    if (isInString) {
      if (byte === 0x5c) i += 1;
      else if (byte === 0x22) isInString = false;
    } else if (byte === 0x22) isInString = true;
    else if (byte === 0x5b || byte === 0x7b) {
      depth += 1;
      values += 1;
      if (depth > deepest) throw new MalformedPayload('It nests too deep');
    } else if (byte === 0x5d || byte === 0x7d) depth -= 1;
    else if (byte === 0x2c) values += 1;
    if (values > mostValues) throw new OversizedPayload(mostValues, 'values');
  }
}

export const isMembers = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
