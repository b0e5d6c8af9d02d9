import Encoder from 'kafkajs/src/protocol/encoder.js';

const sizeByDefault = 511;
const { nextPowerOfTwo } = Encoder;

/**
 * kafkajs 2.2.4 makes an encoder for every header of every message, and each begins with 512 zeroed bytes of its
 * own, which takes half the time of sending a message with ten headers. So an encoder begins with nothing and
 * grows within Node's pool of small buffers.
 */
Encoder.nextPowerOfTwo = (size: number): number => (size === sizeByDefault ? 0 : nextPowerOfTwo(size));

Encoder.prototype.ensureAvailable = function (this: Encoder, length: number): void {
  const needed = this.offset + length;
  if (needed <= this.buf.length) return;
  // Only what was written is ever read: no need to zero the rest.
  const grown = Buffer.allocUnsafe(nextPowerOfTwo(Math.max(needed, 127)));
  this.buf.copy(grown, 0, 0, this.offset);
  this.buf = grown;
};

/** Written where it belongs: kafkajs makes an array and a buffer for each of them, dozens a message. */
Encoder.prototype.writeUVarInt = function (this: Encoder, value: number): Encoder {
  this.ensureAvailable(5);
  let rest = value;
  while ((rest & ~0x7f) !== 0) {
    this.buf[this.offset++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  this.buf[this.offset++] = rest;
  return this;
};
