import { type Span, SpanStatusCode } from '@opentelemetry/api';

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
