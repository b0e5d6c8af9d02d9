import type { BatchConsumer, Positioned, SourceName } from '../../application/ports/event-source.ts';
import type { EventStore } from '../../application/ports/event-store.ts';
import type { TelemetryLog } from '../../application/ports/telemetry-log.ts';
import { type RequestSpans, requestSpans } from './request-spans.ts';
import { tracedConsumer } from './traced-consumer.ts';
import { TracedEventStore } from './traced-event-store.ts';
import { type Destination, TracedTelemetryLog } from './traced-telemetry-log.ts';
import type { Tracing } from './tracing.ts';

/** All that is traced of a process, as what wraps it. */
export type ProcessTracing = {
  readonly requests: RequestSpans;
  eventStore(store: EventStore): EventStore;
  telemetryLog(log: TelemetryLog): TelemetryLog;
  /** Wraps the consumer of a projection's live generation. */
  consumer<Event extends Positioned>(
    projection: string,
    source: SourceName,
    traceparentOf: (event: Event) => string | undefined,
  ): (consumer: BatchConsumer<Event>) => BatchConsumer<Event>;
  close(): Promise<void>;
};

export function processTracing(
  tracing: Tracing,
  destinations: Readonly<Record<SourceName, Destination>>,
): ProcessTracing {
  return {
    requests: requestSpans(tracing),
    eventStore: (store) => new TracedEventStore(store, tracing, destinations.devices),
    telemetryLog: (log) => new TracedTelemetryLog(log, tracing, destinations.telemetry),
    consumer: (projection, source, traceparentOf) => (consumer) =>
      tracedConsumer(consumer, tracing, projection, destinations[source], traceparentOf),
    close: () => tracing.close(),
  };
}
