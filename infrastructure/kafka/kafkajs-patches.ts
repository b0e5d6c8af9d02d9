import { createRequire } from 'node:module';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import kafkajs, { type Message } from 'kafkajs';
import Connection from 'kafkajs/src/network/connection.js';
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js';
import Encoder from 'kafkajs/src/protocol/encoder.js';

const { connect } = Connection.prototype;
const connecting = new WeakMap<Connection, Promise<unknown>>();

/**
 * In kafkajs 2.2.4 each of several requests that find a connection closed, as after a broker's restart, opens a
 * socket of its own and only the last one is used. The others stay open until the broker ends them for being idle,
 * which the connection then takes for its own end. So those who come while it is being opened wait for that.
 */
Connection.prototype.connect = function (this: Connection): Promise<unknown> {
  const opened = connecting.get(this) ?? connect.call(this).finally(() => connecting.delete(this));
  connecting.set(this, opened);
  return opened;
};

const sizeByDefault = 511;
const { nextPowerOfTwo } = Encoder;

/** kafkajs 2.2.4 begins every encoder with 512 zeroed bytes. With none it grows within Node's pool of small buffers. */
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

/** Only ever used between two awaits: holds the record that is being encoded. */
const body = new Encoder();

type KafkaRecord = Pick<Message, 'value'> & {
  readonly key?: Message['key'] | undefined;
  readonly headers?: Message['headers'] | undefined;
  readonly offsetDelta?: number;
  /** Milliseconds. */
  readonly timestampDelta?: number;
};

/**
 * kafkajs 2.2.4 makes an encoder for every header of every message, which takes half the time of encoding one with ten.
 * So a record is written into one, and then behind its length into another.
 */
function encodeRecord({
  offsetDelta = 0,
  timestampDelta = 0,
  key = null,
  value,
  headers = {},
}: KafkaRecord): Encoder {
  body.offset = 0;
  body.writeInt8(0).writeVarLong(timestampDelta).writeVarInt(offsetDelta);
  body.writeVarIntBytes(key).writeVarIntBytes(value);
  let count = 0;
  for (const name in headers) count += Array.isArray(headers[name]) ? headers[name].length : 1;
  body.writeVarInt(count);
  for (const name in headers) {
    const given = headers[name];
    if (Array.isArray(given)) for (const one of given) body.writeVarIntString(name).writeVarIntBytes(one);
    else body.writeVarIntString(name).writeVarIntBytes(given);
  }
  return new Encoder().writeVarInt(body.offset).writeEncoder(body);
}

// Before the first request that produces, which is when kafkajs loads what uses it.
const require = createRequire(import.meta.url);
const recordModule = require.resolve('kafkajs/src/protocol/recordBatch/record/v0/index.js');
require(recordModule);
(require.cache[recordModule] as NodeJS.Module).exports = encodeRecord;

const leastDelay = 10;
const timeoutCheck = 1000;

/**
 * kafkajs 2.2.4 arms the timer that ends a throttle whenever a request is answered, even with nothing pending, and
 * for `throttledUntil - now`, which is far below zero when there is no throttle: an idle connection then wakes up
 * thousands of times a second and Node warns of negative timeouts. A check is due only while requests are pending;
 * those held back by the limit of requests in flight are looked at when one of these is answered anyway.
 */
RequestQueue.prototype.scheduleCheckPendingRequests = function (this: RequestQueue): void {
  if (this.throttleCheckTimeoutId || this.pending.length === 0) return;
  const delay = Math.max(this.throttledUntil - Date.now(), leastDelay);
  this.throttleCheckTimeoutId = setTimeout(() => {
    this.throttleCheckTimeoutId = null;
    this.checkPendingRequests();
  }, delay);
};

/** Timeouts here are seconds long, but every connection would look for them ten times a second. */
RequestQueue.prototype.scheduleRequestTimeoutCheck = function (this: RequestQueue): void {
  if (!this.enforceRequestTimeout) return;
  this.destroy();
  this.requestTimeoutIntervalId = setInterval(() => {
    const now = Date.now();
    for (const request of this.inflight.values())
      if (now - request.sentAt > request.requestTimeout) request.timeoutRequest();
    if (!this.isConnected()) this.destroy();
  }, timeoutCheck);
};

export type Compression = 'none' | 'gzip' | 'zstd';

const { CompressionCodecs, CompressionTypes } = kafkajs;

/** Readings shrink as much as at higher levels. */
const options = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };

/**
 * kafkajs knows the number of zstd but leaves the codec to its users; Node's own is all it takes. On this thread:
 * a batch is done within a tenth of a millisecond or two, and another thread costs more than it takes over.
 */
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder: { buffer: Buffer }) => zstdCompressSync(encoder.buffer, options),
  decompress: async (buffer: Buffer) => zstdDecompressSync(buffer),
});

export const compressionTypes: Readonly<Record<Compression, number>> = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  zstd: CompressionTypes.ZSTD,
};
