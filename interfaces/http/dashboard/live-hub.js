/** One live stream of readings for everything that follows a device, which continues where it was cut. */
import { address, headersOf, lines } from './transport.js';

const shortest = 500;
const longest = 10_000;

/**
 * @typedef {object} Follower
 * @property {string} deviceId
 * @property {(message: Message) => void} send
 * @typedef {{ begun: string } | { state: 'live' | 'cut' } | { event: string, data: any }} Message
 */

/**
 * Whoever joins is told `begun` with a position: everything of its device behind that comes from then on, and what is
 * before it a query finds that waits for it. It is told again when the log no longer had what followed.
 */
export class LiveHub {
  #key;
  /** @type {Set<Follower>} */
  #followers = new Set();
  /** Who was told `begun`, and has had everything since. @type {Set<Follower>} */
  #begun = new Set();
  /** Of the stream that is open. @type {ReadonlySet<string>} */
  #devices = new Set();
  /** @type {string | undefined} */
  #position;
  /** @type {AbortController | undefined} */
  #open;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #wait = shortest;
  /** @type {'live' | 'cut' | undefined} */
  #state;

  /** @param {string | null} key */
  constructor(key) {
    this.#key = key;
  }

  join(/** @type {Follower} */ follower) {
    this.#followers.add(follower);
    if (this.#state) follower.send({ state: this.#state });
    if (this.#state !== 'live' || !this.#devices.has(follower.deviceId)) this.#restart();
    else this.#begin();
  }

  /** The stream keeps what nobody follows any more until it is opened anew. */
  leave(/** @type {Follower} */ follower) {
    this.#followers.delete(follower);
    this.#begun.delete(follower);
    if (this.#followers.size > 0) return;
    this.#stop();
    this.#position = undefined;
    this.#state = undefined;
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#open?.abort();
    this.#open = undefined;
  }

  #restart() {
    this.#stop();
    void this.#run();
  }

  #tell(/** @type {Message} */ message, /** @type {string | undefined} */ deviceId = undefined) {
    for (const follower of this.#followers)
      if (deviceId === undefined || follower.deviceId === deviceId) follower.send(message);
  }

  /** Those who joined since. */
  #begin() {
    if (this.#position === undefined) return;
    for (const follower of this.#followers) {
      if (this.#begun.has(follower) || !this.#devices.has(follower.deviceId)) continue;
      this.#begun.add(follower);
      follower.send({ begun: this.#position });
    }
  }

  #become(/** @type {'live' | 'cut'} */ state) {
    this.#state = state;
    this.#tell({ state });
  }

  async #run() {
    const stop = new AbortController();
    this.#open = stop;
    this.#devices = new Set([...this.#followers].map(({ deviceId }) => deviceId));
    let isRefused = false;
    try {
      const query = { events: 'readings', deviceId: [...this.#devices], from: this.#position };
      const answer = await fetch(address('/api/v1/live', query), {
        headers: headersOf(this.#key, { Accept: 'application/x-ndjson' }),
        cache: 'no-store',
        signal: stop.signal,
      });
      if (answer.status === 410) {
        this.#position = undefined;
        this.#begun.clear();
      } else if (answer.ok && answer.body) await this.#read(answer.body, stop.signal);
      else isRefused = answer.status < 500 && answer.status !== 429;
    } catch {
      // Cut: it is opened again below.
    }
    if (stop.signal.aborted) return;
    this.#become('cut');
    // Whoever joins next, with what may be another right, tries again.
    if (isRefused) return;
    this.#timer = setTimeout(() => this.#run(), this.#wait * (0.5 + Math.random()));
    this.#wait = Math.min(this.#wait * 2, longest);
  }

  /** @param {ReadableStream<Uint8Array>} body @param {AbortSignal} stopped */
  async #read(body, stopped) {
    this.#wait = shortest;
    this.#become('live');
    this.#begin();
    for await (const line of lines(body)) {
      if (stopped.aborted) return;
      const { event, data, id } = JSON.parse(line);
      if (id) this.#position = id;
      // A snapshot says where the stream begins; what it holds the query finds as well.
      if (event === 'snapshot') this.#begin();
      if (event === 'reading' || event === 'retraction') this.#tell({ event, data }, data.deviceId);
      else if (event === 'gap' || event === 'lag') this.#tell({ event, data });
    }
  }
}
