/** Alarms, which people acknowledge and silence, and the rules that raise them. */
import { html, nothing, render } from '/dashboard/lit-html.js';
import { call, get, scopes } from './api.js';
import { ask, chip, faults, time } from './elements.js';
import { hookSection, loadHooks } from './hooks.js';
import { Page } from './page.js';
import { loadRules, ruleSection } from './rules.js';
import { table } from './table.js';
import { address } from './transport.js';

const states = ['open', 'acknowledged', 'cleared'];
/** @type {import('./table.js').Column[]} */
const columns = [
  { name: 'State', is: 'state' },
  { name: 'Severity' },
  { name: 'Device', is: 'title' },
  { name: 'Why', is: 'values' },
  { name: 'Raised' },
  { name: 'Cleared' },
  { name: '', is: 'buttons' },
];

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
      loadRules(),
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

  async #act(/** @type {() => Promise<unknown>} */ action) {
    try {
      await action();
      await this.reload();
    } catch (error) {
      this.fail(error);
    }
  }

  render() {
    const state = this.query.get('state') ?? '';
    const { alarms } = this.data ?? {};
    const acting = (/** @type {() => Promise<unknown>} */ action) => () => this.#act(action);
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
        ${this.data ? ruleSection(this.data, this.may, acting) : nothing}
        ${this.data?.hooks ? hookSection(this.data, acting) : nothing}`,
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
    const rows = alarms.map((alarm) => [
      chip(alarm.state),
      chip(alarm.severity),
      html`<a href=${`#/devices/${encodeURIComponent(alarm.deviceId)}`}>${alarm.deviceId}</a> <small>${alarm.metric ?? ''}</small>`,
      html`${alarm.ruleName}<br><small>${alarm.explanation}</small>
        ${alarm.acknowledgedBy ? html`<br><small>acknowledged by ${alarm.acknowledgedBy}${alarm.note ? `: ${alarm.note}` : ''}</small>` : nothing}
        ${Date.parse(alarm.silencedUntil) > Date.now() ? html`<br><small>silenced by ${alarm.silencedBy} until ${time(alarm.silencedUntil)}</small>` : nothing}`,
      time(alarm.raisedAt),
      html`${time(alarm.clearedAt)}${alarm.clearedBy ? html`<br><small>${alarm.clearedBy}</small>` : nothing}`,
      this.#actions(alarm),
    ]);
    return html`${table('Alarms', columns, rows)}
      ${
        next
          ? html`<p class="pages"><a href=${`#${address('/alarms', { ...Object.fromEntries(this.query), cursor: next })}`}>Older</a></p>`
          : nothing
      }`;
  }
}
