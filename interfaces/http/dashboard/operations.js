/** For operators: whether all is well, where each projection is, what became of every reading, and what was parked. */
import { html, nothing, render } from '/dashboard/lit-html.js';
import { call, get, Problem } from './api.js';
import { ask, chip, faults, number, time } from './elements.js';
import { Page } from './page.js';
import { table } from './table.js';
import { address } from './transport.js';

/** @type {import('./table.js').Column[]} */
const projectionColumns = [
  { name: 'Projection', is: 'title' },
  { name: 'State', is: 'state' },
  { name: 'Behind', is: 'number' },
  { name: 'Generation' },
  { name: 'Positions' },
  { name: '', is: 'buttons' },
];
/** @type {import('./table.js').Column[]} */
const letterColumns = [
  { name: 'Stream', is: 'title' },
  { name: 'Projection' },
  { name: 'Cause' },
  { name: 'Parked' },
  { name: '', is: 'buttons' },
];
const outcomes = ['stored', 'duplicate', 'corrected', 'deadLettered', 'late', 'retracted', 'expired'];
const capital = (/** @type {string} */ word) => word[0].toUpperCase() + word.slice(1);
/** `deadLettered`: `dead-lettered`. */
const words = (/** @type {string} */ name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

export class OperationsPage extends Page {
  /** @type {any} */
  #audit;
  /** Of a retry, which loads of the page do not take away. @type {string} */
  #failed = '';

  /** @param {HTMLElement} root @param {URLSearchParams} query */
  constructor(root, query) {
    super(root, query, 2);
  }

  async load(/** @type {URLSearchParams} */ query) {
    const after = query.get('after') ?? '';
    const { json: key } = await get('/api/v1/access');
    if (!key.scopes.includes('operate')) return { key };
    const [status, projections, letters, ready] = await Promise.all([
      get('/api/v1/status'),
      get('/api/v1/projections'),
      get('/api/v1/dead-letters', { limit: 50, after }),
      get('/health/ready').then(
        ({ json }) => json,
        (error) => (error instanceof Problem ? error.body : undefined),
      ),
    ]);
    for (const { projection, lag } of projections.json.projections)
      this.noteRead(projection, lag ?? undefined);
    return {
      status: status.json,
      projections: projections.json.projections,
      letters: letters.json.deadLetters,
      key,
      ready,
    };
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
    await this.reload();
  }

  async #retry(/** @type {any} */ which) {
    try {
      const { json } = await call('POST', '/api/v1/dead-letters/retry', { body: which });
      const failed = json.streams.filter((one) => one.failed);
      this.#failed = failed.map(({ stream, failed: { error } }) => `${stream}: ${error}`).join('; ');
      await this.reload();
    } catch (error) {
      this.fail(error);
    }
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
    await this.reload();
  }

  async #check() {
    this.#audit = 'running';
    this.show();
    try {
      this.#audit = (await get('/api/v1/audit')).json;
      this.show();
    } catch (error) {
      this.#audit = undefined;
      this.fail(error);
    }
  }

  render() {
    const { ready } = this.data ?? {};
    const isReady = ready?.status === 'ready';
    render(
      html`<div class="head"><h1>Operations</h1> ${ready ? chip(isReady ? 'ready' : 'not ready') : nothing}</div>
        ${ready && !isReady ? html`<p class="fault" role="alert">${ready.detail}</p>` : nothing}
        ${faults(this.error)} ${faults(this.#failed)}
        ${
          this.data?.status
            ? html`${this.#ledger()} ${this.#projectionTable()} ${this.#letterTable()} ${this.#retention()}`
            : this.data
              ? html`<p class="empty">What the server does is shown to keys with the scope <code>operate</code>.</p>`
              : this.error
                ? nothing
                : html`<p class="muted">Loading …</p>`
        }
        ${this.data ? this.#access() : nothing}`,
      this.root,
    );
  }

  #ledger() {
    const { ledger } = this.data.status;
    const sum = outcomes.reduce((total, name) => total + ledger[name], 0);
    return html`<section><h2>Every accepted reading</h2>
      <p class="equation"><span>accepted and projected <b>${number(sum)}</b></span>
        ${outcomes.map((name, i) => html`<span>${i > 0 ? '+' : '='} ${words(name)} <b>${number(ledger[name])}</b></span> `)}</p>
      ${
        this.may.has('operate')
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
      ${table(
        'Projections',
        projectionColumns,
        this.data.projections.map((one) => this.#projection(one)),
      )}
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
    return [
      html`${projection}${refused ? html` <small>${refused}</small>` : nothing}`,
      chip(refused ? 'refused' : paused ? 'paused' : 'running'),
      lag === null ? 'unknown' : `${lagIsAtLeast ? 'at least ' : ''}${number(lag)}`,
      html`${active}${
        building
          ? html`<br><small>building ${building.generation}${phase ? `, ${phase}` : ''}</small>
            <progress max=${Math.max(total, 1)} value=${done} aria-label=${`Rebuild of ${projection}`}></progress>`
          : nothing
      }`,
      html`<small>${positions.slice(0, 4).join(', ')}${positions.length > 4 ? ` and ${positions.length - 4} more` : ''}</small>`,
      this.may.has('operate')
        ? actions.map(
            (action) =>
              html`<button type="button" class="quiet" @click=${() => this.#operate(projection, action)}>${capital(action)}</button>`,
          )
        : nothing,
    ];
  }

  #letterTable() {
    const { letters } = this.data;
    if (letters.length === 0)
      return html`<section><h2>Dead letters</h2><p class="empty">None: every event could be applied.</p></section>`;
    const rows = letters.map((letter) => [
      html`${letter.stream} <small>${letter.position}</small>`,
      letter.projection,
      html`${chip(letter.cause)}<br><small>${letter.error}</small>`,
      time(letter.parkedAt),
      this.may.has('operate')
        ? html`<button type="button" class="quiet" @click=${() => this.#retry({ id: letter.id })}>Retry</button>
          <button type="button" class="danger" @click=${() => this.#discard(letter)}>Discard</button>`
        : nothing,
    ]);
    return html`<section>
      <div class="head"><h2>Dead letters</h2>
        ${this.may.has('operate') ? html`<button type="button" class="quiet" @click=${() => this.#retry({ all: true })}>Retry all</button>` : nothing}</div>
      ${table('Dead letters', letterColumns, rows)}
      ${
        letters.length === 50
          ? html`<p class="pages"><a href=${`#${address('/operations', { after: letters.at(-1).id })}`}>Next 50</a></p>`
          : nothing
      }
    </section>`;
  }

  #retention() {
    const { policy, sweptTo, removed } = this.data.status.retention;
    return html`<section><h2>Retention</h2>
      ${
        policy.length === 0
          ? html`<p class="muted">Everything is kept for ever: <code>RETENTION</code> is not set.</p>`
          : html`<p>${policy.map((rule) => html`<code>${JSON.stringify(rule)}</code> `)}</p>
            <p>Swept to ${time(sweptTo)}; removed ${number(removed.points)} points.</p>`
      }
    </section>`;
  }

  #access() {
    const { actor, scopes, isBound } = this.data.key;
    const isOpen = actor === 'anonymous';
    return html`<section><h2>Access</h2>
      <dl>
        <div><dt>You are</dt><dd>${isOpen ? 'anybody who reaches this server: it has no API keys' : html`the key <b>${actor}</b>`}</dd></div>
        <div><dt>May do</dt><dd>${scopes.map((scope) => html`<code class="value">${scope}</code>`)}</dd></div>
        <div><dt>With</dt><dd>${isBound ? 'devices of its part of the fleet' : 'all devices'}</dd></div>
      </dl>
      <p>Keys are made and revoked on the command line of a server only, so that no key can make another:</p>
      <pre tabindex="0"><code>fieldlog keys create --name gateway-1 --scopes telemetry:write
fieldlog keys list
fieldlog keys revoke gateway-1</code></pre>
    </section>`;
  }
}
