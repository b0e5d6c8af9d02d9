/** A live stream that continues where it was cut: no event twice and none left out. */
import { address, headers } from './api.js';

const shortest = 500;
const longest = 10_000;

/**
 * Follows `/api/v1/live` while the page is visible, so that a browser has one stream. `onEvent` gets each event;
 * `onExpired` is called when the log no longer has what follows: the page reads anew then.
 * @param {Record<string, any>} query
 * @param {{ from?: string | undefined, onEvent: (event: { event: string, data: any, id: string }) => void, onExpired: () => void, onState?: (state: 'live' | 'cut') => void }} options
 * @returns {() => void} ends it
 */
export function follow(query, { from, onEvent, onExpired, onState = () => {} }) {
  let position = from;
  let wait = shortest;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {AbortController | undefined} */
  let open;
  let isOver = false;

  const seen = () => {
    clearTimeout(timer);
    if (document.visibilityState === 'visible') void run();
    else open?.abort();
  };
  document.addEventListener('visibilitychange', seen);
  seen();

  return () => {
    isOver = true;
    clearTimeout(timer);
    open?.abort();
    document.removeEventListener('visibilitychange', seen);
  };

  async function run() {
    if (isOver || open) return;
    const stop = new AbortController();
    open = stop;
    try {
      const answer = await fetch(address('/api/v1/live', { ...query, from: position }), {
        headers: headers({ Accept: 'application/x-ndjson' }),
        cache: 'no-store',
        signal: stop.signal,
      });
      if (answer.status === 410) {
        position = undefined;
        onExpired();
      } else if (answer.ok && answer.body) {
        wait = shortest;
        onState('live');
        for await (const line of lines(answer.body)) {
          const event = JSON.parse(line);
          if (event.id) position = event.id;
          onEvent(event);
        }
      } else if (answer.status < 500 && answer.status !== 429) isOver = true;
    } catch {
      // Cut: it is opened again below.
    }
    open = undefined;
    if (isOver || document.visibilityState !== 'visible') return;
    onState('cut');
    timer = setTimeout(run, wait * (0.5 + Math.random()));
    wait = Math.min(wait * 2, longest);
  }
}

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
