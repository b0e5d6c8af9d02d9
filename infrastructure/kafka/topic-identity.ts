import type { Cluster } from 'kafkajs';
import Encoder from 'kafkajs/src/protocol/encoder.js';

/** Metadata of the first version that identifies topics by id, which kafkajs does not speak: Kafka 2.8. */
const metadata = { apiKey: 3, apiVersion: 10, apiName: 'Metadata' };

/** What kafkajs has of a broker and does not declare. */
type Broker = {
  readonly connectionPool: {
    send<T>(message: {
      readonly request: typeof metadata & { encode(): Promise<Encoder> };
      readonly response: { decode(payload: Buffer): Promise<Buffer>; parse(payload: Buffer): Promise<T> };
    }): Promise<T>;
  };
};

const noId = '00000000000000000000000000000000';

/** The id that a topic was given when it was made, as 32 hexadecimal digits; `null` where brokers know none. */
export async function topicId(cluster: Cluster, topic: string): Promise<string | null> {
  const { connectionPool } = (await cluster.findControllerBroker()) as unknown as Broker;
  return connectionPool.send({
    request: { ...metadata, encode: async () => requestFor(topic) },
    response: { decode: async (payload) => payload, parse: async (payload) => topicIdIn(payload) },
  });
}

/** Ends the request's header, which is all there is to this version's flexible one, and asks for one topic by name. */
function requestFor(topic: string): Encoder {
  const encoder = new Encoder();
  encoder.writeUVarInt(noTags);
  encoder.writeUVarInt(1 + 1);
  encoder.writeBufferInternal(Buffer.alloc(16));
  encoder.writeUVarIntString(topic);
  encoder.writeUVarInt(noTags);
  // Neither made when it is not there, nor with what the user may do.
  encoder.writeBufferInternal(Buffer.from([0, 0, 0]));
  encoder.writeUVarInt(noTags);
  return encoder;
}

const noTags = 0;

function topicIdIn(payload: Buffer): string | null {
  const answer = new Fields(payload);
  answer.skipTags();
  answer.skip(4);
  for (let brokers = answer.length(); brokers > 0; brokers -= 1) {
    answer.skip(4);
    answer.skip(answer.length());
    answer.skip(4);
    answer.skip(answer.length());
    answer.skipTags();
  }
  answer.skip(answer.length());
  answer.skip(4);
  if (answer.length() === 0) return null;
  const error = answer.int16();
  if (error !== 0)
    throw new Error(`the broker answers with error ${error} to the question for the topic's id`);
  answer.skip(answer.length());
  const id = answer.hex(16);
  return id === noId ? null : id;
}

/** Reads a response of a flexible version field by field. */
class Fields {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  skip(bytes: number): void {
    this.#at += bytes;
  }

  int16(): number {
    this.#at += 2;
    return this.#buffer.readInt16BE(this.#at - 2);
  }

  hex(bytes: number): string {
    this.#at += bytes;
    return this.#buffer.toString('hex', this.#at - bytes, this.#at);
  }

  /** Of a compact string or array; 0 where it is null. */
  length(): number {
    return Math.max(0, this.#uvarint() - 1);
  }

  skipTags(): void {
    for (let tags = this.#uvarint(); tags > 0; tags -= 1) {
      this.#uvarint();
      this.skip(this.#uvarint());
    }
  }

  #uvarint(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#buffer.readUInt8(this.#at);
      this.#at += 1;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }
}
