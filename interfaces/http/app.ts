import express, { type Express, type RequestHandler } from 'express';
import helmet from 'helmet';
import type { Ids, Log } from '../../application/ports/system.ts';
import type { Access } from './access.ts';
import type { RequestMetrics } from './http-metrics.ts';
import { HttpProblem, problems } from './problems.ts';
import { correlationHeader, openContext } from './request-context.ts';
import type { Route } from './route.ts';
import { routeHandler } from './route-handler.ts';
import { type RequestSpans, tracedRequests } from './traced-requests.ts';

type AppParts = {
  readonly ids: Ids;
  readonly log: Log;
  readonly requests: RequestMetrics;
  readonly access: Access;
  readonly maxBodyBytes: number;
  /** Requests are not traced when absent. */
  readonly spans?: RequestSpans | undefined;
};

/** Routes that are called often enough for every header to be felt come first, with nothing in front of them. */
export function httpApp(hot: readonly Route[], routes: readonly Route[], parts: AppParts): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.enable('strict routing');
  app.set('query parser', false);
  app.set('case sensitive routing', true);
  app.use(open(parts));
  if (parts.spans) app.use(tracedRequests(parts.spans));
  for (const route of hot)
    app[route.method](route.path, routeHandler(route, parts.maxBodyBytes, parts.access));
  app.use(securityHeaders());
  for (const route of routes)
    app[route.method](route.path, routeHandler(route, parts.maxBodyBytes, parts.access));
  app.use(unmatched([...hot, ...routes]));
  app.use(problems(parts.log));
  return app;
}

function open({ ids, log, requests }: AppParts): RequestHandler {
  return (req, res, next) => {
    const context = openContext(req, res, ids);
    res.setHeader(correlationHeader, context.caller.correlationId);
    res.on('close', () => {
      const seconds = (performance.now() - context.startedAt) / 1000;
      const status = res.writableFinished ? res.statusCode : 'aborted';
      const { route } = context;
      requests.answered(req.method, route, status, seconds);
      const { correlationId } = context.caller;
      log.debug({ correlationId, method: req.method, route, status, seconds }, 'Request answered');
    });
    next();
  };
}

/** What a browser is allowed to do with anything it gets from here: /docs works with exactly this. */
const securityHeaders = (): RequestHandler =>
  helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        baseUri: ["'none'"],
        connectSrc: ["'self'"],
        fontSrc: ["'self'"],
        formAction: ["'none'"],
        frameAncestors: ["'none'"],
        imgSrc: ["'self'", 'data:'],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'"],
      },
    },
  });

function unmatched(routes: readonly Route[]): RequestHandler {
  return (req, res) => {
    // Throws for an address that is not well encoded, which is another mistake than one that leads nowhere.
    decodeURIComponent(req.path);
    const methods = routes.filter(({ path }) => matches(path, req.path)).map(({ method }) => method);
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
  const given = path.split('/');
  return (
    wanted.length === given.length &&
    wanted.every((part, i) => (part.startsWith(':') ? given[i] !== '' : part === given[i]))
  );
}
