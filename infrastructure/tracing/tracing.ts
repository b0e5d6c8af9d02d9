import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { hostname } from 'node:os';
import { type Attributes, DiagLogLevel, diag, type Tracer } from '@opentelemetry/api';
import { ExportResultCode } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  SamplingDecision,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { Log } from '../../application/ports/system.ts';
import { TraceContexts } from './spans.ts';

type TracingOptions = {
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
      // Shutdown stops at the first failed export; the others are still running then.
      const flushed = provider.shutdown().catch(() => exporter.forceFlush());
      await Promise.race([flushed, late.promise]);
      clearTimeout(timer);
      agent.destroy();
      lost.logRest();
    },
  };
}

/** By the names that `OTEL_TRACES_SAMPLER` has for them. */
export type SamplerName =
  | 'always_on'
  | 'always_off'
  | 'traceidratio'
  | 'parentbased_always_on'
  | 'parentbased_always_off'
  | 'parentbased_traceidratio';

/** Which spans are recorded; `ratio` is of the traces that begin here, for the samplers that take one. */
function samplerOf(name: SamplerName, ratio: number): Sampler {
  if (name === 'always_off') return new AlwaysOffSampler();
  return linked(plain(name, ratio));
}

function plain(name: Exclude<SamplerName, 'always_off'>, ratio: number): Sampler {
  switch (name) {
    case 'always_on':
      return new AlwaysOnSampler();
    case 'traceidratio':
      return new TraceIdRatioBasedSampler(ratio);
    case 'parentbased_always_on':
      return new ParentBasedSampler({ root: new AlwaysOnSampler() });
    case 'parentbased_always_off':
      return new ParentBasedSampler({ root: new AlwaysOffSampler() });
    case 'parentbased_traceidratio':
      return new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) });
  }
}

/**
 * A span with links is that of a batch with events of recorded traces. It begins a trace of its own, and were it left
 * to chance like others, hardly any recorded trace could be followed to its rows.
 */
const linked = (sampler: Sampler): Sampler => ({
  shouldSample: (context, traceId, name, kind, attributes, links) =>
    links.length > 0
      ? { decision: SamplingDecision.RECORD_AND_SAMPLED }
      : sampler.shouldSample(context, traceId, name, kind, attributes, links),
  toString: () => `Linked{${sampler}}`,
});

const logEvery = 60_000;

type ExportLog = {
  /** The exporter, with an eye on what it loses. */
  over(exporter: SpanExporter): SpanExporter;
  /** Logs the spans lost since the last line, with those whose export has not ended. */
  logRest(): void;
};

/**
 * Logs, once a minute at most, that spans were lost and how many since the last line. What the SDK drops before
 * they come to the exporter, because that falls behind, is logged the same way.
 */
function exportLog(log: Pick<Log, 'warn'>): ExportLog {
  const failed = seldom((lost, err) => log.warn({ lost, err }, 'Spans could not be exported'));
  const warned = seldom((times, detail) => log.warn({ times, detail }, 'The exporter of spans warns'));
  const nothing = () => {};
  let inFlight = 0;
  diag.setLogger(
    {
      warn: (...words) => warned.add(1, words.map(String).join(' ')),
      // Failed exports again, this time without their number.
      error: nothing,
      info: nothing,
      debug: nothing,
      verbose: nothing,
    },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );

  return {
    over: (exporter) => ({
      export(spans, done) {
        inFlight += spans.length;
        exporter.export(spans, (result) => {
          inFlight -= spans.length;
          if (result.code !== ExportResultCode.SUCCESS) failed.add(spans.length, result.error);
          done(result);
        });
      },
      shutdown: () => exporter.shutdown(),
    }),
    logRest() {
      if (inFlight > 0)
        failed.add(inFlight, new Error('The exporter was closed before the collector answered'));
      failed.flush();
      warned.flush();
    },
  };
}

function seldom(log: (count: number, what: unknown) => void) {
  let count = 0;
  let last: unknown;
  let loggedAt = Number.NEGATIVE_INFINITY;
  return { add, flush };

  function add(more: number, what: unknown): void {
    count += more;
    last = what;
    if (performance.now() - loggedAt >= logEvery) flush();
  }

  function flush(): void {
    if (count === 0) return;
    loggedAt = performance.now();
    log(count, last);
    count = 0;
  }
}
