import type { Kafka } from 'kafkajs';
import type { DeadLetterFeed } from '../../application/ports/dead-letters.ts';
import type { DeadLetter } from '../../application/ports/read-models.ts';
import { TelemetryLogUnavailable } from '../../application/ports/telemetry-log.ts';
import { requestTimeout } from './client.ts';
import { AcknowledgingProducer } from './producer.ts';

export const deadLetterTopicOf = (topic: string): string => `${topic}-dead-letters`;

/**
 * Publishes dead letters to a Kafka topic; the read models remain the source of truth: a dead letter is
 * published after it was parked, once or, after a failure, more than once.
 */
export class KafkaDeadLetterTopic implements DeadLetterFeed {
  readonly #producer: AcknowledgingProducer;
  readonly #topic: string;

  constructor(kafka: Kafka, topic: string) {
    this.#topic = deadLetterTopicOf(topic);
    this.#producer = new AcknowledgingProducer(kafka, this.#topic, 'zstd');
  }

  /** Resolves when all replicas in sync have it. Throws `TelemetryLogUnavailable`. */
  async publish(deadLetter: DeadLetter): Promise<void> {
    const message = {
      key: deadLetter.stream,
      value: JSON.stringify(deadLetter),
      headers: {
        'content-type': 'application/json',
        ce_specversion: '1.0',
        ce_id: `${deadLetter.partition}/${deadLetter.position}`,
        ce_type: 'EventParked',
        ce_source: '/fieldlog/dead-letters',
        ce_time: new Date(deadLetter.parkedAt).toISOString(),
        ce_correlationid: deadLetter.correlationId,
        ce_cause: deadLetter.cause,
      },
    };
    try {
      const acknowledged = await this.#producer.send([message], AbortSignal.timeout(2 * requestTimeout));
      if (acknowledged.size === 0) throw new Error('no broker acknowledged it');
    } catch (cause) {
      throw new TelemetryLogUnavailable(`A dead letter could not be published to ${this.#topic}`, 5, {
        cause,
      });
    }
  }

  close(): Promise<void> {
    return this.#producer.close();
  }
}
