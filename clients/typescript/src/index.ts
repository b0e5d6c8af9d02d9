import createClient, { type Client } from 'openapi-fetch';
import type { components, paths } from './api.ts';

export type { components, operations, paths } from './api.ts';

export type Reading = components['schemas']['Reading'];
export type Device = components['schemas']['Device'];
export type Problem = components['schemas']['Problem'];

export type ClientOptions = {
  /** Such as `http://127.0.0.1:8080`. */
  readonly baseUrl: string;
  /** An API key, or the token of a device. */
  readonly apiKey?: string;
  readonly fetch?: typeof globalThis.fetch;
};

/** Every operation of the API by method and path; answers are `{ data }`, or `{ error }` with a problem. */
export function fieldlogClient({ baseUrl, apiKey, fetch }: ClientOptions): Client<paths> {
  return createClient<paths>({
    baseUrl,
    headers: {
      // By which requests without a body are taken for those of a program.
      'X-Requested-With': '@fieldlog/client',
      ...(apiKey !== undefined && { Authorization: `Bearer ${apiKey}` }),
    },
    ...(fetch !== undefined && { fetch: (request: Request) => fetch(request) }),
  });
}
