import { SpanKind } from '@opentelemetry/api';
import type { PartitionPosition } from '../../application/ports/event-source.ts';
import type { TelemetryLog, TelemetryPublication } from '../../application/ports/telemetry-log.ts';
import { spanned } from './spanned.ts';
import { childOf, traceparentOf } from './trace-contexts.ts';
import type { Tracing } from './tracing.ts';

/** A topic or stream, by the names of OpenTelemetry's semantic conventions. */
export type Destination = { readonly system: string; readonly name: string };

/** A log whose publications are spans of the traces they belong to; what belongs to none is published as it is. */
export class TracedTelemetryLog implements TelemetryLog {
  readonly #log: TelemetryLog;
  readonly #tracing: Tracing;
  readonly #destination: Destination;

  constructor(log: TelemetryLog, tracing: Tracing, destination: Destination) {
    this.#log = log;
    this.#tracing = tracing;
    this.#destination = destination;
  }

  publish(publication: TelemetryPublication): Promise<readonly PartitionPosition[]> {
    const { traceparent, correlationId, events } = publication;
    const parent = traceparent === undefined ? undefined : this.#tracing.contexts.recorded(traceparent);
    if (!parent) return this.#log.publish(publication);

    const { system, name } = this.#destination;
    const attributes = {
      'messaging.system': system,
      'messaging.destination.name': name,
      'messaging.operation.name': 'publish',
      'messaging.operation.type': 'send',
      'messaging.batch.message_count': events.length,
      'messaging.message.conversation_id': correlationId,
    };
    const options = { kind: SpanKind.PRODUCER, attributes };
    const span = this.#tracing.tracer.startSpan(`publish ${name}`, options, childOf(parent));
    // Who reads the log follows on from here.
    return spanned(span, () => this.#log.publish({ ...publication, traceparent: traceparentOf(span) }));
  }
}
