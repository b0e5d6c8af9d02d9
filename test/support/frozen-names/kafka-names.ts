import type { Kafka, Message, ProducerBatch } from 'kafkajs';
import { KafkaDeadLetterTopic } from '../../../infrastructure/kafka/dead-letter-topic.ts';
import { AcknowledgingProducer } from '../../../infrastructure/kafka/producer.ts';
import { KafkaTelemetryLog } from '../../../infrastructure/kafka/telemetry-log.ts';
import { fieldsOf, formOf } from './json-fields.ts';

type Sent = { readonly topic: string; readonly message: Pick<Message, 'key' | 'value' | 'headers'> };

/** Headers that say which of several things a message is. */
const named = new Set(['content-type', 'ce_specversion', 'ce_type', 'ce_source', 'ce_cause']);

/** Topics, headers and fields of messages. */
export const kafkaNames = (sent: readonly Sent[], topic: string): ReadonlySet<string> =>
  new Set(
    sent.flatMap(({ topic: to, message: { key, value, headers = {} } }) => {
      const at = `topic ${to.replace(topic, '{topic}')}`;
      return [
        at,
        `${at} key ${key === null || key === undefined ? 'none' : formOf(String(key))}`,
        ...Object.entries(headers).flatMap(([name, text]) => [
          `${at} header ${name}${named.has(name) ? `: ${text}` : ''}`,
          ...(name === 'ce_id' ? [`${at} header ${name} form ${formOf(String(text))}`] : []),
        ]),
        ...fieldsOf(JSON.parse(String(value))).map((field) => `${at} field ${field}`),
      ];
    }),
  );

/** What would be sent to a broker, as the Kafka client is handed it. */
export async function encodedMessages(topic: string): Promise<readonly Sent[]> {
  const sent: Sent[] = [];
  const producer = {
    connect: async () => {},
    disconnect: async () => {},
    async sendBatch({ topicMessages = [] }: ProducerBatch) {
      for (const { topic, messages } of topicMessages)
        sent.push(...messages.map((message) => ({ topic, message })));
      return [{ partition: 0, errorCode: 0, baseOffset: '0' }];
    },
  };
  const kafka = { producer: () => producer } as unknown as Kafka;
  const id = '0199a1de-6c1b-7a52-9d6c-0f7f3c1f6c03';
  const from = { id, correlationId: id, actor: 'operator', receivedAt: 0, schemaVersion: 1 };
  const reading = { deviceId: 'd-one', timestamp: 0, metrics: { metricOne: 1 } };

  const log = new KafkaTelemetryLog(
    new AcknowledgingProducer(kafka, topic, 'none'),
    { partitions: async () => 1 },
    { linger: 0, deadline: 10_000, bufferBytes: 1_000_000 },
    { debug() {}, info() {}, warn() {}, error() {} },
  );
  await log.publish({
    ...from,
    type: 'TelemetryRecorded',
    traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    events: [reading],
  });
  await log.publish({
    ...from,
    type: 'TelemetryRecorded',
    events: [reading, { ...reading, deviceId: 'd-two' }],
  });
  await log.publish({
    ...from,
    type: 'TelemetryRetracted',
    events: [{ deviceId: 'd-one', metric: 'metricOne', from: 0, to: 1, reason: 'wrong' }],
  });
  await log.close();

  const deadLetters = new KafkaDeadLetterTopic(kafka, topic);
  await deadLetters.publish({
    partition: 0,
    position: '1',
    stream: 'device-d-one',
    eventId: `${id}/0`,
    eventType: 'TelemetryRecorded',
    cause: 'malformed',
    error: 'wrong',
    stack: null,
    correlationId: id,
    // As a source gives it: tests with a broker compare.
    event: {
      ...from,
      type: 'TelemetryRecorded',
      position: '1',
      data: { deviceId: 'd-one', timestamp: 'never' },
    },
    parkedAt: 0,
    discarded: null,
  });
  await deadLetters.close();
  return sent;
}
