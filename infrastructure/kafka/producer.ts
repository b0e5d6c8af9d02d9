import kafkajs, { type Kafka, type Message, type Producer } from 'kafkajs';
import { metadataMaxAge, requestTimeout, retries } from './client.ts';
import { type Compression, compressionTypes } from './kafkajs-patches.ts';

/**
 * Sends one batch at a time and returns what the brokers acknowledged. Idempotent, so that what kafkajs sends again
 * by itself is stored once. But after a failure it would give the sequence numbers of a batch whose fate is unknown
 * to the next one, which a broker that has the first would then take for a repetition, acknowledge and drop: a
 * producer that failed is never used again.
 */
export class AcknowledgingProducer {
  readonly #kafka: Kafka;
  readonly #topic: string;
  readonly #compression: number;
  #connected: Promise<Producer> | undefined;

  constructor(kafka: Kafka, topic: string, compression: Compression) {
    this.#kafka = kafka;
    this.#topic = topic;
    this.#compression = compressionTypes[compression];
  }

  /**
   * Resolves with the offset of the first message in each partition that was acknowledged by all replicas in sync.
   * What is not in the answer, and everything when it throws, may or may not be in the log. Aborting leaves it so.
   */
  async send(messages: readonly Message[], signal: AbortSignal): Promise<ReadonlyMap<number, bigint>> {
    signal.throwIfAborted();
    this.#connected ??= this.#connect();
    const connected = this.#connected;
    const sent = this.#sendWith(connected, messages);
    try {
      const offsets = await unlessAborted(signal, sent);
      // When a leader moves while kafkajs tries again, it can leave a partition out and call that a success.
      if (!messages.every(({ partition }) => partition === undefined || offsets.has(partition)))
        this.#discard(connected, sent);
      return offsets;
    } catch (error) {
      this.#discard(connected, sent);
      throw error;
    }
  }

  async close(): Promise<void> {
    const connected = this.#connected;
    this.#connected = undefined;
    await (await connected?.catch(() => undefined))?.disconnect();
  }

  async #connect(): Promise<Producer> {
    const producer = this.#kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
      allowAutoTopicCreation: false,
      metadataMaxAge,
      // About as long as brokers take to find new leaders, for what is sent by another producer may be stored twice.
      retry: { ...retries, retries: 8 },
    });
    try {
      await producer.connect();
      return producer;
    } catch (error) {
      await producer.disconnect();
      throw error;
    }
  }

  /** Nothing waits for it. kafkajs connects again as long as it tries to send, so it is cut off when done, too. */
  #discard(connected: Promise<Producer>, sent: Promise<unknown>): void {
    if (this.#connected === connected) this.#connected = undefined;
    const disconnect = () => connected.then((producer) => producer.disconnect()).catch(() => undefined);
    void disconnect();
    void sent.catch(() => undefined).then(disconnect);
  }

  async #sendWith(
    connected: Promise<Producer>,
    messages: readonly Message[],
  ): Promise<ReadonlyMap<number, bigint>> {
    const producer = await connected;
    const answers = await producer.sendBatch({
      acks: -1,
      timeout: requestTimeout,
      compression: this.#compression,
      topicMessages: [{ topic: this.#topic, messages: [...messages] }],
    });
    return new Map(
      answers.flatMap(({ partition, errorCode, baseOffset }) =>
        errorCode === 0 && baseOffset !== undefined ? [[partition, BigInt(baseOffset)] as const] : [],
      ),
    );
  }
}

function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  return Promise.race([work, aborted]).finally(() => signal.removeEventListener('abort', abort));
}
