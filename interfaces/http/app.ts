import type { IncomingMessage } from 'node:http';
import express, { type Express, type Request, type RequestHandler, type Response } from 'express';
import { z } from 'zod';
import type { Ids, Log } from '../../application/ports/system.ts';
import type { Access } from './access.ts';
import { readJson } from './body.ts';
import { refuseBareRequest, securityHeaders } from './browser-guard.ts';
import { boundsOf } from './device-bounds.ts';
import type { RequestMetrics } from './http-metrics.ts';
import { HttpProblem, invalidRequest, problems, type ValidationIssue } from './problems.ts';
import { contextOf, correlationHeader, openContext, unmatchedRoute } from './request-context.ts';
import type { Route, RouteResponse } from './route.ts';
import { parse, queryOf, rejectIssues } from './validation.ts';

type AppParts = {
  readonly ids: Ids;
  readonly log: Log;
  readonly requests: RequestMetrics;
  readonly access: Access;
  readonly maxBodyBytes: number;
  /** Against pages of other sites. */
  readonly guard: RequestHandler;
  /** Requests are not traced when absent. */
  readonly spans?: RequestSpans | undefined;
};

/** Routes that are called most often come first. */
export function httpApp(routes: readonly Route[], parts: AppParts): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.enable('strict routing');
  app.set('query parser', false);
  app.set('case sensitive routing', true);
  app.use(open(parts));
  app.use(securityHeaders());
  app.use(parts.guard);
  if (parts.spans) app.use(tracedRequests(parts.spans));
  // A path without parameters comes before those that it would fit, with whatever method.
  const isLiteral = ({ path }: Route) => !path.includes(':');
  const literal = new Set(routes.filter(isLiteral).map(({ path }) => path));
  const refuse = unmatched(routes);
  for (const route of routes.filter(isLiteral)) add(route);
  app.use((req, res, next) => (literal.has(req.path) ? refuse(req, res, next) : next()));
  for (const route of routes.filter((one) => !isLiteral(one))) add(route);
  app.use(refuse);
  app.use(problems(parts.log));
  return app;

  function add(route: Route): void {
    app[route.method](route.path, routeHandler(route, parts.maxBodyBytes, parts.access));
  }
}

function open({ ids, log, requests }: AppParts): RequestHandler {
  return (req, res, next) => {
    const context = openContext(req, res, ids);
    res.setHeader(correlationHeader, context.caller.correlationId);
    res.on('close', () => {
      const seconds = (performance.now() - context.startedAt) / 1000;
      const status = res.writableFinished ? res.statusCode : 'aborted';
      const { route } = context;
      requests.responded(req.method, route, status, seconds);
      const { correlationId } = context.caller;
      log.debug({ correlationId, method: req.method, route, status, seconds }, 'Request answered');
    });
    next();
  };
}

function unmatched(routes: readonly Route[]): RequestHandler {
  return (req, res) => {
    // Throws for an address that is not well encoded, which is another mistake than one that leads nowhere.
    decodeURIComponent(req.path);
    const fitting = routes.filter(({ path }) => matches(path, req.path));
    const nearest = fitting.map(({ path }) => path).reduce(moreSpecific, '');
    const methods = fitting.filter(({ path }) => path === nearest).map(({ method }) => method);
    if (methods.length === 0) throw new HttpProblem('not-found', 'The documentation is at /docs');
    const known = new Set(
      methods.flatMap((method) => (method === 'get' ? ['GET', 'HEAD'] : method.toUpperCase())),
    );
    const allow = [...known, 'OPTIONS'].join(', ');
    if (req.method === 'OPTIONS') return void res.status(204).set('Allow', allow).end();
    throw new HttpProblem('method-not-allowed', `Use ${allow}`, { headers: { Allow: allow } });
  };
}

function matches(template: string, path: string): boolean {
  const wanted = template.split('/');
  const present = path.split('/');
  return (
    wanted.length === present.length &&
    wanted.every((part, i) => (part.startsWith(':') ? present[i] !== '' : part === present[i]))
  );
}

/** Of two templates that fit, the one that names more of the path's beginning. */
function moreSpecific(one: string, other: string): string {
  if (one === '') return other;
  const parts = other.split('/');
  const differing = one.split('/').findIndex((part, i) => part.startsWith(':') !== parts[i]?.startsWith(':'));
  return differing === -1 || parts[differing]?.startsWith(':') ? one : other;
}

const nothing = z.strictObject({});

/** The Express handler of a route: checks access, validates the whole request at once and writes the response. */
function routeHandler(route: Route, maxBodyBytes: number, access: Access): RequestHandler {
  const query = route.query ?? nothing;
  return async (req, res) => {
    const context = contextOf(res);
    context.route = route.path;
    const admission = access.admit(req, route, context);
    if (admission) await admission;
    // What shows a credential of this server was not sent unasked, wherever it shows it.
    if (context.identity.is === 'anyone') refuseBareRequest(req);
    refuseRepeatedHeaders(req);
    const issues: ValidationIssue[] = [];
    const params = route.params ? parse(route.params, req.params, 'path', issues) : {};
    const headers = route.headers ? parse(route.headers, req.headers, 'header', issues) : {};
    const asked = req.url.includes('?') || route.query ? parse(query, queryOf(req.url), 'query', issues) : {};
    const body = await bodyOf(req, res, route, maxBodyBytes, issues);
    rejectIssues(issues);
    if (boundsOf(context.identity) !== undefined && route.boundKeys === 'device-in-path')
      await access.requireDevice(context, (params as { readonly deviceId: string }).deviceId);
    const exchange = { req, res, context, params, headers, query: asked, body };
    const response = await route.handle(exchange as Parameters<Route['handle']>[0]);
    if (response) send(res, response);
  };
}

const singleHeaders: ReadonlySet<string> = new Set(['host', 'idempotency-key', 'if-match']);

/** Node keeps the first or joins them: which one a proxy or a client meant is unknown. */
function refuseRepeatedHeaders({ rawHeaders }: Request): void {
  const seen = new Set<string>();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]?.toLowerCase() ?? '';
    if (!singleHeaders.has(name)) continue;
    if (seen.has(name)) throw invalidRequest([{ in: 'header', path: name, detail: 'must be sent once' }]);
    seen.add(name);
  }
}

async function bodyOf(
  req: Request,
  res: Response,
  { body }: Route,
  maxBodyBytes: number,
  issues: ValidationIssue[],
): Promise<unknown> {
  if (body?.as !== 'json') return undefined;
  const value = await readJson({ req, res }, maxBodyBytes, body.optional ?? false);
  return value === undefined ? undefined : parse(body.schema, value, 'body', issues);
}

function send(res: Response, { status, headers, json }: RouteResponse): void {
  res.status(status).set(headers ?? {});
  if (json === undefined) res.end();
  else res.type('application/json').end(JSON.stringify(json));
}

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
function tracedRequests(spans: RequestSpans): RequestHandler {
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
