import { type Link, ROOT_CONTEXT, SpanKind } from '@opentelemetry/api';
import type {
  Batch,
  BatchConsumer,
  PartitionPosition,
  Positioned,
} from '../../application/ports/event-source.ts';
import type {
  EventStore,
  ExpectedRevision,
  NewEvent,
  RecordedEvent,
} from '../../application/ports/event-store.ts';
import type { TelemetryLog, TelemetryPublication } from '../../application/ports/telemetry-log.ts';
import { childOf, spanned, traceparentOf } from './spans.ts';
import type { Tracing } from './tracing.ts';

/** An event store whose appends are spans of the traces they belong to; what belongs to none is appended as it is. */
export class TracedEventStore implements EventStore {
  readonly #store: EventStore;
  readonly #tracing: Tracing;
  readonly #destination: Destination;

  constructor(store: EventStore, tracing: Tracing, destination: Destination) {
    this.#store = store;
    this.#tracing = tracing;
    this.#destination = destination;
  }

  read(stream: string): Promise<readonly RecordedEvent[]> {
    return this.#store.read(stream);
  }

  isDeleted(stream: string): Promise<boolean> {
    return this.#store.isDeleted(stream);
  }

  append(
    stream: string,
    events: readonly NewEvent[],
    expected: ExpectedRevision,
    ids?: 'unused',
  ): Promise<readonly RecordedEvent[]> {
    const [first] = events;
    const { traceparent } = first?.metadata ?? {};
    const parent = traceparent === undefined ? undefined : this.#tracing.contexts.recorded(traceparent);
    if (!first || !parent) return this.#store.append(stream, events, expected, ids);

    const { system, name } = this.#destination;
    const attributes = {
      'messaging.system': system,
      'messaging.destination.name': name,
      'fieldlog.stream': stream,
      'messaging.operation.name': 'append',
      'messaging.operation.type': 'send',
      'messaging.batch.message_count': events.length,
      'messaging.message.conversation_id': first.metadata.$correlationId,
    };
    const options = { kind: SpanKind.PRODUCER, attributes };
    const span = this.#tracing.tracer.startSpan(`append ${name}`, options, childOf(parent));
    // Who reads the stream follows on from here.
    const handedOn = { traceparent: traceparentOf(span) };
    const traced = events.map((event) => ({ ...event, metadata: { ...event.metadata, ...handedOn } }));
    return spanned(span, () => this.#store.append(stream, traced, expected, ids));
  }
}

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

/** The SDK's default limit for a span. */
const linksAtMost = 128;

/**
 * A consumer whose batches are spans, each the root of a trace of its own with links to those of its events: a batch
 * has events of many requests, and a request can have events in many batches. Batches without any event of a recorded
 * trace have no span.
 */
export function tracedConsumer<Event extends Positioned>(
  consumer: BatchConsumer<Event>,
  { tracer, contexts }: Tracing,
  projection: string,
  { system, name }: Destination,
  traceparentOf: (event: Event) => string | undefined,
): BatchConsumer<Event> {
  return {
    checkpoint: (partition) => consumer.checkpoint(partition),
    skipped: async (partition) => (await consumer.skipped?.(partition)) ?? null,
    skip: async (...place) => consumer.skip?.(...place),

    consume(batch) {
      const { links, areAll } = linksOf(batch);
      if (links.length === 0) return consumer.consume(batch);
      const attributes = {
        'messaging.system': system,
        'messaging.destination.name': name,
        'messaging.destination.partition.id': String(batch.partition),
        'messaging.operation.name': 'project',
        'messaging.operation.type': 'process',
        'messaging.batch.message_count': batch.events.length,
        'fieldlog.projection': projection,
        'fieldlog.links.complete': areAll,
      };
      const options = { kind: SpanKind.CONSUMER, attributes, links: [...links], root: true };
      return spanned(tracer.startSpan(`project ${projection}`, options, ROOT_CONTEXT), () =>
        consumer.consume(batch),
      );
    },
  };

  /** Events of a request have the same text and mostly follow one another. */
  function linksOf({ events }: Batch<Event>): { readonly links: readonly Link[]; readonly areAll: boolean } {
    const seen = new Set<string>();
    const links: Link[] = [];
    let before: string | undefined;
    for (const event of events) {
      const traceparent = traceparentOf(event);
      if (traceparent === undefined || traceparent === before || seen.has(traceparent)) continue;
      before = traceparent;
      seen.add(traceparent);
      const context = contexts.recorded(traceparent);
      if (!context) continue;
      if (links.length === linksAtMost) return { links, areAll: false };
      links.push({ context });
    }
    return { links, areAll: true };
  }
}
