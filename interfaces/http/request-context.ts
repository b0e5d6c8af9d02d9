import type { IncomingMessage } from 'node:http';
import type { Response } from 'express';
import type { CommandConditions } from '../../application/devices/device-commands.ts';
import type { ApiKey } from '../../application/ports/api-keys.ts';
import type { Ids } from '../../application/ports/system.ts';

/** The caller, as far as it is authenticated. */
export type Identity =
  | { readonly is: 'anyone' }
  | { readonly is: 'key'; readonly key: ApiKey }
  | { readonly is: 'device'; readonly deviceId: string };

const anyone: Identity = { is: 'anyone' };

/** What is known of a request whatever its route. */
export type RequestContext = {
  /** The caller and correlation, passed to every use case. */
  caller: {
    readonly correlationId: string;
    readonly actor: string;
    readonly traceparent?: string;
  };
  identity: Identity;
  /** By `performance.now()`. */
  readonly startedAt: number;
  /** The template of the matched route, such as `/api/v1/devices/:deviceId`. */
  route: string;
};

export const correlationHeader = 'X-Correlation-Id';

/** The route label of a request that matches no route. */
export const unmatchedRoute = 'unmatched';

const correlationForm = /^[A-Za-z0-9._:/+=-]{1,128}$/;
/** W3C Trace Context, version 00: no trace id and no parent id of zeros alone. */
const traceparentForm = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** A correlation id or trace context of an invalid form is ignored: neither fails a request. */
export function openContext(req: IncomingMessage, res: Response, ids: Ids): RequestContext {
  const { 'x-correlation-id': wanted, traceparent } = req.headers;
  const context: RequestContext = {
    caller: {
      correlationId: typeof wanted === 'string' && correlationForm.test(wanted) ? wanted : ids.uuidV7(),
      actor: 'anonymous',
      ...(typeof traceparent === 'string' && traceparentForm.test(traceparent) && { traceparent }),
    },
    identity: anyone,
    startedAt: performance.now(),
    route: unmatchedRoute,
  };
  res.locals.context = context;
  return context;
}

export const contextOf = (res: Response): RequestContext => res.locals.context;

/** The client has disconnected. */
export class RequestAborted extends Error {
  override readonly name = 'RequestAborted';
}

/** Aborted, with `RequestAborted`, when the caller goes away, or else when all is answered. */
export function abortOnClose(res: Response): AbortSignal {
  const gone = new AbortController();
  const leave = () => gone.abort(new RequestAborted('The caller went away'));
  if (res.destroyed) leave();
  else res.once('close', leave);
  return gone.signal;
}

export type ConditionHeaders = {
  readonly 'idempotency-key'?: string | undefined;
  readonly 'if-match'?: number | undefined;
};

/** Who gives a command, and on which conditions, as the headers say. */
export function conditionsOf(
  { caller }: Pick<RequestContext, 'caller'>,
  headers: ConditionHeaders,
): CommandConditions {
  const idempotencyKey = headers['idempotency-key'];
  const expectedRevision = headers['if-match'];
  return {
    ...caller,
    ...(idempotencyKey !== undefined && { idempotencyKey }),
    ...(expectedRevision !== undefined && { expectedRevision }),
  };
}
