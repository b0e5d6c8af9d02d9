export type Reply = {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of an answer by asserting it.
  readonly json: any;
};

export type Call = {
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Sent as it is. */
  readonly body?: string | Uint8Array<ArrayBuffer>;
  readonly headers?: Readonly<Record<string, string>>;
};

/** Calls an API over HTTP, as any caller would. */
export function httpClient(url: string) {
  return async (method: string, path: string, { json, body, headers }: Call = {}): Promise<Reply> => {
    const sent = json === undefined ? body : JSON.stringify(json);
    const response = await fetch(url + path, {
      method,
      headers: {
        ...(sent === undefined ? { 'X-Requested-With': 'test' } : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      ...(sent !== undefined && { body: sent }),
    });
    const text = await response.text();
    const isJson = /[/+]json$/.test(response.headers.get('Content-Type')?.split(';')[0] ?? '');
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: isJson ? JSON.parse(text) : undefined,
    };
  };
}

export type HttpClient = ReturnType<typeof httpClient>;

/** Status and name of a problem. */
export const problemOf = ({ status, json }: Reply): [number, string] => [status, json.type.split('/').at(-1)];
