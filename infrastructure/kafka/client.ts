import './kafkajs-patches.ts';
import kafkajs, { type KafkaConfig, type LogEntry, type logCreator } from 'kafkajs';
import type { Log } from '../../application/ports/system.ts';

export type KafkaClientOptions = Pick<KafkaConfig, 'ssl' | 'sasl' | 'socketFactory'> & {
  /** `host:port`. */
  readonly brokers: readonly string[];
};

/**
 * All of them, since kafkajs changes what it leaves at its default when NODE_ENV is `test`. Few: what fails for
 * longer is begun again with a new client by those who hold one, for kafkajs does not recover from everything.
 */
export const retries = {
  initialRetryTime: 100,
  maxRetryTime: 1000,
  factor: 0.2,
  multiplier: 2,
  retries: 4,
} as const;

export const requestTimeout = 10_000;
export const metadataMaxAge = 60_000;

export function kafkaClient({ brokers, ...connection }: KafkaClientOptions, log: Log): kafkajs.Kafka {
  return new kafkajs.Kafka({
    ...connection,
    brokers: [...brokers],
    clientId: 'fieldlog',
    connectionTimeout: 3000,
    authenticationTimeout: 5000,
    requestTimeout,
    enforceRequestTimeout: true,
    retry: retries,
    logLevel: kafkajs.logLevel.INFO,
    logCreator: bridgeTo(log),
  });
}

/** kafkajs logs single attempts, which it retries; the adapters report the final outcome. */
const bridgeTo =
  (log: Log): logCreator =>
  () =>
  ({ label, namespace, log: { message, timestamp: _, logger: __, stack: ___, ...fields } }: LogEntry) =>
    log.debug({ ...fields, severity: label, component: namespace, detail: message }, 'the Kafka client says');
