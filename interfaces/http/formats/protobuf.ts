import { MalformedPayload } from './reading-set.ts';

const cut = (): MalformedPayload => new MalformedPayload('It is cut off, or not protobuf');

/** The fields of one protobuf message, in order. Whatever the bytes are, it ends, or throws `MalformedPayload`. */
export class ProtobufReader {
  readonly #bytes: Buffer;
  #at = 0;
  #wire = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The number of the next field; 0 at the end. Its value must be read, or skipped, before the next call. */
  next(): number {
    if (this.#at === this.#bytes.length) return 0;
    const tag = Number(this.varint());
    this.#wire = tag & 7;
    const field = Math.floor(tag / 8);
    if (field === 0 || field > 0x1fffffff) throw cut();
    return field;
  }

  /** Unsigned, up to 64 bits. */
  varint(): bigint {
    let low = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#byte();
      low |= (byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt(low >>> 0);
    }
    let value = BigInt(low >>> 0);
    for (let shift = 28n; shift < 70n; shift += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw cut();
  }

  int64(): bigint {
    this.#expect(0);
    return BigInt.asIntN(64, this.varint());
  }

  fixed64(): bigint {
    this.#expect(1);
    return this.#bytes.readBigUInt64LE(this.#take(8));
  }

  double(): number {
    this.#expect(1);
    return this.#bytes.readDoubleLE(this.#take(8));
  }

  /** The bits of a double, since there are several that are not a number. */
  doubleBits(): bigint {
    return this.fixed64();
  }

  bytes(): Buffer {
    this.#expect(2);
    const length = Number(this.varint());
    const start = this.#take(length);
    return this.#bytes.subarray(start, start + length);
  }

  text(): string {
    return this.bytes().toString();
  }

  message(): ProtobufReader {
    return new ProtobufReader(this.bytes());
  }

  skip(): void {
    if (this.#wire === 0) this.varint();
    else if (this.#wire === 1) this.#take(8);
    else if (this.#wire === 2) this.bytes();
    else if (this.#wire === 5) this.#take(4);
    else throw cut();
  }

  #expect(wire: number): void {
    if (this.#wire !== wire) throw cut();
  }

  #byte(): number {
    return this.#bytes[this.#take(1)] as number;
  }

  #take(count: number): number {
    const start = this.#at;
    if (start + count > this.#bytes.length) throw cut();
    this.#at += count;
    return start;
  }
}

/** The parts of a message, each as a field of its own. */
export const protobufVarint = (field: number, value: bigint): Buffer =>
  Buffer.concat([varintBytes(BigInt(field << 3)), varintBytes(BigInt.asUintN(64, value))]);

export const protobufBytes = (field: number, value: Uint8Array): Buffer =>
  Buffer.concat([varintBytes(BigInt((field << 3) | 2)), varintBytes(BigInt(value.length)), value]);

function varintBytes(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}
