/** What was measured by one device in a range of time: read by queries, and kept up to date by a live stream. */
import { Points } from './points.js';
import { devicePath } from './transport.js';

const mostPoints = 5000;
const inOnePage = 10_000;
/** How many metrics are chosen as long as nobody chooses. */
const metricsAtFirst = 4;

/**
 * @typedef {object} Selection
 * @property {number} seconds
 * @property {number | undefined} end Epoch milliseconds; `undefined` for now, which is followed.
 * @property {{ name: string, seconds: number } | undefined} interval Averages of this length; points without it.
 * @property {readonly string[]} metrics The first ones there are when empty.
 * @typedef {{ from: number, to: number, position: string }} Stale Averages of this time are not those of the read model any more.
 * @typedef {(id: string, take: { onBegun: (position: string) => void, onEvent: (message: { event: string, data: any }) => void, onState: (state: 'live' | 'cut') => void }) => () => void} Follow
 */

/** Whether the same may succeed later: the server was not there, or had too much to do. */
const mayPass = (/** @type {any} */ { status = 0 }) => status === 0 || status === 429 || status >= 500;

export class Measured {
  points = new Points();
  /** Those that the device has sent. @type {readonly string[]} */
  metrics = [];
  /** @type {readonly any[]} */
  alarms = [];
  /** Why the last query failed. @type {unknown} */
  error;
  isLoaded = false;
  /** Only the newest points are there. */
  isCut = false;
  /** Of the live stream; empty where there is none. @type {'live' | 'cut' | ''} */
  live = '';
  #id;
  #get;
  #follow;
  #changed;
  #refreshEvery;
  #whenBehind;
  /** @type {Selection} */
  #selection = { seconds: 3600, end: undefined, interval: undefined, metrics: [] };
  #unfollow = () => {};
  /** Readings that came while a query was asked, which its answer may not have. @type {{ timestamp: string, metrics: Record<string, any> }[] | undefined} */
  #arrived;
  /** @type {Stale | undefined} */
  #stale;
  /** Of the newest reading that the stream had. @type {string | undefined} */
  #seen;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #refreshing;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #later;
  /** Of the query that was asked last: an answer to one before it is dropped. */
  #turn = 0;
  #isOver = false;

  /**
   * @param {string} id
   * @param {{ get: (path: string, query?: Record<string, any>) => Promise<{ json: any }>, follow: Follow, changed: () => void, refreshEvery?: number, whenBehind?: number }} options
   *   `changed` is called when there is something new to show; averages that have changed are read again after
   *   `refreshEvery` milliseconds, and a read model that is behind after `whenBehind`
   */
  constructor(id, { get, follow, changed, refreshEvery = 1000, whenBehind = 10_000 }) {
    this.#id = id;
    this.#get = get;
    this.#follow = follow;
    this.#changed = changed;
    this.#refreshEvery = refreshEvery;
    this.#whenBehind = whenBehind;
  }

  close() {
    this.#isOver = true;
    this.#turn += 1;
    clearTimeout(this.#later);
    clearTimeout(this.#refreshing);
    this.#unfollow();
  }

  /** What is shown of what was measured. */
  get chosen() {
    const { metrics } = this.#selection;
    return metrics.length > 0 ? metrics : this.metrics.slice(0, metricsAtFirst);
  }

  get mostPoints() {
    return mostPoints;
  }

  /** The query that has what is shown. */
  query() {
    const { seconds, end, interval } = this.#selection;
    // Averages are of whole intervals.
    const whole = (interval?.seconds ?? 0.001) * 1000;
    const from = Math.floor(((end ?? Date.now()) - seconds * 1000) / whole) * whole;
    return {
      from: new Date(from).toISOString(),
      ...(end !== undefined && { to: new Date(end).toISOString() }),
      metric: this.chosen,
      ...(interval ? { interval: interval.name, aggregate: 'avg' } : {}),
    };
  }

  /** At once, and again when the live stream has begun: what came before it is in the second answer. */
  async select(/** @type {Selection} */ wanted) {
    const selection = { ...wanted };
    this.#selection = selection;
    this.#unfollow();
    this.#unfollow = () => {};
    clearTimeout(this.#later);
    this.live = '';
    this.#stale = undefined;
    this.#seen = undefined;
    await this.#fetch();
    if (selection.end !== undefined || this.#isOver || selection !== this.#selection) return;
    this.#unfollow = this.#follow(this.#id, {
      onBegun: (position) => void this.#fetch(position),
      onEvent: (message) => this.#take(message),
      onState: (state) => {
        this.live = state;
        this.#changed();
      },
    });
  }

  /** Epoch milliseconds. Nothing that was measured is beyond its end. */
  get range() {
    const { seconds, end = Date.now() } = this.#selection;
    const newest = this.chosen.map((metric) => this.points.get(metric).times.at(-1) ?? 0);
    return { from: end - seconds * 1000, to: Math.max(end, ...newest) };
  }

  /** Leaves out what the range has left behind. */
  trim() {
    const { seconds, end } = this.#selection;
    if (end === undefined) this.points.dropBefore(Date.now() - seconds * 1000);
  }

  async loadAlarms() {
    const answer = await this.#get('/api/v1/alarms', { deviceId: this.#id, limit: 100 }).catch(
      () => undefined,
    );
    if (answer) this.alarms = answer.json.alarms;
    this.#changed();
  }

  #take(/** @type {{ event: string, data: any }} */ { event, data }) {
    if (event !== 'reading') return void this.select(this.#selection);
    this.#seen = data.position;
    this.#arrived?.push(data);
    this.#add(data);
    this.#changed();
  }

  #add(/** @type {any} */ { timestamp, metrics, position }) {
    const at = Date.parse(timestamp);
    const names = Object.keys(metrics);
    if (names.some((name) => !this.metrics.includes(name)))
      this.metrics = [...new Set([...this.metrics, ...names])].sort();
    const { interval } = this.#selection;
    if (!interval) {
      for (const name of names) this.points.add(name, at, metrics[name]);
      return;
    }
    const width = interval.seconds * 1000;
    const from = Math.floor(at / width) * width;
    this.#note({ from, to: from + width, position });
  }

  /** @param {Stale} stale @param {number} after milliseconds until it is read */
  #note({ from, to, position }, after = this.#refreshEvery) {
    const known = this.#stale;
    this.#stale = {
      from: Math.min(from, known?.from ?? from),
      to: Math.max(to, known?.to ?? to),
      position,
    };
    this.#refreshing ??= setTimeout(() => this.#refresh(), after);
  }

  /** Reads averages again that have changed, once the read model has what changed them. */
  async #refresh() {
    this.#refreshing = undefined;
    const [stale, turn] = [this.#stale, this.#turn];
    if (!stale || this.#isOver) return;
    if (this.#arrived) return this.#note(stale);
    this.#stale = undefined;
    try {
      const query = this.query();
      const from = Math.max(stale.from, Date.parse(query.from));
      if (from >= stale.to) return;
      const range = { from: new Date(from).toISOString(), to: new Date(stale.to).toISOString() };
      const averages = await this.#averages({ ...query, ...range }, stale.position);
      // The answer to a later query has taken the place of these points.
      if (turn !== this.#turn)
        return this.#note({ ...stale, position: this.#stale?.position ?? stale.position });
      for (const { at, metric, value } of averages.rows) this.points.add(metric, at, value);
      this.error = undefined;
    } catch (error) {
      if (this.#isOver) return;
      this.error = error;
      this.#note({ ...stale, position: this.#stale?.position ?? stale.position }, this.#whenBehind);
    }
    this.#changed();
  }

  /** With `waitFor`, positions, what is read has everything up to there, and up to what the stream had. */
  async #fetch(/** @type {string} */ waitFor = '') {
    this.#turn += 1;
    const turn = this.#turn;
    /** @type {{ timestamp: string, metrics: Record<string, any> }[]} */
    const arrived = [];
    this.#arrived = arrived;
    const awaited = this.#seen === undefined ? waitFor : `${waitFor},${this.#seen}`;
    try {
      const latest = await this.#ask(`${devicePath(this.#id)}/telemetry/latest`, { waitFor: awaited });
      if (turn !== this.#turn) return;
      const metrics = latest.json.points.map(({ metric }) => metric);
      // Some may have come meanwhile, as the first of their device.
      this.metrics = [...new Set([...metrics, ...arrived.flatMap((one) => Object.keys(one.metrics))])].sort();
      const { rows, isBehind, isCut } = await this.#read(awaited);
      if (turn !== this.#turn) return;
      // What the stream brought stays where the read model does not have it yet.
      if (!isBehind) this.points = new Points();
      for (const { at, metric, value } of rows) this.points.add(metric, at, value);
      this.isCut = isCut;
      this.error = undefined;
    } catch (error) {
      if (turn !== this.#turn) return;
      this.error = error;
      if (mayPass(error)) this.#again(waitFor);
    }
    this.#arrived = undefined;
    for (const reading of arrived) this.#add(reading);
    this.isLoaded = true;
    this.#changed();
  }

  #again(/** @type {string} */ waitFor) {
    clearTimeout(this.#later);
    if (!this.#isOver) this.#later = setTimeout(() => this.#fetch(waitFor), this.#whenBehind);
  }

  async #read(/** @type {string} */ waitFor) {
    if (this.metrics.length === 0) return { rows: [], isBehind: false, isCut: false };
    if (this.#selection.interval) return this.#averages(this.query(), waitFor);
    const query = { ...this.query(), order: 'desc', limit: mostPoints, waitFor };
    const { json, isBehind } = await this.#ask(`${devicePath(this.#id)}/telemetry`, query);
    const rows = json.points
      .reverse()
      .map(({ timestamp, metric, value }) => ({ at: Date.parse(timestamp), metric, value }));
    return { rows, isBehind, isCut: json.next !== null };
  }

  /** @param {Record<string, any>} query @param {string} waitFor */
  async #averages(query, waitFor) {
    const rows = [];
    let isBehind = false;
    let cursor;
    do {
      const asked = { ...query, limit: inOnePage, cursor, waitFor };
      const answer = await this.#ask(`${devicePath(this.#id)}/telemetry`, asked);
      for (const { start, metric, avg } of answer.json.buckets)
        rows.push({ at: Date.parse(start), metric, value: avg });
      isBehind ||= answer.isBehind;
      cursor = answer.json.next ?? undefined;
    } while (cursor !== undefined);
    return { rows, isBehind, isCut: false };
  }

  /** Where the read model does not get there, what it has is answered, and it is asked again soon. */
  async #ask(/** @type {string} */ path, /** @type {Record<string, any>} */ { waitFor, ...query }) {
    const awaited = waitFor.split(',').filter((one) => /^telemetry:\d+:\d/.test(one));
    // So many that they would be too long for an address.
    if (awaited.length === 0 || awaited.length > 100)
      return { json: (await this.#get(path, query)).json, isBehind: false };
    try {
      return { json: (await this.#get(path, { ...query, waitFor: awaited })).json, isBehind: false };
    } catch (error) {
      if (/** @type {any} */ (error).type !== 'not-yet-projected') throw error;
      this.#again(waitFor);
      return { json: (await this.#get(path, query)).json, isBehind: true };
    }
  }
}
