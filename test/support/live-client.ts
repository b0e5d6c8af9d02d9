export type LiveEvent = {
  readonly event: string;
  readonly id: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of an event by asserting it.
  readonly data: any;
};

export type LiveClient = {
  readonly status: number;
  readonly headers: Headers;
  /** What has come so far. */
  readonly events: readonly LiveEvent[];
  /** Resolves when the server has ended the stream, or it was cut. */
  readonly ended: Promise<void>;
  /** The id of the last event. */
  lastId(): string | undefined;
  cut(): Promise<void>;
};

/** Follows a live stream as NDJSON. */
export async function liveClient(
  url: string,
  query: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<LiveClient> {
  const stop = new AbortController();
  const response = await fetch(`${url}/api/v1/live?${query}`, {
    headers: { Accept: 'application/x-ndjson', ...headers },
    signal: stop.signal,
  });
  const events: LiveEvent[] = [];
  const ended = (async () => {
    let rest = '';
    const decoder = new TextDecoder();
    for await (const part of response.body ?? []) {
      const lines = (rest + decoder.decode(part, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) events.push(JSON.parse(line));
    }
  })().catch(() => {});
  return {
    status: response.status,
    headers: response.headers,
    events,
    ended,
    lastId: () => events.at(-1)?.id,
    async cut() {
      stop.abort();
      await ended;
    },
  };
}
