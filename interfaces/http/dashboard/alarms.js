/** Alarms, which people acknowledge, and the rules that raise them. */
import { html, nothing, render } from '/dashboard/lit-html.js';
import { address, call, get, scopes } from './api.js';
import { ask, chip, every, faults, shown, time } from './elements.js';

const states = ['open', 'acknowledged', 'cleared'];
const kinds = ['range', 'rate', 'stuck', 'silent', 'novel'];

export class AlarmsPage {
  #root;
  #query;
  /** @type {readonly any[] | undefined} */
  #alarms;
  /** @type {string | null} */
  #next = null;
  /** @type {readonly any[]} */
  #rules = [];
  /** @type {unknown} */
  #error;
  /** @type {unknown} */
  #ruleError;
  /** @type {ReadonlySet<string>} */
  #may = new Set();
  #stop;

  /** @param {HTMLElement} root @param {URLSearchParams} query */
  constructor(root, query) {
    this.#root = root;
    this.#query = query;
    scopes().then(
      (known) => {
        this.#may = known;
        this.#render();
      },
      () => {},
    );
    this.#stop = every(5, () => this.#load());
  }

  close() {
    this.#stop();
  }

  /** @param {URLSearchParams} query */
  update(query) {
    this.#query = query;
    void this.#load();
  }

  async #load() {
    const asked = this.#query;
    const { state, deviceId, rule, cursor } = Object.fromEntries(asked);
    try {
      const { json } = await get('/api/v1/alarms', { state, deviceId, rule, cursor, limit: 50 });
      if (asked !== this.#query) return;
      this.#alarms = json.alarms;
      this.#next = json.next;
      this.#error = undefined;
    } catch (error) {
      this.#error = error;
    }
    // A key for a part of the fleet sees alarms and no rules.
    await get('/api/v1/rules').then(
      ({ json }) => {
        this.#rules = json.rules;
        this.#ruleError = undefined;
      },
      (error) => {
        this.#ruleError = error;
      },
    );
    this.#render();
  }

  async #acknowledge(/** @type {any} */ alarm) {
    await ask({
      title: 'Acknowledge the alarm',
      fields: html`<p>${alarm.ruleName}, ${alarm.deviceId}: ${alarm.explanation}</p>
        <label>Note <input name="note" maxlength="500"></label>`,
      submit: 'Acknowledge',
      act: ({ note }) =>
        call('POST', `/api/v1/alarms/${alarm.alarmId}/acknowledge`, { body: note ? { note } : {} }),
    });
    await this.#load();
  }

  async #create() {
    await ask({
      title: 'Create a rule',
      fields: html`<label>Name <input name="name" required maxlength="200"></label>
        <label>Kind <select name="kind">${kinds.map((kind) => html`<option>${kind}</option>`)}</select></label>
        <label>Metric <input name="metric" placeholder="every metric when left empty"></label>
        <label>Device type <input name="type" placeholder="every device when left empty"></label>
        <label>Above <input name="above" inputmode="decimal"></label>
        <label>Below <input name="below" inputmode="decimal"></label>
        <label>For <input name="for" placeholder="5m"></label>
        <label>Severity <select name="severity"><option>info</option><option selected>warning</option><option>critical</option></select></label>
        <p class="muted"><code>range</code> and <code>rate</code> take bounds, <code>stuck</code> and <code>silent</code> a time.
          Selection by labels and hysteresis: <code>fieldlog rules create --help</code>.</p>`,
      submit: 'Create',
      act: async (given) => {
        const { name, kind, metric, type, severity } = given;
        const bounds = ['above', 'below']
          .filter((one) => given[one] !== '')
          .map((one) => [one, Number(given[one])]);
        const body = {
          name,
          kind,
          severity,
          ...(metric && { metric }),
          ...(type && { selector: { type } }),
          ...Object.fromEntries(bounds),
          ...(given.for && { for: given.for }),
        };
        return call('POST', '/api/v1/rules', { body });
      },
    });
    await this.#load();
  }

  async #switch(/** @type {any} */ rule) {
    try {
      const action = rule.status === 'enabled' ? 'disable' : 'enable';
      await call('POST', `/api/v1/rules/${rule.ruleId}/${action}`, { body: {}, etag: `"${rule.revision}"` });
    } catch (error) {
      this.#ruleError = error;
      this.#render();
      return;
    }
    await this.#load();
  }

  #render() {
    const state = this.#query.get('state') ?? '';
    const choose = (/** @type {any} */ { target }) => {
      location.hash = address('/alarms', {
        ...Object.fromEntries(this.#query),
        cursor: '',
        state: target.value,
      });
    };
    render(
      html`<h1>Alarms</h1>
        <div class="filters">
          <label>State <select @change=${choose}>
            <option value="">any</option>
            ${states.map((one) => html`<option ?selected=${one === state}>${one}</option>`)}
          </select></label>
        </div>
        ${faults(this.#error)}
        ${
          this.#alarms === undefined
            ? this.#error
              ? nothing
              : html`<p class="muted">Loading …</p>`
            : this.#alarms.length === 0
              ? html`<p class="empty">No alarm ${state ? `is ${state}` : 'has been raised'}. Alarms come from the rules below, and from
                value novelty where <code>DETECTION=all</code>.</p>`
              : this.#table(this.#alarms)
        }
        <div class="head"><h2>Rules</h2>
          ${this.#may.has('devices:write') ? html`<button type="button" class="primary" @click=${() => this.#create()}>Create a rule</button>` : nothing}
        </div>
        ${faults(this.#ruleError)} ${this.#ruleTable()}`,
      this.#root,
    );
  }

  #table(/** @type {readonly any[]} */ alarms) {
    return html`<div class="scroll" tabindex="0" role="region" aria-label="Alarms">
        <table>
          <thead><tr><th scope="col">State</th><th scope="col">Severity</th><th scope="col">Device</th><th scope="col">Why</th><th scope="col">Raised</th><th scope="col">Cleared</th><td></td></tr></thead>
          <tbody>
            ${alarms.map(
              (alarm) => html`<tr>
                <td>${chip(alarm.state)}</td>
                <td>${chip(alarm.severity)}</td>
                <th scope="row"><a href=${`#/devices/${encodeURIComponent(alarm.deviceId)}`}>${alarm.deviceId}</a> <small>${alarm.metric ?? ''}</small></th>
                <td>${alarm.ruleName}<br><small>${alarm.explanation}</small>
                  ${alarm.acknowledgedBy ? html`<br><small>acknowledged by ${alarm.acknowledgedBy}${alarm.note ? `: ${alarm.note}` : ''}</small>` : nothing}</td>
                <td>${time(alarm.raisedAt)}</td>
                <td>${time(alarm.clearedAt)}</td>
                <td>${
                  alarm.state === 'open' && this.#may.has('devices:write')
                    ? html`<button type="button" class="quiet" @click=${() => this.#acknowledge(alarm)}>Acknowledge</button>`
                    : nothing
                }</td>
              </tr>`,
            )}
          </tbody>
        </table>
      </div>
      ${
        this.#next
          ? html`<p class="pages"><a href=${`#${address('/alarms', { ...Object.fromEntries(this.#query), cursor: this.#next })}`}>Older</a></p>`
          : nothing
      }`;
  }

  #ruleTable() {
    if (this.#rules.length === 0)
      return this.#ruleError ? nothing : html`<p class="empty">No rule yet: nothing is watched.</p>`;
    return html`<div class="scroll" tabindex="0" role="region" aria-label="Rules">
      <table>
        <thead><tr><th scope="col">Rule</th><th scope="col">State</th><th scope="col">Severity</th><th scope="col">What</th><th scope="col">Counts since</th><td></td></tr></thead>
        <tbody>
          ${this.#rules.map((rule) => {
            const { ruleId, name, status, severity, since, kind, selector, metric } = rule;
            const bounds = ['above', 'below', 'for', 'count', 'sensitivity'].filter(
              (one) => rule[one] !== undefined,
            );
            return html`<tr>
              <th scope="row"><a href=${`#${address('/alarms', { rule: ruleId })}`}>${name}</a></th>
              <td>${chip(status)}</td>
              <td>${chip(severity)}</td>
              <td>${kind} of ${metric ?? 'every metric'}${bounds.map((one) => `, ${one} ${rule[one]}`)}
                ${Object.keys(selector).length > 0 ? html`<br><small>${shown(selector)}</small>` : nothing}</td>
              <td>${time(since)}</td>
              <td>${
                this.#may.has('devices:write')
                  ? html`<button type="button" class="quiet" @click=${() => this.#switch(rule)}>${status === 'enabled' ? 'Disable' : 'Enable'}</button>`
                  : nothing
              }</td>
            </tr>`;
          })}
        </tbody>
      </table>
    </div>`;
  }
}
