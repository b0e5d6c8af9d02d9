/** What pages and the worker they share know of the API: addresses, headers, lines. */

/** `/api/v1/devices` with those of the parameters that are set. */
export function address(/** @type {string} */ path, /** @type {Record<string, any>} */ query = {}) {
  const given = Object.entries(query).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value])
      .filter((one) => one !== undefined && one !== '')
      .map((one) => [name, String(one)]),
  );
  const text = new URLSearchParams(given).toString();
  return text === '' ? path : `${path}?${text}`;
}

export const headersOf = (
  /** @type {string | null} */ key,
  /** @type {Record<string, string>} */ more = {},
) => ({
  'X-Requested-With': 'dashboard',
  ...(key && { 'X-API-Key': key }),
  ...more,
});

/** Of the path's parts and nothing else. */
export const devicePath = (/** @type {string} */ id) => `/api/v1/devices/${encodeURIComponent(id)}`;

/** Of NDJSON, each without its end. @param {ReadableStream<Uint8Array>} body */
export async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split('\n');
    rest = parts.pop() ?? '';
    yield* parts.filter((part) => part !== '');
  }
}
