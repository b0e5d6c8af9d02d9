/** What was measured by one device: the chart, the table of what it shows, the same as CSV, and the live tail. */
import { html, nothing, render } from '/dashboard/lit-html.js';
import { call, devicePath, get, Problem } from './api.js';
import { Chart } from './chart.js';
import { every, faults, save, shown, time } from './elements.js';
import { follow } from './live.js';
import { Points } from './points.js';
import { address } from './transport.js';

/** By name: seconds shown, and the width of a bucket where points would be too many. */
const ranges = {
  '15m': { seconds: 900, interval: undefined },
  '1h': { seconds: 3600, interval: undefined },
  '6h': { seconds: 21_600, interval: '1m' },
  '1d': { seconds: 86_400, interval: '5m' },
  '7d': { seconds: 604_800, interval: '1h' },
  '30d': { seconds: 2_592_000, interval: '6h' },
  '1y': { seconds: 31_536_000, interval: '1d' },
};
/** The shortest range that holds so many seconds, or the longest there is. */
export const rangeOf = (/** @type {number} */ seconds) =>
  Object.keys(ranges).find((name) => ranges[name].seconds >= seconds) ?? '1y';

const mostPoints = 5000;
const rowsShown = 100;
/** Milliseconds from one drawing to the next: a device may send more often than anybody can look. */
const drawEvery = 250;
/** Seconds from one query of averages to the next. */
const averagesEvery = 30;
/** Milliseconds after which a read model that is behind is asked again. */
const whenBehind = 10_000;

export class Series {
  #root;
  #id;
  #query;
  #change;
  /** @type {Chart | undefined} */
  #chart;
  #points = new Points();
  /** @type {readonly string[]} */
  #metrics = [];
  /** @type {readonly any[]} */
  #alarms = [];
  /** @type {unknown} */
  #error;
  #isLoaded = false;
  #isCut = false;
  #live = '';
  #unfollow = () => {};
  /** While a query is asked. @type {{ timestamp: string, metrics: Record<string, any> }[] | undefined} */
  #arrived;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #later;
  /** Of the query that was asked last: an answer to one before it is dropped. */
  #turn = 0;
  #isOver = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #drawing;
  #drawnAt = 0;

  /**
   * @param {HTMLElement} root @param {string} id @param {URLSearchParams} query `range`, `to` and `metric`
   * @param {(changes: Record<string, string>) => void} change puts something into the address
   */
  constructor(root, id, query, change) {
    this.#root = root;
    this.#id = id;
    this.#query = query;
    this.#change = change;
    void this.#load();
  }

  close() {
    this.#isOver = true;
    clearTimeout(this.#later);
    clearTimeout(this.#drawing);
    this.#unfollow();
    this.#chart?.close();
    this.#chart = undefined;
  }

  /** @param {URLSearchParams} query */
  update(query) {
    const isSame = ['range', 'to', 'metric'].every((name) => query.get(name) === this.#query.get(name));
    this.#query = query;
    if (!isSame) void this.#load();
  }

  get #range() {
    return ranges[/** @type {keyof typeof ranges} */ (this.#query.get('range') ?? '1h')] ?? ranges['1h'];
  }

  get #chosen() {
    const asked = this.#query.get('metric')?.split(',').filter(Boolean) ?? [];
    return asked.length > 0 ? asked : this.#metrics.slice(0, 4);
  }

  /** Where the range ends; `undefined` where that is now. */
  get #end() {
    const at = Date.parse(this.#query.get('to') ?? '');
    return Number.isNaN(at) ? undefined : at;
  }

  #selection() {
    const { seconds, interval } = this.#range;
    const end = this.#end;
    return {
      from: new Date((end ?? Date.now()) - seconds * 1000).toISOString(),
      ...(end !== undefined && { to: new Date(end).toISOString() }),
      metric: this.#chosen,
      ...(interval ? { interval, aggregate: 'avg', limit: 10_000 } : { order: 'desc', limit: mostPoints }),
    };
  }

  /** At once, and again when the live stream has begun: what came before it is in the second answer. */
  async #load() {
    this.#unfollow();
    this.#live = '';
    const isNow = this.#end === undefined;
    if (isNow && this.#range.interval !== undefined) {
      this.#unfollow = every(averagesEvery, () => this.#fetch());
      return;
    }
    await this.#fetch();
    if (isNow && !this.#isOver) this.#follow();
  }

  /** With `waitFor`, positions, what is read has everything up to there. */
  async #fetch(/** @type {string} */ waitFor = '') {
    this.#turn += 1;
    const turn = this.#turn;
    this.#arrived = [];
    try {
      const latest = await this.#get(`${devicePath(this.#id)}/telemetry/latest`, { waitFor });
      if (turn !== this.#turn) return;
      const arrived = this.#arrived.flatMap(({ metrics }) => Object.keys(metrics));
      this.#metrics = [...new Set([...latest.json.points.map(({ metric }) => metric), ...arrived])].sort();
      if (this.#metrics.length > 0) {
        const { json } = await this.#get(`${devicePath(this.#id)}/telemetry`, {
          ...this.#selection(),
          waitFor,
        });
        if (turn !== this.#turn) return;
        this.#isCut = json.next !== null;
        this.#points = new Points();
        for (const { timestamp, metric, value } of json.points?.reverse() ?? [])
          this.#points.add(metric, Date.parse(timestamp), value);
        for (const { start, metric, avg } of json.buckets ?? [])
          this.#points.add(metric, Date.parse(start), avg);
        // Which the answer may not have.
        for (const { timestamp, metrics } of this.#arrived ?? []) this.#add(timestamp, metrics);
      }
      const alarms = await get('/api/v1/alarms', { deviceId: this.#id, limit: 100 }).catch(() => undefined);
      if (turn !== this.#turn) return;
      this.#alarms = alarms?.json.alarms ?? [];
      this.#error = undefined;
    } catch (error) {
      if (turn !== this.#turn) return;
      this.#error = error;
    }
    this.#arrived = undefined;
    this.#isLoaded = true;
    this.#renderSoon();
  }

  /** Where the read model does not get there, what it has is shown, and it is asked again soon. */
  async #get(/** @type {string} */ path, /** @type {Record<string, any>} */ { waitFor, ...query }) {
    const awaited = waitFor.split(',').filter((one) => /:\d+:\d/.test(one));
    if (awaited.length === 0 || awaited.length > 100) return get(path, query);
    try {
      return await get(path, { ...query, waitFor: awaited });
    } catch (error) {
      if (!(error instanceof Problem && error.type === 'not-yet-projected')) throw error;
      clearTimeout(this.#later);
      this.#later = setTimeout(() => this.#fetch(waitFor), whenBehind);
      return get(path, query);
    }
  }

  #follow() {
    this.#unfollow = follow(this.#id, {
      onBegun: (position) => void this.#fetch(position),
      onEvent: ({ event, data }) => {
        if (event === 'reading') {
          this.#arrived?.push(data);
          this.#add(data.timestamp, data.metrics);
        } else void this.#load();
      },
      onState: (state) => {
        this.#live = state;
        this.#renderSoon();
      },
    });
  }

  /** @param {string} at @param {Record<string, any>} metrics */
  #add(at, metrics) {
    for (const [metric, value] of Object.entries(metrics)) {
      if (!this.#metrics.includes(metric)) this.#metrics = [...this.#metrics, metric].sort();
      this.#points.add(metric, Date.parse(at), value);
    }
    this.#renderSoon();
  }

  #renderSoon() {
    this.#drawing ??= setTimeout(
      () => {
        this.#drawing = undefined;
        if (!this.#isOver) this.#render();
      },
      this.#drawnAt + drawEvery - performance.now(),
    );
  }

  async #download() {
    try {
      const { text } = await call('GET', `${devicePath(this.#id)}/telemetry`, {
        query: { ...this.#selection(), ...(this.#range.interval ? {} : { order: 'asc' }) },
        accept: 'text/csv',
      });
      save(new Blob([text], { type: 'text/csv' }), `${this.#id}.csv`);
    } catch (error) {
      this.#error = error;
      this.#render();
    }
  }

  #render() {
    this.#drawnAt = performance.now();
    if (this.#end === undefined) this.#points.dropBefore(Date.now() - this.#range.seconds * 1000);
    const chosen = this.#chosen;
    const numeric = chosen.filter((metric) =>
      this.#points.get(metric).values.some((value) => typeof value !== 'string'),
    );
    render(
      html`<div class="head">
          <h2>Telemetry</h2>
          ${this.#live ? html`<span class="chip ${this.#live}">${this.#live === 'live' ? 'live' : 'connection lost, trying again'}</span>` : nothing}
        </div>
        ${faults(this.#error)}
        ${
          this.#isLoaded && this.#metrics.length === 0 && !this.#error
            ? html`<p class="empty">Nothing has been measured yet. <code>POST ${location.origin}/api/v1/telemetry</code> with
              <code>{"deviceId": "${this.#id}", "metrics": {"temperature": 21.5}}</code></p>`
            : html`${this.#controls(chosen)}
              <div class="chart" role="img" aria-label=${`${numeric.join(', ')} over time; the table below has the values`}></div>
              ${this.#isCut ? html`<p class="muted">Only the newest ${mostPoints} points are shown: choose a longer range for averages.</p>` : nothing}
              ${this.#table(chosen)}`
        }`,
      this.#root,
    );
    this.#draw(numeric);
  }

  /** @param {readonly string[]} metrics */
  #draw(metrics) {
    const root = /** @type {HTMLElement | null} */ (this.#root.querySelector('.chart'));
    if (!root) return;
    // The place is another one after there was nothing to show.
    if (this.#chart?.root !== root) {
      this.#chart?.close();
      this.#chart = new Chart(root);
    }
    const lines = metrics.map((metric) => {
      const { times, values } = this.#points.get(metric);
      return times
        .map((at, i) => ({ at: at / 1000, value: values[i] }))
        .filter(({ value }) => typeof value !== 'string' && value !== null)
        .map(({ at, value }) => ({ at, value: Number(value) }));
    });
    const bands = this.#alarms.map(({ raisedAt, clearedAt, ruleName }) => ({
      from: Date.parse(raisedAt) / 1000,
      to: clearedAt ? Date.parse(clearedAt) / 1000 : Date.now() / 1000,
      name: ruleName,
    }));
    this.#chart.show(metrics, lines, bands);
  }

  /** @param {readonly string[]} chosen */
  #controls(chosen) {
    const name = this.#query.get('range') ?? '1h';
    const toggled = (/** @type {string} */ metric) =>
      this.#metrics
        .filter((one) => (one === metric ? !chosen.includes(one) : chosen.includes(one)))
        .join(',');
    return html`<div class="filters">
      <label>Range <select @change=${(event) => this.#change({ range: event.target.value })}>
        ${Object.keys(ranges).map((one) => html`<option ?selected=${one === name}>${one}</option>`)}
      </select></label>
      <label>Until <input type="datetime-local" step="1" .value=${localTime(this.#end)}
        @change=${(event) => this.#change({ to: event.target.value ? new Date(event.target.value).toISOString() : '' })}></label>
      <fieldset><legend>Metrics</legend>
        ${this.#metrics.map(
          (metric) => html`<label class="choice"><input type="checkbox" .checked=${chosen.includes(metric)}
            @change=${() => this.#change({ metric: toggled(metric) })}> ${metric}</label>`,
        )}
      </fieldset>
      <button type="button" class="quiet" @click=${() => this.#download()}>CSV</button>
      <a class="quiet" href=${address('/docs')}>API</a>
    </div>`;
  }

  /** @param {readonly string[]} chosen */
  #table(chosen) {
    const rows = this.#points.newest(chosen, rowsShown);
    return html`<details>
      <summary>The newest ${rows.length} values shown</summary>
      <div class="scroll" tabindex="0" role="region" aria-label="Values">
        <table>
          <thead><tr><th scope="col">Time</th><th scope="col">Metric</th><th scope="col">Value</th></tr></thead>
          <tbody>${rows.map(({ at, metric, value }) => html`<tr><td>${time(new Date(at).toISOString())}</td><td>${metric}</td><td>${shown(value)}</td></tr>`)}</tbody>
        </table>
      </div>
    </details>`;
  }
}

/** As the browser's own field has it, in its own time zone; nothing for now. */
function localTime(/** @type {number | undefined} */ at) {
  if (at === undefined) return '';
  const offset = new Date(at).getTimezoneOffset() * 60_000;
  return new Date(at - offset).toISOString().slice(0, 19);
}
