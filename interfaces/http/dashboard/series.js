/** What was measured by one device: the chart, the table of what it shows, the same as CSV, and the live tail. */
import { html, nothing, render } from '/dashboard/lit-html.js';
import { access, call, get } from './api.js';
import { Chart } from './chart.js';
import { counted, every, faults, save, shown, time } from './elements.js';
import { noReading } from './first-steps.js';
import { follow } from './live.js';
import { Measured } from './measured.js';
import { address, devicePath } from './transport.js';

/** By name: seconds shown, and the averages where points would be too many. */
const ranges = {
  '15m': { seconds: 900, interval: undefined },
  '1h': { seconds: 3600, interval: undefined },
  '6h': { seconds: 21_600, interval: { name: '1m', seconds: 60 } },
  '1d': { seconds: 86_400, interval: { name: '5m', seconds: 300 } },
  '7d': { seconds: 604_800, interval: { name: '1h', seconds: 3600 } },
  '30d': { seconds: 2_592_000, interval: { name: '6h', seconds: 21_600 } },
  '1y': { seconds: 31_536_000, interval: { name: '1d', seconds: 86_400 } },
};
/** The shortest range that holds so many seconds, or the longest there is. */
export const rangeOf = (/** @type {number} */ seconds) =>
  Object.keys(ranges).find((name) => ranges[name].seconds >= seconds) ?? '1y';

const rowsShown = 100;
const rowsInFile = 1_000_000;
/** Milliseconds from one drawing to the next: a device may send more often than anybody can look. */
const drawEvery = 250;
const alarmsEverySeconds = 5;

export class Series {
  #root;
  #id;
  #query;
  #change;
  #measured;
  #stopAlarms;
  /** @type {Chart | undefined} */
  #chart;
  /** Why the file could not be made. @type {unknown} */
  #error;
  #isOver = false;
  /** @type {import('./first-steps.js').Mqtt} */
  #mqtt = null;
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
    this.#measured = new Measured(id, { get, follow, changed: () => this.#renderSoon() });
    this.#stopAlarms = every(alarmsEverySeconds, () => this.#measured.loadAlarms());
    this.#select();
    access().then(
      ({ mqtt }) => {
        this.#mqtt = mqtt;
        this.#renderSoon();
      },
      () => {},
    );
  }

  close() {
    this.#isOver = true;
    clearTimeout(this.#drawing);
    this.#stopAlarms();
    this.#measured.close();
    this.#chart?.close();
    this.#chart = undefined;
  }

  /** @param {URLSearchParams} query */
  update(query) {
    const isSame = ['range', 'to', 'metric'].every((name) => query.get(name) === this.#query.get(name));
    this.#query = query;
    if (!isSame) this.#select();
  }

  #select() {
    this.#chart?.reset();
    const metrics = this.#query.get('metric')?.split(',').filter(Boolean) ?? [];
    void this.#measured.select({ ...this.#range, end: this.#end, metrics });
  }

  get #range() {
    return ranges[/** @type {keyof typeof ranges} */ (this.#query.get('range') ?? '1h')] ?? ranges['1h'];
  }

  /** Where the range ends; `undefined` where that is now. */
  get #end() {
    const at = Date.parse(this.#query.get('to') ?? '');
    return Number.isNaN(at) ? undefined : at;
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
        query: { ...this.#measured.query(), limit: rowsInFile },
        accept: 'text/csv',
      });
      this.#error = undefined;
      save(new Blob([text], { type: 'text/csv' }), `${this.#id}.csv`);
    } catch (error) {
      this.#error = error;
      this.#render();
    }
  }

  #render() {
    this.#drawnAt = performance.now();
    const measured = this.#measured;
    measured.trim();
    const { chosen, live, metrics, error, isCut, mostPoints } = measured;
    if (!measured.isLoaded) return render(html`<h2>Telemetry</h2><p class="muted">Loading …</p>`, this.#root);
    const numeric = chosen.filter((metric) =>
      measured.points.get(metric).values.some((value) => typeof value !== 'string'),
    );
    render(
      html`<div class="head">
          <h2>Telemetry</h2>
          ${live ? html`<span class="chip ${live}">${live === 'live' ? 'live' : 'connection lost, trying again'}</span>` : nothing}
        </div>
        ${faults(error)} ${faults(this.#error)}
        ${
          metrics.length === 0 && !error
            ? noReading(this.#id, this.#mqtt)
            : html`${this.#controls(chosen)}
              <div class="chart" role="img" aria-label=${`${numeric.join(', ')} over time; the table below has the values`}></div>
              ${isCut ? html`<p class="muted">Only the newest ${mostPoints} points are shown: choose a longer range for averages.</p>` : nothing}
              ${this.#hints()} ${this.#table(chosen)}`
        }`,
      this.#root,
    );
    this.#draw(numeric);
  }

  /** How lines are looked at, and what the bands behind them are. */
  #hints() {
    const { alarms } = this.#measured;
    const open = alarms.filter(({ clearedAt }) => clearedAt === null).length;
    const all = address('/alarms', { deviceId: this.#id });
    return html`<p class="muted">Drag over a line to look closer; a double click shows all again.
      ${
        alarms.length > 0
          ? html`Bands are <a href=${`#${all}`}>${counted(alarms.length, 'alarm')}</a> of this device, ${open} of them open.`
          : nothing
      }</p>`;
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
    const { points, alarms } = this.#measured;
    const lines = metrics.map((metric) => {
      const { times, values } = points.get(metric);
      return times
        .map((at, i) => ({ at: at / 1000, value: values[i] }))
        .filter(({ value }) => typeof value !== 'string' && value !== null)
        .map(({ at, value }) => ({ at, value: Number(value) }));
    });
    const { from, to } = this.#measured.range;
    const bands = alarms.map(({ raisedAt, clearedAt, metric }) => ({
      from: Date.parse(raisedAt) / 1000,
      to: (clearedAt ? Date.parse(clearedAt) : to) / 1000,
      metric,
    }));
    const areStates = metrics.map((metric) => {
      const { values } = points.get(metric);
      return values.length > 0 && values.every((value) => typeof value === 'boolean');
    });
    this.#chart.show({ names: metrics, lines, areStates, bands, from: from / 1000, to: to / 1000 });
  }

  /** @param {readonly string[]} chosen */
  #controls(chosen) {
    const name = this.#query.get('range') ?? '1h';
    const toggled = (/** @type {string} */ metric) => {
      // Not as they were when this was drawn: somebody may be faster than that.
      const { chosen, metrics } = this.#measured;
      return metrics
        .filter((one) => (one === metric ? !chosen.includes(one) : chosen.includes(one)))
        .join(',');
    };
    return html`<div class="filters">
      <label>Range <select @change=${(event) => this.#change({ range: event.target.value })}>
        ${Object.keys(ranges).map((one) => html`<option ?selected=${one === name}>${one}</option>`)}
      </select></label>
      <label>Until <input type="datetime-local" step="1" .value=${localTime(this.#end)}
        @change=${(event) => this.#change({ to: event.target.value ? new Date(event.target.value).toISOString() : '' })}></label>
      <fieldset><legend>Metrics</legend>
        ${this.#measured.metrics.map(
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
    const rows = this.#measured.points.newest(chosen, rowsShown);
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
