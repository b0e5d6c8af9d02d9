import type { IncomingMessage } from 'node:http';
import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import type { BatchConsumer, Positioned, SourceName } from '../../application/ports/event-source.ts';
import type { EventStore } from '../../application/ports/event-store.ts';
import type { TelemetryLog } from '../../application/ports/telemetry-log.ts';
import { type Destination, TracedEventStore, TracedTelemetryLog, tracedConsumer } from './traced-ports.ts';
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

type RequestSpan = {
  /** The trace context of everything the request causes. */
  readonly traceparent: string;
  /** `route` is a template, `status` `aborted` where the caller went away before the answer was whole. */
  end(route: string | undefined, status: number | 'aborted'): void;
};

type RequestSpans = {
  /** The span of a request that has just come, `undefined` when it is not to be recorded. */
  start(req: IncomingMessage, correlationId: string): RequestSpan | undefined;
};

/** Those that OpenTelemetry's semantic conventions know by name. */
const knownMethods = new Set([
  'CONNECT',
  'DELETE',
  'GET',
  'HEAD',
  'OPTIONS',
  'PATCH',
  'POST',
  'PUT',
  'TRACE',
]);

/** Credentials, and what stands where ThingsBoard's clients have the token of a device, whatever that is. */
const secretSegments =
  /(?<=\/)fl[kd]_[^/]*|(?<=^\/api\/v1\/)(?!devices\/)[^/]+(?=\/(telemetry|attributes|rpc)(\/|$))/g;

const shownPath = (url: string): string => (url.split('?', 1)[0] ?? '').replaceAll(secretSegments, '-');

/** Server spans, by the semantic conventions for HTTP, without what a query or a body says. */
function requestSpans({ tracer, contexts }: Tracing): RequestSpans {
  return {
    start(req, correlationId) {
      const { method = '', url = '', headers, socket, httpVersion } = req;
      const isKnown = knownMethods.has(method);
      const named = isKnown ? method : 'HTTP';
      const attributes = {
        'http.request.method': isKnown ? method : '_OTHER',
        'url.scheme': 'encrypted' in socket ? 'https' : 'http',
        'url.path': shownPath(url),
        'network.protocol.version': httpVersion,
        'fieldlog.correlation_id': correlationId,
      };
      const span = tracer.startSpan(
        named,
        { kind: SpanKind.SERVER, attributes },
        contexts.ofHeaders(headers),
      );
      if (!span.isRecording()) return undefined;
      const traceparent = contexts.remember(span);
      return {
        traceparent,
        end(route, status) {
          if (route !== undefined) span.updateName(`${named} ${route}`).setAttribute('http.route', route);
          if (status !== 'aborted') span.setAttribute('http.response.status_code', status);
          if (status === 'aborted' || status >= 500)
            span.setAttribute('error.type', String(status)).setStatus({ code: SpanStatusCode.ERROR });
          span.end();
          contexts.forget(traceparent);
        },
      };
    },
  };
}
