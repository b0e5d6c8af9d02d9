import type { Request, Response } from 'express';
import type { z } from 'zod';
import type { Scope } from '../../application/ports/api-keys.ts';
import type { ProblemKind } from './problems.ts';
import type { RequestContext } from './request-context.ts';

/** A route's response; a route that writes its response itself resolves with nothing. */
export type RouteResponse = {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly json?: unknown;
};

export type ResponseSpec = {
  readonly description: string;
  /** By media type; a string is the schema of plain text, such as a page. */
  readonly content?: Readonly<Record<string, z.ZodType>>;
  /** By name, what they say. */
  readonly headers?: Readonly<Record<string, string>>;
};

/** `json` is read and checked before the route is called; `items` are only described, the route reads them. */
export type BodySpec<Schema extends z.ZodType> =
  | { readonly as: 'json'; readonly schema: Schema; readonly optional?: boolean }
  | {
      readonly as: 'items';
      readonly item: z.ZodType;
      /** Whether one item may come by itself. */
      readonly alone: boolean;
      readonly description: string;
      readonly types: readonly string[];
    }
  /** In a form that a codec reads. */
  | {
      readonly as: 'bytes';
      readonly description: string;
      readonly types: readonly string[];
      /** Whether a request without a body is one that has nothing to store. */
      readonly optional?: boolean;
    };

/** Where clients of other systems show their credential, beside `Authorization: Bearer` and `X-API-Key`. */
export type CredentialPlace = 'token-scheme' | 'basic-password' | 'query-p' | 'path-token';

export type Exchange<Params, Query, Headers, Body> = {
  readonly req: Request;
  readonly res: Response;
  readonly context: RequestContext;
  readonly params: Params;
  readonly query: Query;
  readonly headers: Headers;
  readonly body: Body;
};

type RouteOf<
  Params extends z.ZodType,
  Query extends z.ZodType,
  Headers extends z.ZodType,
  Body extends z.ZodType,
> = {
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** As Express wants it, such as `/api/v1/devices/:deviceId`. */
  readonly path: string;
  /** The scope a key needs to call the route; `any` needs a key of any scope, `public` needs none. */
  readonly scope: Scope | 'any' | 'public';
  /** How the route honours keys for a part of the fleet (device-bounds.ts); it refuses them when absent. */
  readonly boundKeys?: 'device-in-path' | 'selection' | 'each-device' | 'no-device';
  /** Where it depends on the address which scopes a key needs: those, in the place of `scope`. */
  readonly scopesOf?: (url: string) => readonly Scope[];
  /** What else is accepted in the place of a key. */
  readonly alsoAccepts?: 'device-token' | 'metrics-token';
  readonly alsoShownAs?: readonly CredentialPlace[];
  readonly tag: 'Devices' | 'Telemetry' | 'Alarms' | 'Operation';
  /** In the OpenAPI document, where the one made of method and path is another route's. */
  readonly operationId?: string;
  readonly summary: string;
  readonly description?: string;
  readonly params?: Params;
  readonly query?: Query;
  /** By lower-case name. Those not named here are not looked at. */
  readonly headers?: Headers;
  readonly body?: BodySpec<Body>;
  /** By status, every way the route succeeds. */
  readonly responses: Readonly<Record<number, ResponseSpec>>;
  /** What can go wrong beyond what can go wrong with every route of this form. */
  readonly problems?: readonly ProblemKind[];
  handle(
    exchange: Exchange<z.output<Params>, z.output<Query>, z.output<Headers>, z.output<Body>>,
  ): Promise<RouteResponse | undefined>;
};

/** All there is to say of one call of the API: the router and the OpenAPI document are both made from it. */
export type Route = RouteOf<z.ZodObject, z.ZodObject, z.ZodObject, z.ZodType>;

/** Ties a route's handler to the types of its schemas, which a list of routes no longer carries. */
export function route<
  Params extends z.ZodObject = z.ZodObject<Record<never, never>>,
  Query extends z.ZodObject = z.ZodObject<Record<never, never>>,
  Headers extends z.ZodObject = z.ZodObject<Record<never, never>>,
  Body extends z.ZodType = z.ZodUndefined,
>(definition: RouteOf<Params, Query, Headers, Body>): Route {
  return definition as unknown as Route;
}
