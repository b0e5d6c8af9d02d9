import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { PartitionPosition } from '../../application/ports/event-source.ts';
import type { TelemetryLog, TelemetryPublication } from '../../application/ports/telemetry-log.ts';

/** Measures how long publications take to be durable, and how many wait. */
export class MeteredTelemetryLog implements TelemetryLog {
  readonly #log: TelemetryLog;
  readonly #seconds: Histogram<'outcome'>;
  #waiting = 0;

  constructor(log: TelemetryLog, registry: Registry) {
    this.#log = log;
    this.#seconds = publishSeconds(registry);
    measureWaiting(registry, () => this.#waiting);
  }

  async publish(publication: TelemetryPublication): Promise<readonly PartitionPosition[]> {
    const started = performance.now();
    this.#waiting += 1;
    let outcome = 'failed';
    try {
      const positions = await this.#log.publish(publication);
      outcome = 'durable';
      return positions;
    } finally {
      this.#waiting -= 1;
      this.#seconds.observe({ outcome }, (performance.now() - started) / 1000);
    }
  }
}

export const publishSeconds = (registry: Registry): Histogram<'outcome'> =>
  new Histogram({
    name: 'fieldlog_publish_seconds',
    help: "Time until a request's events were durable in the telemetry log, or failed to become so",
    labelNames: ['outcome'] as const,
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
    registers: [registry],
  });

export function measureWaiting(registry: Registry, waiting: () => number): void {
  new Gauge({
    name: 'fieldlog_publish_waiting',
    help: 'Requests whose events are gathered or on their way to the telemetry log',
    registers: [registry],
    collect() {
      this.set(waiting());
    },
  });
}

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
