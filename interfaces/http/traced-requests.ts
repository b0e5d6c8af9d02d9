import type { IncomingMessage } from 'node:http';
import type { RequestHandler } from 'express';
import { contextOf, unmatchedRoute } from './request-context.ts';

/** What follows requests as spans of a trace. */
export type RequestSpans = {
  /** `undefined` when the request is not to be recorded. */
  start(req: IncomingMessage, correlationId: string): RequestSpan | undefined;
};

type RequestSpan = {
  readonly traceparent: string;
  end(route: string | undefined, status: number | 'aborted'): void;
};

/** Asked every few seconds by what looks after this process, and nobody's request. */
const untraced = /^\/(health\/|metrics$)/;

/** Has whatever a request causes belong to the request's span. Comes after the context is open. */
export function tracedRequests(spans: RequestSpans): RequestHandler {
  return (req, res, next) => {
    if (untraced.test(req.path)) return next();
    const context = contextOf(res);
    const span = spans.start(req, context.caller.correlationId);
    if (!span) return next();
    context.caller = { ...context.caller, traceparent: span.traceparent };
    res.on('close', () => {
      const { route } = context;
      span.end(
        route === unmatchedRoute ? undefined : route,
        res.writableFinished ? res.statusCode : 'aborted',
      );
    });
    next();
  };
}
