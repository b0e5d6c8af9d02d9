import { constants, zstdCompressSync } from 'node:zlib';
import kafkajs, { type Message, type Producer } from 'kafkajs';
import { encodeEvents, encodePublication } from '../../infrastructure/kafka/telemetry-codec.ts';
import { serveCalls } from '../harness/peer.ts';
import { fleetReadings } from '../harness/workload.ts';

export type BareKafka = typeof calls;
const calls = { send };
serveCalls(calls);

type KafkaRun = {
  readonly brokers: string;
  readonly topic: string;
  readonly partitions: number;
  readonly devices: number;
  readonly perRequest: number;
  /** Requests whose messages share a batch. */
  readonly together: number;
  readonly seconds: number;
};

let producer: Producer | undefined;

const { CompressionCodecs, CompressionTypes } = kafkajs;

/** The codec of Fieldlog, but none of its patches of kafkajs, which are imported nowhere in this process. */
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async ({ buffer }: { buffer: Buffer }) =>
    zstdCompressSync(buffer, { params: { [constants.ZSTD_c_compressionLevel]: 1 } }),
  decompress: () => Promise.reject(new Error('This process only sends')),
});

/** kafkajs as it comes: the messages of the same requests, made before the clock starts, batch after batch; readings a second. */
async function send({
  brokers,
  topic,
  partitions,
  devices,
  perRequest,
  together,
  seconds,
}: KafkaRun): Promise<number> {
  producer ??= await connect(brokers);
  const batches = Array.from({ length: 20 }, (_, batch) =>
    Array.from({ length: together }, (_, i) =>
      messagesOf((batch * together + i) * perRequest, perRequest, devices, partitions),
    ).flat(),
  );
  const began = performance.now();
  const deadline = began + seconds * 1000;
  let sent = 0;
  while (performance.now() < deadline) {
    const messages = batches[sent % batches.length] as Message[];
    await producer.sendBatch({
      acks: -1,
      compression: CompressionTypes.ZSTD,
      topicMessages: [{ topic, messages }],
    });
    sent += 1;
  }
  return (sent * together * perRequest * 1000) / (performance.now() - began);
}

async function connect(brokers: string): Promise<Producer> {
  const client = new kafkajs.Kafka({ brokers: brokers.split(','), logLevel: kafkajs.logLevel.NOTHING });
  const connected = client.producer({
    idempotent: true,
    maxInFlightRequests: 1,
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
  });
  await connected.connect();
  return connected;
}

function messagesOf(from: number, count: number, devices: number, partitions: number): readonly Message[] {
  const events = fleetReadings(from, count, devices);
  const publication = {
    id: '018f4e9c-0000-7000-8000-000000000000',
    type: 'TelemetryRecorded',
    schemaVersion: 1,
    receivedAt: Date.now(),
    correlationId: '018f4e9c-0000-7000-8000-000000000000',
    actor: 'bench',
    events,
  } as const;
  return encodePublication(publication, encodeEvents(publication), partitions).map(
    ({ message, partition }) => ({
      ...message,
      partition,
    }),
  );
}
