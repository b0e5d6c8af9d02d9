import { Counter, type Registry } from 'prom-client';

/** Counts what a consumer of the telemetry log of several servers loses. One per registry. */
export function consumerMetrics(registry: Registry) {
  const registers = [registry];
  const expired = new Counter({
    name: 'fieldlog_telemetry_expired_messages_total',
    help: 'Messages of the telemetry log that expired before they were consumed: their readings are lost',
    registers,
  });
  const rebuilt = new Counter({
    name: 'fieldlog_telemetry_consumers_lost_total',
    help: 'Consumers of the telemetry log that were given up for a new one',
    registers,
  });
  return {
    onHistoryLost: (_partition: number, messages: number) => expired.inc(messages),
    onRebuilt: () => rebuilt.inc(),
  };
}
