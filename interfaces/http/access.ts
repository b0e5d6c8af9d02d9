import type { IncomingMessage } from 'node:http';
import type { ApiKeyCache } from '../../application/api-keys.ts';
import type { ApiKey, Credentials, Scope } from '../../application/ports/api-keys.ts';
import type { DeviceDirectory } from '../../application/ports/device-directory.ts';
import { requireTouchable } from './device-bounds.ts';
import { HttpProblem } from './problems.ts';
import type { RateLimits } from './rate-limits.ts';
import type { Identity, RequestContext } from './request-context.ts';
import type { CredentialPlace, Route } from './route.ts';

export type Access = {
  /** Throws a problem unless the request may call the route; stores the caller in the context. */
  admit(req: IncomingMessage, route: Route, context: RequestContext): Promise<void> | undefined;
  /** Whether the key of an admitted request still is one, for answers that take long; and has these scopes. */
  stillAdmits(context: RequestContext, needed: readonly Scope[]): Promise<boolean>;
  /**
   * Who shows a credential on a connection that only sends readings; anyone where none is needed. `undefined` when it
   * is not good, or may not send readings.
   */
  sender(text: string | undefined): Promise<Identity | undefined>;
  /** Throws a problem when the caller's key is for other devices than the one in the path. */
  requireDevice(context: RequestContext, deviceId: string): Promise<void>;
};

type AccessParts = {
  readonly keys: ApiKeyCache;
  readonly credentials: Credentials;
  readonly directory: DeviceDirectory;
  /** Good for reading metrics and for nothing else. */
  readonly metricsToken?: string | undefined;
  readonly limits?: RateLimits | undefined;
};

/** The scopes of API keys, device tokens and the token for metrics, as docs/security.md describes them. */
export function access({ keys, credentials, directory, metricsToken, limits }: AccessParts): Access {
  const metricsHash = metricsToken === undefined ? undefined : credentials.hash(metricsToken);

  return {
    admit(req, route, context) {
      if (route.scope === 'public') return undefined;
      const text = credentialText(req) ?? credentialElsewhere(req, route.alsoShownAs);
      // Most requests of a system without keys: they must not wait even for a promise.
      if (text === undefined && isOpen(route)) return undefined;
      return identify(text, route, context, req.url ?? '');
    },
    sender,
    requireDevice: (context, deviceId) => requireTouchable(directory, context, deviceId),

    async stillAdmits({ identity }, needed) {
      if (identity.is !== 'key') return !keys.isAuthRequired();
      const { name, hash } = identity.key;
      const key = await keys.find({ kind: 'key', subject: name, hash });
      return key !== undefined && needed.every((scope) => key.scopes.includes(scope));
    },
  };

  async function sender(text: string | undefined): Promise<Identity | undefined> {
    const credential = text === undefined ? undefined : credentials.read(text);
    if (credential?.kind === 'device') {
      const isGood = await isTokenOf(credential.subject, credential.hash);
      return isGood ? { is: 'device', deviceId: credential.subject } : undefined;
    }
    if (!keys.isAuthRequired()) return { is: 'anyone' };
    const key = credential && (await keys.find(credential));
    return key?.scopes.includes('telemetry:write') ? { is: 'key', key } : undefined;
  }

  function isOpen({ alsoAccepts: orBy }: Route): boolean {
    return !keys.isAuthRequired() && !(orBy === 'metrics-token' && metricsHash !== undefined);
  }

  async function identify(
    text: string | undefined,
    route: Route,
    context: RequestContext,
    url: string,
  ): Promise<void> {
    if (text === undefined) throw unidentified('Show an API key as `Authorization: Bearer …` or `X-API-Key`');
    if (route.alsoAccepts === 'metrics-token' && metricsHash !== undefined)
      if (credentials.same(credentials.hash(text), metricsHash)) return;

    const credential = credentials.read(text);
    if (credential?.kind === 'device') {
      if (!(await isTokenOf(credential.subject, credential.hash)))
        throw unidentified('The device token is not good');
      limits?.spendTokenRequest(credential.subject);
      if (route.alsoAccepts !== 'device-token')
        throw new HttpProblem('scope-missing', 'A device token is good for sending readings only', {
          members: { scope: route.scope },
        });
      context.identity = { is: 'device', deviceId: credential.subject };
      context.caller = { ...context.caller, actor: `device:${credential.subject}` };
      return;
    }

    if (isOpen(route)) return;
    const key = credential && (await keys.find(credential));
    if (!key) throw unidentified('The API key is unknown, revoked or expired');
    context.identity = { is: 'key', key };
    context.caller = { ...context.caller, actor: key.name };
    const needed = route.scopesOf?.(url) ?? (route.scope === 'any' ? [] : [route.scope]);
    requireScopes(context, needed);
    if (key.only !== null && route.boundKeys === undefined)
      throw new HttpProblem('outside-key', 'Only a key for the whole fleet may do this', {
        members: { only: key.only },
      });
    limits?.spendRequest(key.name);
  }

  async function isTokenOf(deviceId: string, hash: string): Promise<boolean> {
    const entry = (await directory.find(new Set([deviceId]))).get(deviceId);
    return entry?.tokenHash !== undefined && credentials.same(entry.tokenHash, hash);
  }
}

/** RFC 6750 for `Authorization`; other schemes are some proxy's business, not ours. */
function credentialText({ headers }: IncomingMessage): string | undefined {
  const { authorization, 'x-api-key': key } = headers;
  const bearer = authorization === undefined ? undefined : /^Bearer +(\S+)$/i.exec(authorization)?.[1];
  return bearer ?? (typeof key === 'string' ? key : undefined);
}

/** As the clients of other systems show it. */
function credentialElsewhere(
  { headers, url = '' }: IncomingMessage,
  places: readonly CredentialPlace[] = [],
): string | undefined {
  for (const place of places) {
    const text = credentialAt[place](headers.authorization ?? '', url);
    if (text !== undefined && text !== '') return text;
  }
  return undefined;
}

const credentialAt: Readonly<
  Record<CredentialPlace, (authorization: string, url: string) => string | undefined>
> = {
  'token-scheme': (authorization) => /^Token +(\S+)$/i.exec(authorization)?.[1],
  'basic-password'(authorization) {
    const encoded = /^Basic +(\S+)$/i.exec(authorization)?.[1];
    return encoded && /:(.*)$/s.exec(Buffer.from(encoded, 'base64').toString())?.[1];
  },
  'query-p': (_, url) => new URLSearchParams(url.split('?')[1]).get('p') ?? undefined,
  'path-token': (_, url) => /^\/api\/v1\/([^/?]+)\/telemetry(\?|$)/.exec(url)?.[1],
};

/** Throws a problem unless the caller's key has all of them, or none is needed. */
export function requireScopes({ identity }: RequestContext, needed: readonly Route['scope'][]): void {
  if (identity.is !== 'key') return;
  const { key } = identity;
  for (const scope of needed)
    if (!key.scopes.some((one) => one === scope)) throw scopeMissing(key, { scope });
}

const unidentified = (detail: string): HttpProblem =>
  new HttpProblem('key-required', detail, { headers: { 'WWW-Authenticate': 'Bearer realm="fieldlog"' } });

const scopeMissing = ({ name, scopes }: ApiKey, { scope }: Pick<Route, 'scope'>): HttpProblem =>
  new HttpProblem('scope-missing', `The API key ${name} has not the scope ${scope}`, {
    members: { scope, scopes },
    headers: {
      'WWW-Authenticate': `Bearer realm="fieldlog", error="insufficient_scope", scope="${scope}"`,
    },
  });
