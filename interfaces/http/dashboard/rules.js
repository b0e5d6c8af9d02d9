/** The rules that raise alarms: what they say, what they would have said, and whether they are at work. */
import { html, nothing } from '/dashboard/lit-html.js';
import { call, get, post } from './api.js';
import { ask, chip, counted, faults, number, shown, time } from './elements.js';
import { noRule } from './first-steps.js';
import { table } from './table.js';
import { address } from './transport.js';

const kinds = ['range', 'rate', 'stuck', 'silent', 'novel'];
const severities = ['info', 'warning', 'critical'];
const previewedDays = 7;
const changesListed = 5;
/** @type {import('./table.js').Column[]} */
const columns = [
  { name: 'Rule', is: 'title' },
  { name: 'State', is: 'state' },
  { name: 'Severity' },
  { name: 'What' },
  { name: 'Counts since' },
  { name: '', is: 'buttons' },
];

const path = (/** @type {any} */ { ruleId }, /** @type {string} */ action) =>
  `/api/v1/rules/${encodeURIComponent(ruleId)}/${action}`;

/** Those there are; a key for a part of the fleet sees alarms and no rules. */
export const loadRules = () =>
  get('/api/v1/rules').then(
    ({ json }) => ({ rules: json.rules, ruleError: undefined }),
    (ruleError) => ({ rules: [], ruleError }),
  );

/** The rule of a form, as the API takes it. */
function ruleOf(/** @type {Record<string, string>} */ given) {
  const { name, kind, metric, type, severity } = given;
  const bounds = ['above', 'below']
    .filter((one) => given[one] !== '')
    .map((one) => [one, Number(given[one])]);
  return {
    name,
    kind,
    severity,
    ...(metric && { metric }),
    ...(type && { selector: { type } }),
    ...Object.fromEntries(bounds),
    ...(given.for && { for: given.for }),
    ...(given.hook && { notify: [given.hook] }),
  };
}

/** What it would have raised lately. */
async function preview(/** @type {Record<string, string>} */ given) {
  const to = Date.now();
  const from = to - previewedDays * 86_400_000;
  const body = { rule: ruleOf(given), from: new Date(from).toISOString(), to: new Date(to).toISOString() };
  const { points, devices, raised, changes } = (await post('/api/v1/rules/preview', body)).json;
  const first = changes.filter(({ change }) => change === 'raised').slice(0, changesListed);
  return html`<p>${counted(raised, 'alarm')} in the last ${previewedDays} days, of ${counted(points, 'value')} of ${counted(devices, 'device')}.</p>
    ${first.map(
      ({ deviceId, at, explanation }) => html`<p><small>${deviceId}, ${time(at)}: ${explanation}</small></p>`,
    )}
    ${raised > first.length && first.length > 0 ? html`<p><small>and ${number(raised - first.length)} more</small></p>` : nothing}`;
}

async function create(/** @type {ReadonlySet<string>} */ may) {
  // As they are now: one made a moment ago may not have been loaded yet.
  const hooks = may.has('operate') ? (await get('/api/v1/hooks')).json.hooks : [];
  await ask({
    title: 'Create a rule',
    fields: html`<label>Name <input name="name" required maxlength="200"></label>
      <label>Kind <select name="kind">${kinds.map((kind) => html`<option>${kind}</option>`)}</select></label>
      <label>Metric <input name="metric" placeholder="every metric when left empty"></label>
      <label>Device type <input name="type" placeholder="every device when left empty"></label>
      <label>Above <input name="above" inputmode="decimal"></label>
      <label>Below <input name="below" inputmode="decimal"></label>
      <label>For <input name="for" placeholder="5m"></label>
      <label>Severity <select name="severity">${severities.map((one) => html`<option ?selected=${one === 'warning'}>${one}</option>`)}</select></label>
      ${
        hooks.length > 0
          ? html`<label>Hook <select name="hook"><option value="">none</option>${hooks.map((/** @type {any} */ hook) => html`<option value=${hook.hookId}>${hook.url}</option>`)}</select></label>`
          : nothing
      }
      <p class="muted"><code>range</code> and <code>rate</code> take bounds, <code>stuck</code> and <code>silent</code> a time.
        Selection by labels and hysteresis: <code>fieldlog rules create --help</code>.</p>`,
    submit: 'Create',
    act: (given) => call('POST', '/api/v1/rules', { body: ruleOf(given) }),
    ...(may.has('telemetry:read') && { look: { submit: 'Preview', act: preview } }),
  });
}

const remove = (/** @type {any} */ rule) =>
  ask({
    title: 'Remove the rule',
    fields: html`<p>${rule.name}. Its open alarms are cleared, and it cannot be made again under its id.</p>`,
    submit: 'Remove for good',
    isDangerous: true,
    act: () => post(path(rule, 'remove'), {}, `"${rule.revision}"`),
  });

/**
 * @param {{ rules: readonly any[], ruleError: unknown }} loaded
 * @param {ReadonlySet<string>} may the scopes of the key
 * @param {(action: () => Promise<unknown>) => () => Promise<void>} acting reloads the page after the action
 */
export function ruleSection({ rules, ruleError }, may, acting) {
  return html`<div class="head"><h2>Rules</h2>
      ${may.has('devices:write') ? html`<button type="button" class="primary" @click=${acting(() => create(may))}>Create a rule</button>` : nothing}
    </div>
    ${faults(ruleError)}
    ${
      rules.length > 0
        ? table(
            'Rules',
            columns,
            rules.map((rule) => row(rule, may, acting)),
          )
        : ruleError
          ? nothing
          : noRule()
    }`;
}

/** @param {any} rule @param {ReadonlySet<string>} may @param {(action: () => Promise<unknown>) => () => Promise<void>} acting */
function row(rule, may, acting) {
  const { ruleId, name, status, severity, since, kind, selector, metric } = rule;
  const action = status === 'enabled' ? 'disable' : 'enable';
  const bounds = ['above', 'below', 'for', 'count', 'sensitivity'].filter((one) => rule[one] !== undefined);
  return [
    html`<a href=${`#${address('/alarms', { rule: ruleId })}`}>${name}</a>`,
    chip(status),
    chip(severity),
    html`${kind} of ${metric ?? 'every metric'}${bounds.map((one) => `, ${one} ${rule[one]}`)}
      ${Object.keys(selector).length > 0 ? html`<br><small>${shown(selector)}</small>` : nothing}`,
    time(since),
    may.has('devices:write')
      ? html`<button type="button" class="quiet" @click=${acting(() => post(path(rule, action), {}, `"${rule.revision}"`))}>
          ${action === 'disable' ? 'Disable' : 'Enable'}</button>
        <button type="button" class="danger" @click=${acting(() => remove(rule))}>Remove</button>`
      : nothing,
  ];
}
