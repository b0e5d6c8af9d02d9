/** The devices, by page of the server, and the registration of one. */
import { html, nothing, render } from '/dashboard/lit-html.js';
import { access, call, get, scopes } from './api.js';
import { ago, ask, brief, chip, faults, labelsOf, labelsText, tell } from './elements.js';
import { noDevice } from './first-steps.js';
import { Page } from './page.js';
import { table } from './table.js';
import { address } from './transport.js';

const perPage = 50;
/** Of each device. */
const metricsShown = 3;
/** @type {import('./table.js').Column[]} */
const columns = [
  { name: 'Device', is: 'title' },
  { name: 'State', is: 'state' },
  { name: 'Newest values', is: 'values' },
  { name: 'Last seen', is: 'seen' },
  { name: 'Type' },
  { name: 'Labels' },
];
const states = ['active', 'suspended', 'decommissioned', 'erased'];

export class FleetPage extends Page {
  /** The newest values, by device, once they are known. @type {ReadonlyMap<string, readonly any[]> | undefined} */
  #newest;
  /** @type {import('./first-steps.js').Mqtt} */
  #mqtt = null;

  /** @param {HTMLElement} root @param {URLSearchParams} query */
  constructor(root, query) {
    super(root, query, 5);
  }

  async load(/** @type {URLSearchParams} */ query) {
    const { q, status, type, label, cursor } = Object.fromEntries(query);
    const { json } = await get('/api/v1/devices', { q, status, type, label, cursor, limit: perPage });
    if (json.devices.length === 0) this.#mqtt = (await access()).mqtt;
    // The table need not wait for what its devices have measured.
    void this.#loadNewest(json.devices).catch(() => {});
    return json;
  }

  async #loadNewest(/** @type {readonly any[]} */ devices) {
    if (devices.length === 0 || !(await scopes()).has('telemetry:read')) return;
    const ids = devices.map(({ deviceId }) => deviceId).join();
    const { json } = await get('/api/v1/telemetry/latest', { deviceId: ids, limit: perPage });
    this.#newest = Map.groupBy(json.points, ({ deviceId }) => deviceId);
    this.show();
  }

  #filter(/** @type {Event} */ event) {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.currentTarget);
    const given = Object.fromEntries(
      [...new FormData(form)].map(([name, value]) => [name, String(value).trim()]),
    );
    location.hash = address('/devices', given);
  }

  async #register() {
    const device = await ask({
      title: 'Register a device',
      fields: html`<label>Name <input name="name" required maxlength="200"></label>
        <label>Type <input name="type" required maxlength="64" placeholder="boiler"></label>
        <label>Id <input name="deviceId" maxlength="128" placeholder="one is made when left empty"></label>
        <label>Labels <input name="labels" placeholder="site=north, floor=2"></label>
        <label class="choice"><input name="issueToken" type="checkbox"> Make a token by which it sends readings</label>`,
      submit: 'Register',
      act: async ({ name, type, deviceId, labels = '', issueToken }) => {
        const body = {
          name,
          type,
          ...(deviceId && { deviceId }),
          labels: labelsOf(labels),
          ...(issueToken && { issueToken: true }),
        };
        return (await call('POST', '/api/v1/devices', { body })).json;
      },
    });
    if (!device) return;
    if (device.token)
      await tell(
        'The token of the device',
        html`<p>Keep it now: it is not shown again.</p><p><code class="secret">${device.token}</code></p>`,
      );
    location.hash = `/devices/${encodeURIComponent(device.deviceId)}`;
  }

  render() {
    const isFiltered = [...this.query.values()].some((value) => value !== '');
    const { devices } = this.data ?? {};
    render(
      html`<div class="head">
          <h1>Fleet</h1>
          ${
            this.may.has('devices:write')
              ? html`<button type="button" class="primary" @click=${() => this.#register()}>Register a device</button>`
              : nothing
          }
        </div>
        ${this.#filters()} ${faults(this.error)}
        ${
          devices === undefined
            ? this.error
              ? nothing
              : html`<p class="muted">Loading …</p>`
            : devices.length > 0
              ? this.#table()
              : isFiltered
                ? html`<p class="empty">No device is like that. <a href="#/devices">Show all</a></p>`
                : noDevice(this.#mqtt)
        }`,
      this.root,
    );
  }

  /** The newest values of a device, and when it was seen. */
  #measured(/** @type {string} */ id) {
    if (!this.#newest) return ['', ''];
    const points = this.#newest.get(id) ?? [];
    const [seen = ''] = points
      .map(({ timestamp }) => timestamp)
      .sort()
      .reverse();
    const more = points.length - metricsShown;
    const values = points
      .slice(0, metricsShown)
      .map(({ metric, value }) => html`<span class="value"><small>${metric}</small> ${brief(value)}</span> `);
    const others = more > 0 ? html`<small>and ${more} more</small>` : '';
    return [[values, others], seen ? ago(seen) : html`<span class="muted">never</span>`];
  }

  #filters() {
    const value = (/** @type {string} */ name) => this.query.get(name) ?? '';
    return html`<form class="filters" role="search" @submit=${this.#filter} @change=${this.#filter}>
      <label>Name or id <input name="q" type="search" .value=${value('q')}></label>
      <label>State <select name="status">
        <option value="">any</option>
        ${states.map((state) => html`<option ?selected=${state === value('status')}>${state}</option>`)}
      </select></label>
      <label>Type <input name="type" .value=${value('type')}></label>
      <label>Label <input name="label" placeholder="site:north" .value=${value('label')}></label>
      <button class="quiet">Find</button>
    </form>`;
  }

  #table() {
    const { devices, next } = this.data;
    const query = Object.fromEntries(this.query);
    const rows = devices.map((device) => [
      html`<a href=${`#/devices/${encodeURIComponent(device.deviceId)}`}>${device.name || device.deviceId}</a>
        <small>${device.deviceId}</small>`,
      chip(device.status),
      ...this.#measured(device.deviceId),
      device.type,
      labelsText(device.labels),
    ]);
    return html`${table('Devices', columns, rows)}
      <p class="pages">
        ${this.query.get('cursor') ? html`<a href=${`#${address('/devices', { ...query, cursor: '' })}`}>First page</a>` : nothing}
        ${next ? html`<a href=${`#${address('/devices', { ...query, cursor: next })}`}>Next ${perPage}</a>` : nothing}
      </p>`;
  }
}
