import { SpanKind } from '@opentelemetry/api';
import type {
  EventStore,
  ExpectedRevision,
  NewEvent,
  RecordedEvent,
} from '../../application/ports/event-store.ts';
import { spanned } from './spanned.ts';
import { childOf, traceparentOf } from './trace-contexts.ts';
import type { Destination } from './traced-telemetry-log.ts';
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
