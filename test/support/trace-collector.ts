import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import protobuf from 'protobufjs';

/** What a collector gets of a span; ids in hexadecimal, attributes by name. */
export type CollectedSpan = {
  readonly service: string;
  readonly resource: Readonly<Record<string, unknown>>;
  readonly name: string;
  readonly kind: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly traceState: string;
  readonly status: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
};

export type TraceCollector = {
  readonly url: string;
  readonly spans: CollectedSpan[];
  readonly requests: { readonly url: string | undefined; readonly headers: IncomingHttpHeaders }[];
  /** What it does with an export from now on; it takes it when absent. */
  behave(how: 'take' | 'fail' | 'hang'): void;
  close(): Promise<void>;
};

/** An OTLP collector in this process: HTTP with protobuf on `/v1/traces`. */
export async function traceCollector(): Promise<TraceCollector> {
  const spans: CollectedSpan[] = [];
  const requests: TraceCollector['requests'] = [];
  let behaviour: 'take' | 'fail' | 'hang' = 'take';
  const server = createServer(async (req, res) => {
    const body = Buffer.concat(await req.toArray());
    requests.push({ url: req.url, headers: req.headers });
    if (behaviour === 'hang') return;
    if (behaviour === 'fail') return void res.writeHead(500).end('no');
    spans.push(...decode(body));
    res.writeHead(200, { 'Content-Type': 'application/x-protobuf' }).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    requests,
    behave: (how) => {
      behaviour = how;
    },
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

/** Of opentelemetry-proto, `trace/v1` and what it needs, the fields that are looked at here. */
const request = protobuf
  .parse(`
  syntax = "proto3";
  message Request { repeated ResourceSpans resource_spans = 1; }
  message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
  message Resource { repeated KeyValue attributes = 1; }
  message ScopeSpans { repeated Span spans = 2; }
  message Span {
    bytes trace_id = 1;
    bytes span_id = 2;
    string trace_state = 3;
    bytes parent_span_id = 4;
    string name = 5;
    Kind kind = 6;
    repeated KeyValue attributes = 9;
    repeated Link links = 13;
    Status status = 15;
  }
  enum Kind { UNSPECIFIED = 0; INTERNAL = 1; SERVER = 2; CLIENT = 3; PRODUCER = 4; CONSUMER = 5; }
  message Link { bytes trace_id = 1; bytes span_id = 2; }
  message Status { Code code = 3; }
  enum Code { UNSET = 0; OK = 1; ERROR = 2; }
  message KeyValue { string key = 1; Value value = 2; }
  message Value {
    oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; }
  }
`)
  .root.lookupType('Request');

type Attribute = { readonly key: string; readonly value: Readonly<Record<string, unknown>> };

function decode(body: Buffer): readonly CollectedSpan[] {
  // biome-ignore lint/suspicious/noExplicitAny: its form is in the definition above.
  const { resourceSpans = [] }: any = request.toObject(request.decode(body), {
    longs: Number,
    enums: String,
    arrays: true,
  });
  // biome-ignore lint/suspicious/noExplicitAny: as above.
  return resourceSpans.flatMap(({ resource, scopeSpans }: any) =>
    scopeSpans.flatMap(({ spans }: { spans: Record<string, unknown>[] }) =>
      spans.map((span) => ({
        service: byName(resource.attributes)['service.name'],
        resource: byName(resource.attributes),
        name: span.name,
        kind: span.kind,
        traceId: hex(span.traceId),
        spanId: hex(span.spanId),
        parentSpanId: span.parentSpanId === undefined ? '' : hex(span.parentSpanId),
        traceState: span.traceState ?? '',
        status: (span.status as { code?: string } | undefined)?.code ?? 'UNSET',
        attributes: byName(span.attributes as Attribute[]),
        links: (span.links as { traceId: unknown; spanId: unknown }[]).map(({ traceId, spanId }) => ({
          traceId: hex(traceId),
          spanId: hex(spanId),
        })),
      })),
    ),
  );
}

const hex = (bytes: unknown): string => Buffer.from(bytes as Uint8Array).toString('hex');

const byName = (attributes: readonly Attribute[]): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
