import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { hostname } from 'node:os';
import type { Attributes, Tracer } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import type { Log } from '../../application/ports/system.ts';
import { exportLog } from './export-log.ts';
import { type SamplerName, samplerOf } from './sampling.ts';
import { TraceContexts } from './trace-contexts.ts';

export type TracingOptions = {
  /** Of an OTLP collector over HTTP; traces go to `/v1/traces` there. */
  readonly endpoint: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Milliseconds an export may take, and flushing at the end. */
  readonly timeout: number;
  readonly sampler: SamplerName;
  readonly ratio: number;
  readonly service: string;
  readonly version: string;
  /** What else is to be said of this process, or something else than by default. */
  readonly attributes: Attributes;
};

export type Tracing = {
  readonly tracer: Tracer;
  readonly contexts: TraceContexts;
  /** Exports what is left, for as long as an export may take, and says what is lost; never rejects. */
  close(): Promise<void>;
};

/** Spans of this process, exported in the background; what cannot be exported is lost, and the log says so. */
export function openTracing(options: TracingOptions, log: Pick<Log, 'warn'>): Tracing {
  const { endpoint, headers, timeout, sampler, ratio, service, version, attributes } = options;
  const isSecure = endpoint.startsWith('https:');
  // With its own time limit, which counts from the first packet on: the exporter's counts once there is a connection.
  const agent = new (isSecure ? HttpsAgent : HttpAgent)({ keepAlive: true, timeout });
  const lost = exportLog(log);
  const exporter = new OTLPTraceExporter({
    url: `${endpoint.replace(/\/+$/, '')}/v1/traces`,
    headers: { ...headers },
    timeoutMillis: timeout,
    httpAgentOptions: () => agent,
  });
  const provider = new TracerProvider({
    resource: defaultResource().merge(
      resourceFromAttributes({
        'host.name': hostname(),
        'process.pid': process.pid,
        'service.name': service,
        'service.namespace': 'fieldlog',
        'service.version': version,
        'service.instance.id': `${hostname()}:${process.pid}`,
        ...attributes,
      }),
    ),
    sampler: samplerOf(sampler, ratio),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: lost.over(exporter),
        // What waits to be exported takes a few megabytes at most; beyond that spans are dropped.
        maxQueueSize: 4096,
        maxExportBatchSize: 512,
        scheduledDelayMillis: 1000,
        exportTimeoutMillis: timeout,
      }),
    ],
  });

  return {
    tracer: provider.getTracer('fieldlog', version),
    contexts: new TraceContexts(),
    async close() {
      const late = Promise.withResolvers<void>();
      // A little longer than the last exports may take: only what does not keep to that is cut off.
      const timer = setTimeout(late.resolve, timeout + 500);
      // Shutting down stops at the first export that fails; the others are under way then.
      const flushed = provider.shutdown().catch(() => exporter.forceFlush());
      await Promise.race([flushed, late.promise]);
      clearTimeout(timer);
      agent.destroy();
      lost.tellRest();
    },
  };
}
