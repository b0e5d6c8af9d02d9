/** Where alarms are posted to, and what could not be delivered. */
import { html, nothing } from '/dashboard/lit-html.js';
import { get, post } from './api.js';
import { ask, chip, counted, faults, tell, time } from './elements.js';
import { table } from './table.js';

const failedShown = 20;
/** @type {import('./table.js').Column[]} */
const columns = [
  { name: 'Hook', is: 'title' },
  { name: 'State', is: 'state' },
  { name: 'Not delivered' },
  { name: 'Changed' },
  { name: '', is: 'buttons' },
];
const path = (/** @type {any} */ { hookId }, /** @type {string} */ action) =>
  `/api/v1/hooks/${encodeURIComponent(hookId)}/${action}`;

/** @typedef {{ hook: any, failed: readonly any[] }} HookState */

/** Every hook with the oldest of its failed deliveries. */
export async function loadHooks() {
  const { hooks } = (await get('/api/v1/hooks')).json;
  return Promise.all(
    hooks.map(async (hook) => {
      const { json } = await get(path(hook, 'deliveries'), { state: 'failed', limit: failedShown });
      return { hook, failed: json.deliveries };
    }),
  );
}

async function create() {
  const hook = await ask({
    title: 'Create a hook',
    fields: html`<label>Address <input name="url" type="url" required maxlength="2000" placeholder="https://hooks.example/alarms"></label>
      <p class="muted">Rules that name it in <code>notify</code> post their alarms there.</p>`,
    submit: 'Create',
    act: async ({ url }) => (await post('/api/v1/hooks', { url })).json,
  });
  if (hook)
    await tell(
      'The secret of the hook',
      html`<p>Keep it now: it is not shown again. Requests are signed with it.</p>
        <p><code class="secret">${hook.secret}</code></p><p>Id <code>${hook.hookId}</code></p>`,
    );
}

async function test(/** @type {any} */ hook) {
  const { delivered, status, error } = (await post(path(hook, 'test'))).json;
  await tell(
    'Test of the hook',
    html`<p>${delivered ? `Delivered: the receiver answered ${status}.` : `Not delivered: ${error}`}</p>`,
  );
}

const remove = (/** @type {any} */ hook) =>
  ask({
    title: 'Remove the hook',
    fields: html`<p>${hook.url}, with what was not delivered to it.</p>`,
    submit: 'Remove for good',
    isDangerous: true,
    act: () => post(path(hook, 'remove'), {}, `"${hook.revision}"`),
  });

/**
 * @param {{ hooks: readonly HookState[], hookError: unknown }} loaded
 * @param {(action: () => Promise<unknown>) => () => Promise<void>} acting reloads the page after the action
 */
export function hookSection({ hooks, hookError }, acting) {
  return html`<div class="head"><h2>Hooks</h2>
      <button type="button" class="primary" @click=${acting(create)}>Create a hook</button></div>
    ${faults(hookError)}
    ${
      hooks.length === 0
        ? hookError
          ? nothing
          : html`<p class="empty">No hook yet: alarms are posted nowhere.</p>`
        : table(
            'Hooks',
            columns,
            hooks.map((one) => row(one, acting)),
          )
    }`;
}

/** @param {HookState} state @param {(action: () => Promise<unknown>) => () => Promise<void>} acting */
function row({ hook, failed }, acting) {
  const action = hook.status === 'enabled' ? 'disable' : 'enable';
  const [first] = failed;
  return [
    html`${hook.url} <small>${hook.hookId}</small>`,
    chip(hook.status),
    first
      ? html`${failed.length === failedShown ? 'at least ' : ''}${counted(failed.length, 'alarm')}<br>
        <small>since ${time(first.createdAt)}: ${first.error}</small>`
      : 'none failed',
    time(hook.changedAt),
    html`${first ? html`<button type="button" class="quiet" @click=${acting(() => post(path(hook, 'deliveries/retry')))}>Retry</button>` : nothing}
      <button type="button" class="quiet" @click=${acting(() => test(hook))}>Test</button>
      <button type="button" class="quiet" @click=${acting(() => post(path(hook, action), {}, `"${hook.revision}"`))}>
        ${action === 'disable' ? 'Disable' : 'Enable'}</button>
      <button type="button" class="danger" @click=${acting(() => remove(hook))}>Remove</button>`,
  ];
}
