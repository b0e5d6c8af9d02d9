/** Calls of the API: they send the key, turn problems into errors, and remember how fresh the last answer was. */
import { address, headersOf } from './transport.js';

const keyName = 'fieldlog-api-key';

/** Kept until the browser's session ends, and never in an address. */
export const apiKey = {
  get: () => sessionStorage.getItem(keyName),
  set: (/** @type {string} */ key) => sessionStorage.setItem(keyName, key),
  forget: () => sessionStorage.removeItem(keyName),
};

/** How long other tabs have to answer. */
const answerWithin = 200;

/** Answers tabs that have no key yet, so that it is asked for once in a browser. */
const keys = new BroadcastChannel('fieldlog-key');
keys.addEventListener('message', ({ data }) => {
  const key = apiKey.get();
  if (data.isAsked && key !== null) keys.postMessage({ key });
});

/** The key that another tab has; `undefined` where none has one. @returns {Promise<string | undefined>} */
export function keyOfOtherTab() {
  return new Promise((resolve) => {
    const take = (/** @type {MessageEvent} */ { data }) => {
      if (data.key === undefined) return;
      keys.removeEventListener('message', take);
      resolve(data.key);
    };
    keys.addEventListener('message', take);
    setTimeout(() => {
      keys.removeEventListener('message', take);
      resolve(undefined);
    }, answerWithin);
    keys.postMessage({ isAsked: true });
  });
}

/** A problem of RFC 9457, or what kept the answer from coming. */
export class Problem extends Error {
  /** @param {number} status @param {Record<string, any>} body */
  constructor(status, body) {
    super(body.detail ?? body.title ?? `The server answered ${status}`);
    this.status = status;
    this.type =
      String(body.type ?? '')
        .split('/')
        .at(-1) ?? '';
    this.body = body;
  }

  /** One line for each fault, with its place. */
  get lines() {
    const errors = this.body.errors ?? [];
    return errors.length > 0
      ? errors.map(({ path, detail }) => `${path.slice(1)} ${detail}`)
      : [this.message];
  }
}

/** Told when something was read, and of each key that was refused. */
export const events = new EventTarget();

const announce = (/** @type {string} */ name) => events.dispatchEvent(new Event(name));

/**
 * By read models, what the page has of them: as of when, and how many events they were behind where that is known.
 * @type {Map<string, { at: number, lag: number | undefined }>}
 */
let read = new Map();

/** The page has just read from these, or what it had of them is as it was. @param {string} readModels @param {number | undefined} lag */
export function noteRead(readModels, lag) {
  read.set(readModels, { at: Date.now(), lag });
  announce('read');
}

/** Another page is shown, which has read nothing yet. */
export function forgetRead() {
  read = new Map();
  announce('read');
}

/** Of everything that the page has read: the earliest time, and the most events behind; `undefined` before that. */
export function freshness() {
  const all = [...read.values()];
  if (all.length === 0) return undefined;
  const lags = all.flatMap(({ lag }) => lag ?? []);
  return {
    at: new Date(Math.min(...all.map(({ at }) => at))),
    lag: lags.length < all.length ? undefined : Math.max(...lags),
  };
}

/** `telemetry,devices` of `telemetry:0:17,telemetry:1:12,devices:0:4`. */
const readModelsOf = (/** @type {string} */ positions) =>
  [...new Set(positions.split(',').map((one) => one.split(':')[0]))].join();

export const headers = (/** @type {Record<string, string>} */ more = {}) => headersOf(apiKey.get(), more);

/**
 * Throws `Problem`.
 * @param {string} method @param {string} path
 * @param {{ query?: Record<string, any>, body?: unknown, etag?: string, signal?: AbortSignal, accept?: string }} [options]
 */
export async function call(method, path, { query, body, etag, signal, accept = 'application/json' } = {}) {
  const more = {
    Accept: accept,
    ...(body !== undefined && { 'Content-Type': 'application/json' }),
    ...(etag && { 'If-Match': etag }),
  };
  const page = read;
  const answer = await fetch(address(path, query), {
    method,
    headers: headers(more),
    cache: 'no-store',
    ...(body !== undefined && { body: JSON.stringify(body) }),
    ...(signal && { signal }),
  }).catch((error) => {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, { detail: 'The server cannot be reached. It is tried again.' });
  });
  const text = await answer.text();
  const json = answer.headers.get('Content-Type')?.includes('json') ? JSON.parse(text) : {};
  if (!answer.ok) {
    if (answer.status === 401) announce('unidentified');
    throw new Problem(answer.status, json);
  }
  const lag = answer.headers.get('Fieldlog-Lag');
  // An answer to a page that was left says nothing of the one that is shown.
  if (lag !== null && page === read)
    noteRead(
      readModelsOf(answer.headers.get('Fieldlog-Position') ?? ''),
      lag === 'unknown' ? undefined : Number(lag),
    );
  return { status: answer.status, json, text, etag: answer.headers.get('ETag') ?? undefined };
}

export const get = (
  /** @type {string} */ path,
  /** @type {Record<string, any>} */ query = {},
  /** @type {AbortSignal | undefined} */ signal = undefined,
) => call('GET', path, { query, signal });

export const post = (
  /** @type {string} */ path,
  /** @type {unknown} */ body = {},
  /** @type {string | undefined} */ etag = undefined,
) => call('POST', path, { body, etag });

/** @type {Promise<any> | undefined} */
let known;

/** Who one is, what the key may do (all of it while the server has no keys), and where MQTT is taken. */
export function access() {
  known ??= get('/api/v1/access').then(
    ({ json }) => json,
    (error) => {
      known = undefined;
      throw error;
    },
  );
  return known;
}

/** What the key may do. @returns {Promise<ReadonlySet<string>>} */
export const scopes = async () => new Set((await access()).scopes);

export function forgetScopes() {
  known = undefined;
}
