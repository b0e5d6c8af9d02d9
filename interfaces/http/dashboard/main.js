/** The shell: pages by address, the key, and how fresh the page is. */
import { html, render } from '/dashboard/lit-html.js';
import { AlarmsPage } from './alarms.js';
import { apiKey, events, forgetScopes, freshness } from './api.js';
import { DevicePage } from './device.js';
import { ask, faults, number } from './elements.js';
import { FleetPage } from './fleet.js';
import { ImportPage } from './import.js';
import { OperationsPage } from './operations.js';

/** Everything there is to see of a page is in its address. */
const pages = [
  { path: /^\/devices$/, page: FleetPage, title: 'Fleet', nav: '#/devices' },
  { path: /^\/devices\/(.+)$/, page: DevicePage, title: 'Device', nav: '#/devices' },
  { path: /^\/import$/, page: ImportPage, title: 'Import', nav: '#/import' },
  { path: /^\/alarms$/, page: AlarmsPage, title: 'Alarms', nav: '#/alarms' },
  { path: /^\/operations$/, page: OperationsPage, title: 'Operations', nav: '#/operations' },
];

const content = /** @type {HTMLElement} */ (document.getElementById('content'));
const keyButton = /** @type {HTMLButtonElement} */ (document.getElementById('key'));
/** @type {{ path: string, page: import('./page.js').Page<any> } | undefined} */
let current;

function open() {
  const [path = '', query = ''] = location.hash.slice(1).split('?');
  const parameters = new URLSearchParams(query);
  if (current?.path === path) return current.page.update(parameters);
  const found = pages.find((one) => one.path.test(path));
  if (!found) return location.replace('#/devices');
  current?.page.close();
  current = undefined;
  render(html``, content);
  const [, id] = found.path.exec(path) ?? [];
  document.title = `${id ? decodeURIComponent(id) : found.title} · Fieldlog`;
  for (const link of document.querySelectorAll('nav a'))
    if (link.getAttribute('href') === found.nav) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  try {
    const page = new found.page(content, parameters, id === undefined ? '' : decodeURIComponent(id));
    current = { path, page };
    page.open();
  } catch (error) {
    render(faults(error), content);
  }
}

function again() {
  current?.page.close();
  current = undefined;
  forgetScopes();
  open();
}

let isAsking = false;
async function askForKey() {
  if (isAsking) return;
  isAsking = true;
  const given = await ask({
    title: 'API key',
    fields: html`<p>This server asks for a key. It is kept until the browser is closed.</p>
      <label>Key <input name="key" type="password" autocomplete="off" required></label>
      <p class="muted">Operators make one with <code>fieldlog keys create</code>.</p>`,
    submit: 'Use this key',
    act: async ({ key }) => key,
  });
  isAsking = false;
  if (!given) return;
  apiKey.set(given);
  again();
}

events.addEventListener('unidentified', () => {
  keyButton.hidden = false;
  void askForKey();
});
events.addEventListener('answered', () => {
  const shown = document.getElementById('freshness');
  if (!shown || !freshness) return;
  const behind = freshness.lag === 0 ? 'nothing behind' : `${number(freshness.lag ?? 0)} events behind`;
  shown.textContent = `as of ${freshness.at.toLocaleTimeString()}, ${behind}`;
  shown.classList.toggle('late', (freshness.lag ?? 0) > 1000);
});
keyButton.hidden = apiKey.get() === null;
keyButton.addEventListener('click', () => {
  apiKey.forget();
  forgetScopes();
  void askForKey();
});
window.addEventListener('hashchange', open);
open();
