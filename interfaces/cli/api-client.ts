import { pause } from '../../application/pause.ts';
import { Refused, ServerUnavailable } from './exit-codes.ts';

export type Query = Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** A running server's API. Every call throws `ApiRefusal`, `ServerUnavailable` or the reason of the signal. */
export type ApiClient = {
  readonly url: string;
  get<Answer>(path: string, query?: Query): Promise<Answer>;
  send<Answer>(
    method: 'POST' | 'PATCH',
    path: string,
    body: unknown,
    headers?: Readonly<Record<string, string>>,
  ): Promise<Answer>;
  /** Streams the rows of a response of any length. */
  rows<Row>(path: string, query?: Query): AsyncGenerator<Row>;
};

/** A response with a status of 4xx. */
export class ApiRefusal extends Refused {
  readonly status: number;
  /** The problem details of the response (RFC 9457). */
  readonly problem: Readonly<Record<string, unknown>>;

  constructor(status: number, problem: Readonly<Record<string, unknown>>) {
    super(detailOf(status, problem));
    this.status = status;
    this.problem = problem;
  }
}

export type ClientOptions = {
  /** Shown with every request. */
  readonly apiKey?: string | undefined;
  /** Aborts requests in progress, or with `finish` only those not sent yet. */
  readonly signal: AbortSignal;
  readonly finish?: boolean;
  /** For how long a request is repeated while the server cannot serve it; not at all when absent. */
  readonly retryMilliseconds?: number;
  /** Called for a request that was sent and may or may not have had its effect, before it is repeated. */
  readonly onUncertain?: () => void;
};

const responseTimeout = 60_000;
const pauses = { first: 200, longest: 2000 };
const passing = new Set([429, 502, 503, 504]);

/** The same request may succeed later. */
class NotNow extends ServerUnavailable {
  readonly retryAfter: number | undefined;

  constructor(message: string, retryAfter?: number) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

export function apiClient(url: string, options: ClientOptions): ApiClient {
  const { apiKey, signal, finish = false, retryMilliseconds = 0, onUncertain } = options;
  return {
    url,

    async get(path, query) {
      return whole(await answered(path, query, { headers: { Accept: 'application/json' } }));
    },

    async send(method, path, body, headers) {
      const answer = await answered(path, undefined, {
        method,
        headers: { 'Content-Type': 'application/json', ...headers },
        body: JSON.stringify(body),
      });
      return whole(answer);
    },

    async *rows(path, query) {
      const accepted = { headers: { Accept: 'application/x-ndjson' } };
      const { response, silence } = await answered(path, query, accepted);
      const decoder = new TextDecoder();
      const chunks = response.body?.values();
      let rest = '';
      try {
        for (let chunk = await next(); chunk; chunk = await next()) {
          silence.broken();
          const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
          rest = lines.pop() ?? '';
          for (const line of lines) yield JSON.parse(line);
        }
      } finally {
        silence.over();
        // A caller that stops early would otherwise keep the connection.
        await chunks?.return?.().catch(() => {});
      }

      async function next(): Promise<Uint8Array | undefined> {
        return chunks && (await received(chunks.next())).value;
      }
    },
  };

  async function whole<Answer>({ response, silence }: Answered): Promise<Answer> {
    return received(response.json() as Promise<Answer>).finally(silence.over);
  }

  async function received<Value>(value: Promise<Value>): Promise<Value> {
    return value.catch((error) => {
      signal.throwIfAborted();
      throw new ServerUnavailable(`the answer of ${url} broke off: ${error.message}`);
    });
  }

  async function answered(path: string, query: Query | undefined, init: RequestInit): Promise<Answered> {
    const deadline = Date.now() + retryMilliseconds;
    for (let wait = pauses.first; ; wait = Math.min(wait * 2, pauses.longest)) {
      try {
        return await attempt(new URL(path + queryText(query), url), init);
      } catch (error) {
        if (!(error instanceof NotNow)) throw error;
        const milliseconds = error.retryAfter ?? wait;
        if (Date.now() + milliseconds > deadline) throw error;
        await pause(milliseconds, signal);
        signal.throwIfAborted();
      }
    }
  }

  async function attempt(address: URL, init: RequestInit): Promise<Answered> {
    signal.throwIfAborted();
    const silence = silenceOf(responseTimeout);
    const ended = finish ? silence.tooLong : AbortSignal.any([signal, silence.tooLong]);
    const headers = { ...init.headers, ...(apiKey !== undefined && { Authorization: `Bearer ${apiKey}` }) };
    const response = await fetch(address, { ...init, headers, signal: ended }).catch((error) => {
      silence.over();
      signal.throwIfAborted();
      if (error.cause?.code === 'ECONNREFUSED')
        throw new NotNow(
          `no server answers at ${url}: start one with \`fieldlog serve\` or name it with --url`,
        );
      onUncertain?.();
      throw new NotNow(
        silence.tooLong.aborted
          ? `${url} gave no answer within ${responseTimeout / 1000} s`
          : `the connection to ${url} broke: ${error.cause?.code ?? error.cause?.message ?? error.message}`,
      );
    });
    if (response.ok) return { response, silence };
    const problem = (await response.json().catch(() => ({}))) as Record<string, unknown>;
    silence.over();
    throw failureOf(response, problem, url, apiKey !== undefined);
  }
}

/** What a response other than 2xx means for the command. */
function failureOf(
  { status, headers }: Response,
  problem: Readonly<Record<string, unknown>>,
  url: string,
  hasKey: boolean,
): Error {
  if (status === 401)
    return new ApiRefusal(status, {
      ...problem,
      detail: hasKey
        ? `${url} does not know the API key in FIELDLOG_API_KEY, or it has expired or was revoked`
        : `${url} wants an API key: set FIELDLOG_API_KEY to one that \`fieldlog keys create\` has printed`,
    });
  if (status < 500 && !passing.has(status)) return new ApiRefusal(status, problem);
  const message = `${url} cannot serve this now: ${detailOf(status, problem)}`;
  if (!passing.has(status)) return new ServerUnavailable(message);
  const seconds = Number(headers.get('Retry-After') ?? Number.NaN);
  return new NotNow(message, Number.isFinite(seconds) ? seconds * 1000 : undefined);
}

type Answered = { readonly response: Response; readonly silence: Silence };

/** How long nothing has come of an answer, however long the answer is. */
type Silence = { readonly tooLong: AbortSignal; readonly broken: () => void; readonly over: () => void };

function silenceOf(milliseconds: number): Silence {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), milliseconds);
  return {
    tooLong: controller.signal,
    broken: () => void timer.refresh(),
    over: () => clearTimeout(timer),
  };
}

function detailOf(status: number, { detail }: Readonly<Record<string, unknown>>): string {
  return typeof detail === 'string' ? detail : `it answered ${status}`;
}

function queryText(query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    for (const one of [value].flat()) if (one !== undefined) parameters.append(name, String(one));
  return parameters.size > 0 ? `?${parameters}` : '';
}

/** The last position in each partition of the readings that were sent. */
export type SentPositions = {
  add(positions: readonly string[]): void;
  /** Resolves once the read models have reached them; the client's retries bound the time. */
  untilProjected(client: ApiClient): Promise<void>;
};

const positionsInOneQuery = 100;

export function sentPositions(): SentPositions {
  const last = new Map<string, string>();
  return {
    add(positions) {
      for (const position of positions) last.set(position.slice(0, position.lastIndexOf(':')), position);
    },
    async untilProjected(client) {
      const waitFor = [...last.values()];
      for (let at = 0; at < waitFor.length; at += positionsInOneQuery)
        await client.get('/api/v1/telemetry/latest', {
          limit: 1,
          timeout: '10s',
          waitFor: waitFor.slice(at, at + positionsInOneQuery),
        });
    },
  };
}
