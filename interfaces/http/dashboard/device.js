/** One device: what it is and was, what may be done to it, and what it has measured. */
import { html, nothing, render } from '/dashboard/lit-html.js';
import { call, get, Problem } from './api.js';
import { ask, chip, faults, labelsOf, labelsText, shown, tell, time } from './elements.js';
import { Page } from './page.js';
import { Series } from './series.js';
import { table } from './table.js';
import { address, devicePath } from './transport.js';

/** @type {import('./table.js').Column[]} */
const historyColumns = [
  { name: 'Revision', is: 'title' },
  { name: 'When' },
  { name: 'Who' },
  { name: 'What' },
  { name: 'Reason' },
];

/**
 * @typedef {object} Loaded
 * @property {any} device
 * @property {string} etag
 * @property {readonly any[]} history
 * @property {any} past The device as it was at the revision of the address.
 * @extends {Page<Loaded>}
 */
export class DevicePage extends Page {
  #id;
  /** @type {Series | undefined} */
  #series;

  /** @param {HTMLElement} root @param {URLSearchParams} query @param {string} id */
  constructor(root, query, id) {
    super(root, query, 5);
    this.#id = id;
  }

  close() {
    super.close();
    this.#series?.close();
  }

  /** @param {URLSearchParams} query */
  update(query) {
    this.#series?.update(query);
    super.update(query);
  }

  async load(/** @type {URLSearchParams} */ query) {
    const at = query.get('at');
    const { json: device, etag = '' } = await get(devicePath(this.#id));
    // The history has a read model of its own, which may be behind that of the device.
    const isSame = this.data?.history.some(({ revision }) => revision === device.revision);
    if (isSame) this.noteRead('device_history', 0);
    return {
      device,
      etag,
      history: isSame ? this.data.history : await this.#history(),
      past: at === null ? undefined : (await get(devicePath(this.#id), { at })).json,
    };
  }

  async #history() {
    return (await get(`${devicePath(this.#id)}/history`, { limit: 200 })).json.history;
  }

  #change(/** @type {Record<string, string>} */ changes) {
    location.hash = address(`/devices/${encodeURIComponent(this.#id)}`, {
      ...Object.fromEntries(this.query),
      ...changes,
    });
  }

  async #edit(/** @type {any} */ wanted = this.data?.device) {
    const etag = this.data?.etag;
    const done = await ask({
      title: 'Change the device',
      fields: html`<label>Name <input name="name" required maxlength="200" .value=${wanted.name}></label>
        <label>Type <input name="type" required maxlength="64" .value=${wanted.type}></label>
        <label>Labels <input name="labels" .value=${labelsText(wanted.labels)}></label>`,
      submit: 'Save',
      act: async ({ name, type, labels = '' }) => {
        const body = { name, type, labels: labelsOf(labels) };
        try {
          await call('PATCH', devicePath(this.#id), { body, etag });
          return 'saved';
        } catch (error) {
          if (error instanceof Problem && error.status === 412) return body;
          throw error;
        }
      },
    });
    await this.reload();
    if (done && done !== 'saved') await this.#resolve(done);
  }

  /** Somebody else was first: both are shown, and one chooses. */
  async #resolve(/** @type {any} */ mine) {
    const theirs = this.data?.device;
    const row = (/** @type {string} */ name, /** @type {unknown} */ a, /** @type {unknown} */ b) =>
      html`<tr><th scope="row">${name}</th><td>${a}</td><td>${b}</td></tr>`;
    const again = await ask({
      title: 'The device was changed meanwhile',
      fields: html`<p>Revision ${theirs.revision} was made while you were at it. Nothing of yours was saved.</p>
        <table>
          <thead><tr><td></td><th scope="col">now</th><th scope="col">yours</th></tr></thead>
          <tbody>
            ${row('Name', theirs.name, mine.name)} ${row('Type', theirs.type, mine.type)}
            ${row('Labels', labelsText(theirs.labels), labelsText(mine.labels))}
          </tbody>
        </table>`,
      submit: 'Edit mine on top of it',
      act: async () => true,
    });
    if (again) await this.#edit(mine);
  }

  async #act(/** @type {string} */ what, /** @type {string} */ title, isDangerous = false) {
    const etag = this.data?.etag;
    const needsReason = what !== 'token' && what !== 'reinstate';
    const answer = await ask({
      title,
      fields: needsReason
        ? html`<label>Reason <input name="reason" required maxlength="500"></label>`
        : html`<p>${this.#id}</p>`,
      submit: title,
      isDangerous,
      act: async ({ reason }) =>
        (await call('POST', `${devicePath(this.#id)}/${what}`, { body: needsReason ? { reason } : {}, etag }))
          .json,
    });
    if (answer?.token)
      await tell(
        'The new token',
        html`<p>Keep it now: it is not shown again. The one before is good no longer.</p><p><code class="secret">${answer.token}</code></p>`,
      );
    await this.reload();
  }

  render() {
    const { device: now, past } = this.data ?? {};
    const device = past ?? now;
    render(
      html`<p class="back"><a href="#/devices">Fleet</a></p>
        ${faults(this.error)}
        ${
          device
            ? html`<div class="head"><h1>${device.name || device.deviceId}</h1> ${chip(device.status)}
                  ${past && past.revision !== now.revision ? nothing : this.#actions()}</div>
              ${
                past && past.revision !== now.revision
                  ? html`<p class="past" role="status">As it was at revision ${past.revision}, ${time(past.updatedAt)}.
                    <button type="button" class="quiet" @click=${() => this.#change({ at: '' })}>Back to now</button></p>`
                  : nothing
              }
              <div class="facts">${details(device)} ${this.#travel()}</div>
              <section class="series"></section>
              ${this.#changes()}`
            : this.error
              ? nothing
              : html`<p class="muted">Loading …</p>`
        }`,
      this.root,
    );
    const section = /** @type {HTMLElement | null} */ (this.root.querySelector('.series'));
    if (section && device?.status !== 'erased')
      this.#series ??= new Series(section, this.#id, this.query, (changes) => this.#change(changes));
  }

  #actions() {
    const { status } = this.data?.device ?? {};
    if (!this.may.has('devices:write') || status === 'decommissioned' || status === 'erased') return nothing;
    const button = (/** @type {string} */ text, /** @type {() => void} */ act, kind = 'quiet') =>
      html`<button type="button" class=${kind} @click=${act}>${text}</button>`;
    return html`<div class="buttons">
      ${button('Change', () => this.#edit())}
      ${
        status === 'active'
          ? button('Suspend', () => this.#act('suspend', 'Suspend'))
          : button('Reinstate', () => this.#act('reinstate', 'Reinstate'))
      }
      ${button('New token', () => this.#act('token', 'Make a new token'))}
      ${button('Decommission', () => this.#act('decommission', 'Decommission for good', true), 'danger')}
    </div>`;
  }

  #travel() {
    const { revision } = this.data?.device ?? {};
    if (revision === 0) return nothing;
    const at = Number(this.query.get('at') ?? revision);
    const move = (/** @type {any} */ { target }) =>
      this.#change({ at: Number(target.value) === revision ? '' : target.value });
    return html`<label class="travel">Revision ${at} of ${revision}
      <input type="range" min="0" max=${revision} .value=${String(at)} @change=${move}></label>`;
  }

  #changes() {
    const rows = this.data?.history
      .toReversed()
      .map(({ revision, at, actor, event, changes, reason }) => [
        html`<a href=${`#${address(`/devices/${encodeURIComponent(this.#id)}`, { at: revision })}`}>${revision}</a>`,
        time(at),
        actor,
        html`${event}${changes.map(({ field, from, to }) => html`<br><small>${field}: ${shown(from)} → ${shown(to)}</small>`)}`,
        reason ?? '',
      ]);
    return html`<section><h2>History</h2>
      ${table('History', historyColumns, rows)}
    </section>`;
  }
}

const details = (/** @type {any} */ device) => html`<dl>
  <div><dt>Id</dt><dd><code>${device.deviceId}</code></dd></div>
  <div><dt>Type</dt><dd>${device.type}</dd></div>
  <div><dt>Labels</dt><dd>${labelsText(device.labels) || '–'}</dd></div>
  <div><dt>Registered</dt><dd>${time(device.registeredAt)}</dd></div>
  <div><dt>Changed</dt><dd>${time(device.updatedAt)}</dd></div>
</dl>`;
