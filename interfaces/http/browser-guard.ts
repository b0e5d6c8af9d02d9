import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import type { RequestHandler, Response } from 'express';
import helmet from 'helmet';
import { HttpProblem } from './problems.ts';

export type BrowserRules = {
  /** Origins whose pages may call the API, such as `https://fleet.example`. */
  readonly origins: readonly string[];
  /** Whether there is no API key, so that whoever reaches the server may do anything. */
  isOpen(): boolean;
};

/** What a request that changes something may have and a page of another site cannot send unasked. */
const ownHeaders = [
  'authorization',
  'x-api-key',
  'idempotency-key',
  'if-match',
  'x-requested-with',
  'content-encoding',
] as const;
/** Names that no public name server answers for: `localhost`, those of a compose network or of a cluster's services. */
const privateName = /^([^.:[\]]+|.*\.(localhost|local|internal|svc|home\.arpa))$/;
/** Types that no form can have: a browser asks the server before it sends one. */
const askedTypes =
  /^application\/(json|x-ndjson|cbor|x-protobuf|sen(s)?ml\+(json|cbor)|cloudevents(-batch)?\+json)\s*(;|$)/i;

/**
 * Keeps pages of other sites from using a visitor's browser against the server: from commanding one on the visitor's
 * machine or network, and from reading an open one by a name of their own that leads to it (DNS rebinding).
 */
export function browserGuard({ origins, isOpen }: BrowserRules): RequestHandler {
  const trusted = new Set(origins);
  const trustedHosts = new Set(origins.map((origin) => new URL(origin).hostname));

  return (req, res, next) => {
    const { origin, host, 'sec-fetch-site': site } = req.headers;
    if (host !== undefined && isOpen() && !isOwn(hostnameOf(host))) throw wrongHost(host);
    if (trusted.size > 0) res.vary('Origin');
    if (origin !== undefined && trusted.has(origin)) {
      allow(res, origin);
      if (req.method === 'OPTIONS' && req.headers['access-control-request-method'] !== undefined)
        return void allowNext(res).status(204).end();
    } else if (changesState(req) && isForeign(origin, site, host)) throw foreignOrigin(origin);
    next();
  };

  /** An address cannot be rebound, and whoever resolves a trusted name resolves it for that name's pages. */
  function isOwn(hostname: string): boolean {
    return (
      privateName.test(hostname) ||
      isIP(hostname.replace(/^\[(.*)\]$/, '$1')) !== 0 ||
      trustedHosts.has(hostname)
    );
  }
}

/** Throws a problem for what any page could send without the browser's asking this server first: a form, or no body. */
export function refuseBareRequest(req: IncomingMessage): void {
  if (!changesState(req) || askedTypes.test(req.headers['content-type'] ?? '')) return;
  if (ownHeaders.some((name) => name in req.headers)) return;
  throw new HttpProblem(
    'unsupported-media-type',
    'A request that changes something needs Content-Type: application/json, or X-Requested-With beside another one or none, so that no web page can send it unasked',
    { headers: { Accept: 'application/json' } },
  );
}

const changesState = ({ method }: IncomingMessage): boolean =>
  method !== 'GET' && method !== 'HEAD' && method !== 'OPTIONS';

/** The browser's own word counts first: behind a proxy the server may have another name than its pages see. */
const isForeign = (origin: string | undefined, site: unknown, host: string | undefined): boolean =>
  typeof site === 'string'
    ? site !== 'same-origin' && site !== 'none'
    : origin !== undefined && origin.replace(/^https?:\/\//, '') !== host;

const hostnameOf = (host: string): string => host.replace(/:\d*$/, '').toLowerCase();

const exposed = [
  ...['ETag', 'Fieldlog-Lag', 'Fieldlog-Position', 'Link', 'Location', 'Retry-After', 'Trailer'],
  ...['WWW-Authenticate', 'X-Correlation-Id'],
].join(', ');
const accepted = [
  ...['Authorization', 'Content-Type', 'Idempotency-Key', 'If-Match', 'If-None-Match', 'traceparent'],
  ...['X-API-Key', 'X-Correlation-Id', 'X-Requested-With'],
].join(', ');

const allow = (res: Response, origin: string): Response =>
  res.set({ 'Access-Control-Allow-Origin': origin, 'Access-Control-Expose-Headers': exposed });

const allowNext = (res: Response): Response =>
  res.set({
    'Access-Control-Allow-Methods': 'GET, HEAD, POST, PUT, PATCH, DELETE',
    'Access-Control-Allow-Headers': accepted,
    'Access-Control-Max-Age': '600',
  });

const wrongHost = (host: string): HttpProblem =>
  new HttpProblem(
    'wrong-host',
    `Without API keys the server answers to local names and addresses, not to ${host}: make a key with \`fieldlog keys create\`, or name its origin in CORS_ORIGINS`,
  );

const foreignOrigin = (origin = 'another site'): HttpProblem =>
  new HttpProblem(
    'foreign-origin',
    `A page of ${origin} may not change anything here: CORS_ORIGINS names those that may`,
  );

/** What a browser is allowed to do with anything it gets from here: /docs works with exactly this. */
const policy = helmet({
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

/** They are the same for every answer, so helmet is asked once: setting them costs a request a microsecond. */
export function securityHeaders(): RequestHandler {
  const headers: [name: string, value: string][] = [];
  const recorder = {
    setHeader: (name: string, value: string) => void headers.push([name, value]),
    removeHeader: () => {},
  };
  policy({} as never, recorder as never, (error?: unknown) => {
    if (error) throw error;
  });
  return (_req, res, next) => {
    for (const [name, value] of headers) res.setHeader(name, value);
    next();
  };
}
