import kafkajs, { type KafkaConfig, type LogEntry, type logCreator } from 'kafkajs';
import type { Log } from '../../application/ports/log.ts';
import './request-queue-repair.ts';
import './compression.ts';

export type KafkaClientOptions = Pick<KafkaConfig, 'ssl' | 'sasl'> & {
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

export function kafkaClient({ brokers, ...security }: KafkaClientOptions, log: Log): kafkajs.Kafka {
  return new kafkajs.Kafka({
    ...security,
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

/**
 * What kafkajs calls an error is an attempt that failed, and it tries again; what becomes of it in the end is told
 * by the adapters. So its errors are warnings here, and the rest is for those who look closely.
 */
const bridgeTo =
  (log: Log): logCreator =>
  () =>
  ({ level, namespace, log: { message, timestamp: _, logger: __, stack: ___, ...fields } }: LogEntry) => {
    const said = { ...fields, component: namespace, detail: message };
    if (level === kafkajs.logLevel.ERROR) log.warn(said, 'the Kafka client failed at something');
    else log.debug(said, 'the Kafka client says');
  };
