/** Alarms, which people acknowledge and silence, and the rules that raise them. */
import { html, nothing, render } from '/dashboard/lit-html.js';
import { call, get, post, scopes } from './api.js';
import { ask, chip, faults, shown, time } from './elements.js';
import { hookSection, loadHooks } from './hooks.js';
import { Page } from './page.js';
import { address } from './transport.js';

const states = ['open', 'acknowledged', 'cleared'];
const kinds = ['range', 'rate', 'stuck', 'silent', 'novel'];

export class AlarmsPage extends Page {
  /** @param {HTMLElement} root @param {URLSearchParams} query */
  constructor(root, query) {
    super(root, query, 5);
  }

  async load(/** @type {URLSearchParams} */ query) {
    const { state, deviceId, rule, cursor } = Object.fromEntries(query);
    const known = await scopes().catch(() => new Set());
    const [{ json }, rules, hooks] = await Promise.all([
      get('/api/v1/alarms', { state, deviceId, rule, cursor, limit: 50 }),
      // A key for a part of the fleet sees alarms and no rules.
      get('/api/v1/rules').then(
        ({ json }) => ({ rules: json.rules, ruleError: undefined }),
        (ruleError) => ({ rules: [], ruleError }),
      ),
      known.has('operate')
        ? loadHooks().then(
            (hooks) => ({ hooks, hookError: undefined }),
            (hookError) => ({ hooks: [], hookError }),
          )
        : undefined,
    ]);
    return { alarms: json.alarms, next: json.next, ...rules, ...hooks };
  }

  /** @param {any} alarm @param {'Acknowledge' | 'Clear'} what */
  async #noted(alarm, what) {
    await ask({
      title: `${what} the alarm`,
      fields: html`<p>${alarm.ruleName}, ${alarm.deviceId}: ${alarm.explanation}</p>
        ${what === 'Clear' ? html`<p class="muted">Its rule counts anew: what still holds raises another alarm.</p>` : nothing}
        <label>Note <input name="note" maxlength="500" placeholder=${what === 'Clear' ? 'Sensor replaced' : 'On my way'}></label>`,
      submit: what,
      act: ({ note }) =>
        call('POST', `/api/v1/alarms/${alarm.alarmId}/${what.toLowerCase()}`, { body: note ? { note } : {} }),
    });
    await this.reload();
  }

  async #silence(/** @type {any} */ alarm) {
    await ask({
      title: 'Silence the alarm',
      fields: html`<p>Hooks are sent nothing new of ${alarm.ruleName}, ${alarm.deviceId} ${alarm.metric ?? ''}.</p>
        <label>For <select name="hours"><option value="1">1 hour</option><option value="8">8 hours</option>
          <option value="24">1 day</option><option value="168">7 days</option><option value="0">no longer</option></select></label>
        <label>Note <input name="note" maxlength="500"></label>`,
      submit: 'Silence',
      act: ({ hours, note }) => {
        const until = new Date(Date.now() + 3_600_000 * Number(hours)).toISOString();
        const body = { until, ...(note && { note }) };
        return call('POST', `/api/v1/alarms/${alarm.alarmId}/silence`, { body });
      },
    });
    await this.reload();
  }

  async #create() {
    // As they are now: one made a moment ago may not have been loaded yet.
    const hooks = this.may.has('operate') ? (await get('/api/v1/hooks')).json.hooks : [];
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
        ${
          hooks.length > 0
            ? html`<label>Hook <select name="hook"><option value="">none</option>${hooks.map((/** @type {any} */ hook) => html`<option value=${hook.hookId}>${hook.url}</option>`)}</select></label>`
            : nothing
        }
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
          ...(given.hook && { notify: [given.hook] }),
        };
        return call('POST', '/api/v1/rules', { body });
      },
    });
  }

  async #act(/** @type {() => Promise<unknown>} */ action) {
    try {
      await action();
      await this.reload();
    } catch (error) {
      this.fail(error);
    }
  }

  #switch(/** @type {any} */ rule) {
    const action = rule.status === 'enabled' ? 'disable' : 'enable';
    return this.#act(() => post(`/api/v1/rules/${rule.ruleId}/${action}`, {}, `"${rule.revision}"`));
  }

  render() {
    const state = this.query.get('state') ?? '';
    const { alarms, ruleError } = this.data ?? {};
    const choose = (/** @type {any} */ { target }) => {
      location.hash = address('/alarms', {
        ...Object.fromEntries(this.query),
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
        ${this.#narrowed()} ${faults(this.error)}
        ${
          alarms === undefined
            ? this.error
              ? nothing
              : html`<p class="muted">Loading …</p>`
            : alarms.length === 0
              ? html`<p class="empty">No alarm ${state ? `is ${state}` : 'has been raised'}. Alarms come from the rules below, and from
                value novelty where <code>DETECTION=all</code>.</p>`
              : this.#table()
        }
        <div class="head"><h2>Rules</h2>
          ${this.may.has('devices:write') ? html`<button type="button" class="primary" @click=${() => this.#act(() => this.#create())}>Create a rule</button>` : nothing}
        </div>
        ${faults(ruleError)} ${this.data ? this.#ruleTable() : nothing}
        ${this.data?.hooks ? hookSection(this.data, (action) => () => this.#act(action)) : nothing}`,
      this.root,
    );
  }

  #actions(/** @type {any} */ alarm) {
    if (alarm.state === 'cleared' || !this.may.has('devices:write')) return nothing;
    const button = (/** @type {'Acknowledge' | 'Clear'} */ what) =>
      html`<button type="button" class="quiet" @click=${() => this.#noted(alarm, what)}>${what}</button>`;
    return html`${alarm.state === 'open' ? button('Acknowledge') : nothing} ${button('Clear')}
      <button type="button" class="quiet" @click=${() => this.#silence(alarm)}>Silence</button>`;
  }

  /** Whose alarms are shown, where they are not those of everything. */
  #narrowed() {
    const { rule, deviceId } = Object.fromEntries(this.query);
    if (!rule && !deviceId) return nothing;
    const named = this.data?.rules.find(({ ruleId }) => ruleId === rule)?.name ?? rule;
    const whose = [rule && `the rule ${named}`, deviceId && `the device ${deviceId}`].filter(Boolean);
    const others = address('/alarms', { state: this.query.get('state') ?? '' });
    return html`<p class="past">Alarms of ${whose.join(' and ')}. <a href=${`#${others}`}>Show all</a></p>`;
  }

  #table() {
    const { alarms, next } = this.data;
    return html`<div class="scroll" tabindex="0" role="region" aria-label="Alarms">
        <table>
          <thead><tr><th scope="col">State</th><th scope="col">Severity</th><th scope="col">Device</th><th scope="col">Why</th><th scope="col">Raised</th><th scope="col">Cleared</th><td></td></tr></thead>
          <tbody>
            ${alarms.map(
              (alarm) => html`<tr>
                <td>${chip(alarm.state)}</td>
                <td>${chip(alarm.severity)}</td>
                <th scope="row"><a href=${`#/devices/${encodeURIComponent(alarm.deviceId)}`}>${alarm.deviceId}</a> <small>${alarm.metric ?? ''}</small></th>
                <td class="values">${alarm.ruleName}<br><small>${alarm.explanation}</small>
                  ${alarm.acknowledgedBy ? html`<br><small>acknowledged by ${alarm.acknowledgedBy}${alarm.note ? `: ${alarm.note}` : ''}</small>` : nothing}
                  ${Date.parse(alarm.silencedUntil) > Date.now() ? html`<br><small>silenced by ${alarm.silencedBy} until ${time(alarm.silencedUntil)}</small>` : nothing}</td>
                <td>${time(alarm.raisedAt)}</td>
                <td>${time(alarm.clearedAt)}${alarm.clearedBy ? html`<br><small>${alarm.clearedBy}</small>` : nothing}</td>
                <td class="buttons">${this.#actions(alarm)}</td>
              </tr>`,
            )}
          </tbody>
        </table>
      </div>
      ${
        next
          ? html`<p class="pages"><a href=${`#${address('/alarms', { ...Object.fromEntries(this.query), cursor: next })}`}>Older</a></p>`
          : nothing
      }`;
  }

  #ruleTable() {
    const { rules, ruleError } = this.data;
    if (rules.length === 0)
      return ruleError ? nothing : html`<p class="empty">No rule yet: nothing is watched.</p>`;
    return html`<div class="scroll" tabindex="0" role="region" aria-label="Rules">
      <table>
        <thead><tr><th scope="col">Rule</th><th scope="col">State</th><th scope="col">Severity</th><th scope="col">What</th><th scope="col">Counts since</th><td></td></tr></thead>
        <tbody>
          ${rules.map((rule) => {
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
              <td class="buttons">${
                this.may.has('devices:write')
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
