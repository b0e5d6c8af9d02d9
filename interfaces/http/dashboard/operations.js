/** For operators: whether all is well, where each projection is, what became of every reading, and what was parked. */
import { html, nothing, render } from '/dashboard/lit-html.js';
import { address, call, get, Problem, scopes } from './api.js';
import { ask, chip, every, faults, number, time } from './elements.js';

const outcomes = ['stored', 'duplicate', 'corrected', 'deadLettered', 'late', 'retracted', 'expired'];
const capital = (/** @type {string} */ word) => word[0].toUpperCase() + word.slice(1);
/** `deadLettered`: `dead-lettered`. */
const words = (/** @type {string} */ name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

export class OperationsPage {
  #root;
  #query;
  /** @type {any} */
  #status;
  /** @type {readonly any[]} */
  #projections = [];
  /** @type {readonly any[]} */
  #letters = [];
  /** @type {any} */
  #ready;
  /** @type {any} */
  #audit;
  /** @type {unknown} */
  #error;
  #mayOperate = false;
  #stop;

  /** @param {HTMLElement} root @param {URLSearchParams} query */
  constructor(root, query) {
    this.#root = root;
    this.#query = query;
    scopes().then(
      (known) => {
        this.#mayOperate = known.has('operate');
        this.#render();
      },
      () => {},
    );
    this.#stop = every(2, () => this.#load());
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
    try {
      const after = this.#query.get('after') ?? '';
      const [status, projections, letters] = await Promise.all([
        get('/api/v1/status'),
        get('/api/v1/projections'),
        get('/api/v1/dead-letters', { limit: 50, after }),
      ]);
      this.#status = status.json;
      this.#projections = projections.json.projections;
      this.#letters = letters.json.deadLetters;
      this.#error = undefined;
    } catch (error) {
      this.#error = error;
    }
    this.#ready = await get('/health/ready').then(
      ({ json }) => json,
      (error) => (error instanceof Problem ? error.body : undefined),
    );
    this.#render();
  }

  async #operate(/** @type {string} */ name, /** @type {string} */ action) {
    const what = {
      rebuild:
        'It is built anew from history beside the one that is read, compared with it, and then takes its place.',
      rollback: 'The generation before is brought up to date and takes the place of this one.',
      switch: 'The generation that waits takes the place of this one, whatever differs.',
      pause: 'It stays where it is until it is resumed. Readings are still accepted.',
      resume: 'It continues where it stopped.',
    }[action];
    await ask({
      title: `${capital(action)} ${name}`,
      fields: html`<p>${what}</p>`,
      submit: capital(action),
      act: () => call('POST', `/api/v1/projections/${name}/${action}`, { body: {} }),
    });
    await this.#load();
  }

  async #retry(/** @type {any} */ which) {
    try {
      const { json } = await call('POST', '/api/v1/dead-letters/retry', { body: which });
      const failed = json.streams.filter((one) => one.failed);
      this.#error =
        failed.length > 0
          ? failed.map(({ stream, failed: { error } }) => `${stream}: ${error}`).join('; ')
          : undefined;
      const error = this.#error;
      await this.#load();
      this.#error ??= error;
    } catch (error) {
      this.#error = error;
    }
    this.#render();
  }

  async #discard(/** @type {any} */ letter) {
    await ask({
      title: 'Discard the dead letter',
      fields: html`<p>${letter.stream} at ${letter.position}: ${letter.error}</p>
        <label>Reason <input name="reason" required maxlength="500"></label>`,
      submit: 'Discard for good',
      isDangerous: true,
      act: ({ reason }) => call('POST', '/api/v1/dead-letters/discard', { body: { id: letter.id, reason } }),
    });
    await this.#load();
  }

  async #check() {
    this.#audit = 'running';
    this.#render();
    try {
      this.#audit = (await get('/api/v1/audit')).json;
    } catch (error) {
      this.#audit = undefined;
      this.#error = error;
    }
    this.#render();
  }

  #render() {
    render(
      html`<div class="head"><h1>Operations</h1> ${this.#ready ? chip(this.#ready.status === 'ready' ? 'ready' : 'not ready') : nothing}</div>
        ${this.#ready && this.#ready.status !== 'ready' ? html`<p class="fault" role="alert">${this.#ready.detail}</p>` : nothing}
        ${faults(this.#error)}
        ${this.#status ? html`${this.#ledger()} ${this.#projectionTable()} ${this.#letterTable()} ${this.#retention()}` : nothing}`,
      this.#root,
    );
  }

  #ledger() {
    const { ledger } = this.#status;
    const sum = outcomes.reduce((total, name) => total + ledger[name], 0);
    return html`<section><h2>Every accepted reading</h2>
      <p class="equation"><span>accounted for <b>${number(sum)}</b></span> =
        ${outcomes.map((name, i) => html`${i > 0 ? ' + ' : ''}<span>${words(name)} <b>${number(ledger[name])}</b></span>`)}</p>
      ${
        this.#mayOperate
          ? html`<p class="buttons"><button type="button" class="quiet" ?disabled=${this.#audit === 'running'} @click=${() => this.#check()}>
            Audit against the log</button></p>`
          : nothing
      }
      ${
        this.#audit === 'running'
          ? html`<p class="muted">Reading the log …</p>`
          : this.#audit
            ? html`<p role="status">${
                this.#audit.differenceCount === 0
                  ? html`${chip('no difference')} ${number(this.#audit.totals.accepted)} accepted in the log, ${number(this.#audit.totals.inFlight)} on their way.`
                  : html`${chip('differs')} ${number(this.#audit.differenceCount)} differences: see <code>fieldlog audit</code>.`
              }</p>`
            : nothing
      }
    </section>`;
  }

  #projectionTable() {
    return html`<section><h2>Projections</h2>
      <div class="scroll" tabindex="0" role="region" aria-label="Projections">
        <table>
          <thead><tr><th scope="col">Projection</th><th scope="col">State</th><th scope="col">Behind</th><th scope="col">Generation</th><th scope="col">Positions</th><td></td></tr></thead>
          <tbody>${this.#projections.map((one) => this.#projection(one))}</tbody>
        </table>
      </div>
    </section>`;
  }

  #projection(
    /** @type {any} */ { projection, active, paused, refused, lag, lagIsAtLeast, positions, generations },
  ) {
    const building = generations.find(({ status }) => status === 'building');
    const has = (/** @type {string} */ wanted) => generations.some(({ status }) => status === wanted);
    const { done = 0, total = 0, phase } = building?.progress ?? {};
    const actions = [
      ...(building ? [] : ['rebuild']),
      paused ? 'resume' : 'pause',
      ...(has('retired') && !building ? ['rollback'] : []),
      ...(has('ready') && !building ? ['switch'] : []),
    ];
    return html`<tr>
      <th scope="row">${projection}</th>
      <td>${chip(refused ? 'refused' : paused ? 'paused' : 'running')}${refused ? html`<br><small>${refused}</small>` : nothing}</td>
      <td class="number">${lagIsAtLeast ? 'at least ' : ''}${number(lag)}</td>
      <td>${active}${
        building
          ? html`<br><small>building ${building.generation}${phase ? `, ${phase}` : ''}</small>
            <progress max=${Math.max(total, 1)} value=${done} aria-label=${`Rebuild of ${projection}`}></progress>`
          : nothing
      }</td>
      <td><small>${positions.slice(0, 4).join(', ')}${positions.length > 4 ? ` and ${positions.length - 4} more` : ''}</small></td>
      <td class="buttons">${
        this.#mayOperate
          ? actions.map(
              (action) =>
                html`<button type="button" class="quiet" @click=${() => this.#operate(projection, action)}>${capital(action)}</button>`,
            )
          : nothing
      }</td>
    </tr>`;
  }

  #letterTable() {
    if (this.#letters.length === 0)
      return html`<section><h2>Dead letters</h2><p class="empty">None: every event could be applied.</p></section>`;
    return html`<section>
      <div class="head"><h2>Dead letters</h2>
        ${this.#mayOperate ? html`<button type="button" class="quiet" @click=${() => this.#retry({ all: true })}>Retry all</button>` : nothing}</div>
      <div class="scroll" tabindex="0" role="region" aria-label="Dead letters">
        <table>
          <thead><tr><th scope="col">Stream</th><th scope="col">Projection</th><th scope="col">Cause</th><th scope="col">Parked</th><td></td></tr></thead>
          <tbody>
            ${this.#letters.map(
              (letter) => html`<tr>
                <th scope="row">${letter.stream} <small>${letter.position}</small></th>
                <td>${letter.projection}</td>
                <td>${chip(letter.cause)}<br><small>${letter.error}</small></td>
                <td>${time(letter.parkedAt)}</td>
                <td class="buttons">${
                  this.#mayOperate
                    ? html`<button type="button" class="quiet" @click=${() => this.#retry({ id: letter.id })}>Retry</button>
                      <button type="button" class="danger" @click=${() => this.#discard(letter)}>Discard</button>`
                    : nothing
                }</td>
              </tr>`,
            )}
          </tbody>
        </table>
      </div>
      ${
        this.#letters.length === 50
          ? html`<p class="pages"><a href=${`#${address('/operations', { after: this.#letters.at(-1).id })}`}>Next 50</a></p>`
          : nothing
      }
    </section>`;
  }

  #retention() {
    const { policy, sweptTo, removed } = this.#status.retention;
    return html`<section><h2>Retention</h2>
      ${
        policy.length === 0
          ? html`<p class="muted">Everything is kept for ever: <code>RETENTION</code> is not set.</p>`
          : html`<p>${policy.map((rule) => html`<code>${JSON.stringify(rule)}</code> `)}</p>
            <p>Swept to ${time(sweptTo)}; removed ${number(removed.points)} points.</p>`
      }
    </section>`;
  }
}
