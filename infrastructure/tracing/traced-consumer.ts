import { type Link, ROOT_CONTEXT, SpanKind } from '@opentelemetry/api';
import type { Batch, BatchConsumer, Positioned } from '../../application/ports/event-source.ts';
import { spanned } from './spanned.ts';
import type { Destination } from './traced-telemetry-log.ts';
import type { Tracing } from './tracing.ts';

/** As many as the SDK keeps of a span unless it is told otherwise. */
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
