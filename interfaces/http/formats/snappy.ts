import { MalformedPayload, OversizedPayload } from './reading-set.ts';

const cut = (): MalformedPayload => new MalformedPayload('It is not a block of snappy');

/**
 * A snappy block, inflated; it must be exactly as long as it says, and at most `limit` bytes. The library there is
 * takes blocks that end early or late. Throws `MalformedPayload` or `OversizedPayload`.
 */
export function inflateSnappy(block: Uint8Array, limit: number): Buffer {
  let at = 0;
  const length = readLength();
  if (length > limit) throw new OversizedPayload(limit, 'bytes, inflated');
  const output = Buffer.alloc(length);
  let filled = 0;
  while (at < block.length) {
    const tag = byte();
    const kind = tag & 3;
    if (kind === 0) literal(tag >>> 2);
    else if (kind === 1) copy(((tag >>> 2) & 7) + 4, ((tag >>> 5) << 8) | byte());
    else copy((tag >>> 2) + 1, little(kind === 2 ? 2 : 4));
  }
  if (filled !== length) throw cut();
  return output;

  function readLength(): number {
    let value = 0;
    for (let factor = 1; factor <= 2 ** 28; factor *= 128) {
      const part = byte();
      value += (part & 0x7f) * factor;
      if (part < 0x80) return value;
    }
    throw cut();
  }

  function byte(): number {
    const value = block[at];
    if (value === undefined) throw cut();
    at += 1;
    return value;
  }

  function little(bytes: number): number {
    let value = 0;
    for (let i = 0; i < bytes; i += 1) value += byte() * 256 ** i;
    return value;
  }

  function literal(short: number): void {
    const count = (short < 60 ? short : little(short - 59)) + 1;
    if (at + count > block.length || filled + count > length) throw cut();
    output.set(block.subarray(at, at + count), filled);
    at += count;
    filled += count;
  }

  /** Of what is there already, and of what this copies itself where it overlaps. */
  function copy(count: number, offset: number): void {
    if (offset === 0 || offset > filled || filled + count > length) throw cut();
    for (let i = 0; i < count; i += 1) output[filled + i] = output[filled + i - offset] as number;
    filled += count;
  }
}
