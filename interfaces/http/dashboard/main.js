/** The shell: pages by address, the key, and how fresh the page is. */
import { html, render } from '/dashboard/lit-html.js';
import { apiKey, events, forgetRead, forgetScopes, freshness, keyOfOtherTab } from './api.js';
import { ask, counted, faults } from './elements.js';

/** Everything there is to see of a page is in its address. Its code is loaded when it is opened. */
const pages = [
  {
    path: /^\/devices$/,
    load: async () => (await import('./fleet.js')).FleetPage,
    title: 'Fleet',
    nav: '#/devices',
  },
  {
    path: /^\/devices\/(.+)$/,
    load: async () => (await import('./device.js')).DevicePage,
    title: 'Device',
    nav: '#/devices',
  },
  {
    path: /^\/import$/,
    load: async () => (await import('./import.js')).ImportPage,
    title: 'Import',
    nav: '#/import',
  },
  {
    path: /^\/alarms$/,
    load: async () => (await import('./alarms.js')).AlarmsPage,
    title: 'Alarms',
    nav: '#/alarms',
  },
  {
    path: /^\/operations$/,
    load: async () => (await import('./operations.js')).OperationsPage,
    title: 'Operations',
    nav: '#/operations',
  },
];

const content = /** @type {HTMLElement} */ (document.getElementById('content'));
const keyButton = /** @type {HTMLButtonElement} */ (document.getElementById('key'));
/** @type {{ path: string, page: import('./page.js').Page<any> } | undefined} */
let current;
/** Of the address that was opened last. */
let turn = 0;

async function open() {
  const [path = '', query = ''] = location.hash.slice(1).split('?');
  const parameters = new URLSearchParams(query);
  if (current?.path === path) return current.page.update(parameters);
  const found = pages.find((one) => one.path.test(path));
  if (!found) return location.replace('#/devices');
  current?.page.close();
  current = undefined;
  turn += 1;
  const opened = turn;
  forgetRead();
  render(html``, content);
  const [, id] = found.path.exec(path) ?? [];
  document.title = `${id ? decodeURIComponent(id) : found.title} · Fieldlog`;
  for (const link of document.querySelectorAll('nav a'))
    if (link.getAttribute('href') === found.nav) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  try {
    const Found = await found.load();
    if (opened !== turn) return;
    const page = new Found(content, parameters, id === undefined ? '' : decodeURIComponent(id));
    current = { path, page };
    page.open();
    // So that they open while the server cannot be reached.
    for (const { load } of pages) void load().catch(() => {});
  } catch (error) {
    render(faults(error), content);
  }
}

function again() {
  current?.page.close();
  current = undefined;
  forgetScopes();
  void open();
}

/** @param {number | undefined} lag */
function behind(lag) {
  if (lag === undefined) return 'nobody knows how far behind';
  return lag === 0 ? 'nothing behind' : `${counted(lag, 'event')} behind`;
}

let isAsking = false;
async function askForKey(mayBeOfOtherTab = true) {
  if (isAsking) return;
  isAsking = true;
  const other = mayBeOfOtherTab ? await keyOfOtherTab() : undefined;
  if (other !== undefined && other !== apiKey.get()) {
    isAsking = false;
    apiKey.set(other);
    keyButton.hidden = false;
    return again();
  }
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
events.addEventListener('read', () => {
  const shown = document.getElementById('freshness');
  if (!shown) return;
  const { at, lag } = freshness() ?? {};
  shown.textContent = at ? `as of ${at.toLocaleTimeString()}, ${behind(lag)}` : '';
  shown.classList.toggle('late', (lag ?? 0) > 1000);
});
keyButton.hidden = apiKey.get() === null;
keyButton.addEventListener('click', () => {
  apiKey.forget();
  forgetScopes();
  void askForKey(false);
});
window.addEventListener('hashchange', open);
void open();
