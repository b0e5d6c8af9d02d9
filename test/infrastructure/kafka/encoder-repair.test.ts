import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import fc from 'fast-check';
import Encoder from 'kafkajs/src/protocol/encoder.js';
import '../../../infrastructure/kafka/kafkajs-patches.ts';

type Written = Encoder & {
  writeInt32(n: number): Written;
  writeBuffer(b: Buffer): Written;
  readonly buffer: Buffer;
};

describe('An encoder of kafkajs', () => {
  const newEncoder = (...size: number[]) => Reflect.construct(Encoder, size) as Written;

  it('holds what was written to it, however it grew', () => {
    const parts = fc.array(
      fc.oneof(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.uint8Array({ maxLength: 400 })),
    );
    fc.assert(
      fc.property(parts, (written) => {
        const encoder = newEncoder();
        const expected = written.map((part) => {
          if (typeof part !== 'number') {
            encoder.writeBuffer(Buffer.from(part));
            return Buffer.from(part);
          }
          encoder.writeInt32(part);
          const bytes = Buffer.alloc(4);
          bytes.writeInt32BE(part);
          return bytes;
        });
        assert.deepEqual(Buffer.from(encoder.buffer), Buffer.concat(expected));
      }),
    );
  });

  it('writes numbers of 32 bits seven bits a byte, the lowest first, as brokers read them', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })), (numbers) => {
        const encoder = newEncoder();
        for (const number of numbers) encoder.writeUVarInt(number);
        const bits = numbers.map((number) => (number >>> 0).toString(2));
        const bytes = bits.flatMap((text) => {
          const sevens = text.padStart(7 * Math.ceil(text.length / 7), '0').match(/.{7}/g) ?? [];
          return sevens
            .toReversed()
            .map((seven, i) => Number.parseInt((i < sevens.length - 1 ? '1' : '0') + seven, 2));
        });
        assert.deepEqual([...encoder.buffer], bytes);
      }),
    );
  });

  it('takes no memory of its own until it holds much', () => {
    const encoder = newEncoder();
    assert.equal(encoder.buf.length, 0);
    assert.equal(encoder.writeInt32(1).buf.buffer.byteLength, Buffer.poolSize);
    assert.equal(newEncoder(5000).buf.length, 8192);
  });
});

describe('A record of a message', () => {
  const require = createRequire(import.meta.url);
  const file = require.resolve('kafkajs/src/protocol/recordBatch/record/v0/index.js');

  type Encode = (record: object) => Encoder;
  /** What a request that produces is made with. */
  const encode: Encode = require(file);

  /** What kafkajs comes with. */
  function original(): Encode {
    const patched = require.cache[file];
    delete require.cache[file];
    const own = require(file);
    require.cache[file] = patched;
    return own;
  }

  it('is the same bytes that kafkajs makes of it', () => {
    const text = fc.string({ unit: 'binary' });
    const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
    const value = fc.oneof(text, bytes);
    const message = fc.record({
      key: fc.option(value),
      value: fc.option(value),
      headers: fc.dictionary(text, fc.oneof(value, fc.array(value))),
      offsetDelta: fc.nat(),
      timestampDelta: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
    });
    const encodeAsKafkajs = original();
    assert.notEqual(encode, encodeAsKafkajs);
    const bytesOf = (encoder: Encoder) => Buffer.from(encoder.buf.subarray(0, encoder.offset));
    fc.assert(
      fc.property(message, (one) => assert.deepEqual(bytesOf(encode(one)), bytesOf(encodeAsKafkajs(one)))),
    );
  });
});
