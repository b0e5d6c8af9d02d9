import type { Request, RequestHandler, Response } from 'express';
import { z } from 'zod';
import type { Access } from './access.ts';
import { readJson } from './json-body.ts';
import type { Fault } from './problems.ts';
import { queryOf } from './query-parameters.ts';
import { contextOf } from './request-context.ts';
import type { Answer, Route } from './route.ts';
import { parse, refuseFaults } from './validation.ts';

const nothing = z.strictObject({});

/** A route as Express calls it: lets in who may call it, checks all that comes in, in one go, and writes what comes out. */
export function routeHandler(route: Route, maxBodyBytes: number, access: Access): RequestHandler {
  const query = route.query ?? nothing;
  return async (req, res) => {
    const context = contextOf(res);
    context.route = route.path;
    const admission = access.admit(req, route, context);
    if (admission) await admission;
    const faults: Fault[] = [];
    const params = route.params ? parse(route.params, req.params, 'path', faults) : {};
    const headers = route.headers ? parse(route.headers, req.headers, 'header', faults) : {};
    const asked = req.url.includes('?') || route.query ? parse(query, queryOf(req.url), 'query', faults) : {};
    const body = await bodyOf(req, route, maxBodyBytes, faults);
    refuseFaults(faults);
    const exchange = { req, res, context, params, headers, query: asked, body };
    const answer = await route.handle(exchange as Parameters<Route['handle']>[0]);
    if (answer) send(res, answer);
  };
}

async function bodyOf(
  req: Request,
  { body }: Route,
  maxBodyBytes: number,
  faults: Fault[],
): Promise<unknown> {
  if (body?.as !== 'json') return undefined;
  const value = await readJson(req, maxBodyBytes, body.optional ?? false);
  return value === undefined ? undefined : parse(body.schema, value, 'body', faults);
}

function send(res: Response, { status, headers, json }: Answer): void {
  res.status(status).set(headers ?? {});
  if (json === undefined) res.end();
  else res.type('application/json').end(JSON.stringify(json));
}
