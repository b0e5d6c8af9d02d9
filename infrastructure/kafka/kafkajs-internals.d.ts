/** The parts of kafkajs that are reached into: see `kafkajs-patches.ts` and `topic-identity.ts`. */
declare module 'kafkajs/src/network/requestQueue/index.js' {
  export default class RequestQueue {
    pending: unknown[];
    /** Epoch milliseconds. */
    throttledUntil: number;
    throttleCheckTimeoutId: NodeJS.Timeout | null;
    enforceRequestTimeout: boolean;
    /** By correlation id; times in milliseconds. */
    inflight: Map<number, { sentAt: number; requestTimeout: number; timeoutRequest(): void }>;
    requestTimeoutIntervalId: NodeJS.Timeout | undefined;
    isConnected(): boolean;
    checkPendingRequests(): void;
    scheduleCheckPendingRequests(): void;
    scheduleRequestTimeoutCheck(): void;
    /** Clears both timers. */
    destroy(): void;
  }
}

declare module 'kafkajs/src/consumer/batch.js' {
  import type { KafkaMessage } from 'kafkajs';

  /** What a fetch brought of one partition, sorted out as for a consumer. */
  export default class Batch {
    constructor(topic: string, fetchedOffset: string, partitionData: object);
    /** What is delivered: neither control records nor messages of aborted transactions. */
    readonly messages: readonly KafkaMessage[];
    /** With these. */
    readonly messagesWithinOffset: readonly KafkaMessage[];
  }
}

declare module 'kafkajs/src/network/connection.js' {
  export default class Connection {
    connect(): Promise<unknown>;
  }
}

declare module 'kafkajs/src/protocol/encoder.js' {
  export default class Encoder {
    static nextPowerOfTwo(size: number): number;
    buf: Buffer;
    /** How much of `buf` is written. */
    offset: number;
    ensureAvailable(length: number): void;
    writeInt8(value: number): Encoder;
    writeVarInt(value: number): Encoder;
    writeVarLong(value: number): Encoder;
    writeVarIntString(value: string): Encoder;
    /** With its length before it, which is -1 for nothing. */
    writeVarIntBytes(value: Buffer | string | null | undefined): Encoder;
    writeEncoder(encoder: Encoder): Encoder;
    /** LEB128 of 32 bits. */
    writeUVarInt(value: number): Encoder;
    writeUVarIntString(value: string): Encoder;
    writeBufferInternal(buffer: Buffer): void;
  }
}
