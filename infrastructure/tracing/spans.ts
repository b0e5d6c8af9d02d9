import {
  type Context,
  defaultTextMapGetter,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api';
import { parseTraceParent, W3CTraceContextPropagator } from '@opentelemetry/core';

/**
 * Does the work of a span and ends it. Of an error the span has the name alone: messages may quote what was sent,
 * and the log has them under the correlation id.
 */
export async function spanned<T>(span: Span, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    span.setAttribute('error.type', error instanceof Error ? error.name : 'unknown');
    span.setStatus({ code: SpanStatusCode.ERROR });
    throw error;
  } finally {
    span.end();
  }
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** Where spans belong, between the text form (`traceparent`) and the SDK's parents and links. */
export class TraceContexts {
  readonly #propagator = new W3CTraceContextPropagator();
  /** Of running requests: they have a tracestate, which the text lacks. */
  readonly #underWay = new Map<string, SpanContext>();

  /** What a request brought along as `traceparent` and `tracestate`; the root of a trace where it brought nothing. */
  ofHeaders(headers: Headers): Context {
    return this.#propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter);
  }

  /** `undefined` when that trace is not sampled. */
  recorded(traceparent: string): SpanContext | undefined {
    const known = this.#underWay.get(traceparent) ?? remote(traceparent);
    return known && (known.traceFlags & TraceFlags.SAMPLED) !== 0 ? known : undefined;
  }

  /** Until `forget`, the returned text resolves to this very span. */
  remember(span: Span): string {
    const text = traceparentOf(span);
    this.#underWay.set(text, span.spanContext());
    return text;
  }

  forget(traceparent: string): void {
    this.#underWay.delete(traceparent);
  }
}

export const childOf = (parent: SpanContext): Context => trace.setSpanContext(ROOT_CONTEXT, parent);

/** W3C Trace Context, version 00. */
export function traceparentOf(span: Span): string {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
}

function remote(traceparent: string): SpanContext | undefined {
  const parsed = parseTraceParent(traceparent);
  return parsed ? { ...parsed, isRemote: true } : undefined;
}
