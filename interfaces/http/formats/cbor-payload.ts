import { decode, Tokenizer } from 'cborg';
import { MalformedPayload, OversizedPayload } from './reading-set.ts';

const deepest = 64;
const mostTokens = 500_000;

/** Counts what decoding makes of the bytes, so that few of them cannot become much. */
class BoundedTokenizer extends Tokenizer {
  #tokens = 0;

  override next(): ReturnType<Tokenizer['next']> {
    this.#tokens += 1;
    if (this.#tokens > mostTokens) throw new OversizedPayload(mostTokens, 'values');
    return super.next();
  }
}

/** Not checked by the library, which would overflow the stack. Counts heads of arrays, maps and tags. */
function refuseDeep(value: unknown, depth = 0): void {
  if (depth > deepest) throw new MalformedPayload('It nests too deep');
  if (value instanceof Map) for (const one of value.values()) refuseDeep(one, depth + 1);
  else if (Array.isArray(value)) for (const one of value) refuseDeep(one, depth + 1);
}

/**
 * One CBOR item; maps are `Map`s, since their keys may be numbers, and integers that no double holds are bigint.
 * Throws `MalformedPayload` or `OversizedPayload`.
 */
export function cborOf(bytes: Uint8Array): unknown {
  try {
    // The library does not take a Buffer's slices for what it expects.
    const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const options = { useMaps: true, allowUndefined: false, rejectDuplicateMapKeys: true };
    const value: unknown = decode(plain, { ...options, tokenizer: new BoundedTokenizer(plain, options) });
    refuseDeep(value);
    return value;
  } catch (error) {
    if (error instanceof MalformedPayload || error instanceof OversizedPayload) throw error;
    if (error instanceof RangeError) throw new MalformedPayload('It nests too deep');
    throw new MalformedPayload((error as Error).message);
  }
}

/** Maps with text for keys as JSON would have them. */
export function plainOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plainOf);
  if (!(value instanceof Map)) return value;
  const entries = [...value].map(([key, member]) => [String(key), plainOf(member)] as const);
  return Object.fromEntries(entries);
}
