/** Imports a file: what is to be known of it, what would come of it, and then what came of it. */
import { html, nothing, render } from '/dashboard/lit-html.js';
import { get, headers, Problem } from './api.js';
import { counted, faults, number, save, shown, time } from './elements.js';
import { Page } from './page.js';
import { rangeOf } from './series.js';
import { table } from './table.js';
import { address, lines } from './transport.js';

/** By parameter of the API, how it is called here, and an example. */
const fields = {
  device: ['Device of all lines', 'boiler-1'],
  deviceColumn: ['Device column', 'station'],
  timeColumn: ['Time column', 'measured'],
  timeColumns: ['Time columns', 'Date,Time'],
  timeFormat: ['Form of times', 'dd.MM.yyyy HH:mm'],
  tz: ['Time zone', 'UTC'],
  metric: ['Columns to import, alone', 'temp °C=temperature'],
  text: ['Columns of text', 'weather'],
  ignoreColumns: ['Columns to leave out', 'note,id'],
};
const moreFields = {
  metricColumn: ['Column of metric names', 'parameter'],
  valueColumn: ['Column of values', 'value'],
  unitColumn: ['Column of units', 'unit'],
  null: ['Cells that stand for nothing', '-200'],
  delimiter: ['Delimiter', ';'],
  decimal: ['Decimal point', ','],
  encoding: ['Encoding', 'windows-1252'],
  skip: ['Lines before the names', '0'],
  skipRows: ['Rows after the names', '0'],
  comment: ['Comments begin with', '#'],
  records: ['Records in JSON', 'data.rows'],
  devicePrefix: ['Before ids of devices', 'plant-'],
  type: ['Type of new devices', 'imported'],
  name: ['Name of the device', 'Boiler 1'],
};
const choices = {
  deviceSlug: 'Make ids of names',
  flatten: 'Import what objects in JSON hold',
  overwrite: 'Of lines that contradict each other the last counts',
};
/** Of which the API takes several. */
const several = ['deviceColumn', 'metric', 'text', 'null'];
/** @type {import('./table.js').Column[]} */
const columnColumns = [
  { name: 'Column', is: 'title' },
  { name: 'Is' },
  { name: 'Metric' },
  { name: 'Type' },
  { name: 'Cells', is: 'number' },
  { name: 'Missing', is: 'number' },
];
/** @type {import('./table.js').Column[]} */
const readingColumns = [{ name: 'Device', is: 'title' }, { name: 'Time' }, { name: 'Values' }];
const listedRejects = 10;
const labels = Object.fromEntries(
  Object.entries({ ...fields, ...moreFields, ...choices }).map(([name, label]) => [name, [label].flat()[0]]),
);

/** A message of the importer in the words of this page. */
const inLabels = (/** @type {string} */ text) =>
  text.replaceAll(/`(\w+)`/g, (whole, name) => (labels[name] ? `“${labels[name]}”` : whole));

export class ImportPage extends Page {
  /** @type {File | undefined} */
  #file;
  /** @type {any} What came of it, or would. */
  #report;
  /** @type {any} Of the preview: the first readings and the range of all times. */
  #sample;
  /** @type {{ lines: number, refused: number, share: number } | undefined} */
  #progress;
  /** @type {'previewing' | 'importing' | undefined} */
  #doing;
  /** @type {unknown} */
  #fault;
  /** Of the refused lines, out of the heap. @type {Blob[]} */
  #rejects = [];
  #stopped = new AbortController();

  /** @param {HTMLElement} root @param {URLSearchParams} query */
  constructor(root, query) {
    super(root, query, 5);
  }

  /** Says how fresh the read models are, which is all that this page shows of them. */
  load() {
    return get('/api/v1/devices', { limit: 1 }).catch(() => undefined);
  }

  close() {
    this.#stopped.abort();
    super.close();
  }

  /** @param {URLSearchParams} query */
  update(query) {
    super.update(query);
    this.#report = undefined;
    void this.#run('previewing');
  }

  #choose(/** @type {Event} */ event) {
    const form = /** @type {HTMLFormElement} */ (event.currentTarget);
    const given = [...new FormData(form)].map(([name, value]) => [name, String(value).trim()]);
    location.hash = address('/import', Object.fromEntries(given));
  }

  #take(/** @type {File | undefined} */ file) {
    if (!file || this.#doing === 'importing') return;
    this.#file = file;
    this.#report = undefined;
    void this.#run('previewing');
  }

  #parameters() {
    const given = [...this.query].filter(([name, value]) => name in labels && value !== '');
    return {
      ...Object.fromEntries(
        given.map(([name, value]) => [name, several.includes(name) ? value.split(',') : value]),
      ),
      ...(this.query.get('register') === 'no' && { register: 'false' }),
    };
  }

  async #run(/** @type {'previewing' | 'importing'} */ doing) {
    if (!this.#file) return;
    this.#stopped.abort();
    const stopped = new AbortController();
    this.#stopped = stopped;
    this.#doing = doing;
    this.#fault = undefined;
    this.#progress = undefined;
    this.#rejects = [];
    this.show();
    try {
      for await (const { event, data } of imported(this.#file, this.#options(doing), stopped.signal)) {
        if (event === 'progress') this.#progress = data;
        else if (event === 'reject') this.#rejects.push(new Blob([`${JSON.stringify(data)}\n`]));
        else if (event === 'report') {
          this.#report = data;
          this.#sample = data.dryRun ?? this.#sample;
        } else if (event === 'problem') throw new Problem(data.status, data);
        if (event !== 'reject') this.show();
      }
      if (!this.#report)
        throw new Error('The connection was lost: import the file again, which stores nothing twice');
    } catch (error) {
      if (stopped.signal.aborted) return;
      this.#fault = error;
    }
    this.#doing = undefined;
    this.show();
  }

  #options(/** @type {string} */ doing) {
    const isPreview = doing === 'previewing';
    return {
      ...this.#parameters(),
      file: this.#file?.name,
      ...(isPreview ? { dryRun: true } : { rejects: true }),
    };
  }

  render() {
    const isBusy = this.#doing !== undefined;
    render(
      html`<h1>Import</h1>
        ${
          this.may.size > 0 && !this.may.has('telemetry:write')
            ? html`<p class="empty">The key may not send readings, which an import needs.</p>`
            : html`${this.#drop()} ${this.#choices()}
              ${this.#fault ? faults(this.#fault instanceof Problem ? inLabels(this.#fault.lines.join('; ').replace(/^ /, '')) : this.#fault) : nothing}
              ${isBusy ? this.#bar() : nothing} ${this.#report ? this.#result() : nothing}`
        }`,
      this.root,
    );
  }

  #drop() {
    const over = (/** @type {DragEvent} */ event) => event.preventDefault();
    const dropped = (/** @type {DragEvent} */ event) => {
      event.preventDefault();
      this.#take(event.dataTransfer?.files[0]);
    };
    return html`<label class="drop" @dragover=${over} @drop=${dropped}>
      <span>${
        this.#file
          ? html`<b>${this.#file.name}</b>, ${number(this.#file.size)} bytes. Drop or choose another.`
          : html`Drop a file here, or choose one: CSV, JSON or Parquet, also by gzip or zstd.`
      }</span>
      <input type="file" aria-label="File to import" @change=${(event) => this.#take(event.target.files[0])}>
    </label>`;
  }

  #choices() {
    const value = (/** @type {string} */ name) => this.query.get(name) ?? '';
    const input = ([name, [label, example]]) =>
      html`<label>${label} <input name=${name} placeholder=${example} .value=${value(name)}></label>`;
    const check = ([name, label]) =>
      html`<label class="choice"><input type="checkbox" name=${name} value="true" .checked=${value(name) === 'true'}> ${label}</label>`;
    const isMore = [...Object.keys(moreFields), ...Object.keys(choices), 'register'].some(value);
    return html`<form @change=${this.#choose} @submit=${(event) => event.preventDefault()}>
      <div class="filters">${Object.entries(fields).map(input)}</div>
      <details ?open=${isMore}>
        <summary>More about the file</summary>
        <div class="filters">${Object.entries(moreFields).map(input)}</div>
        <div class="filters">
          ${Object.entries(choices).map(check)}
          <label class="choice"><input type="checkbox" name="register" value="no" .checked=${value('register') === 'no'}> Refuse devices that are not registered</label>
        </div>
      </details>
    </form>`;
  }

  #bar() {
    const { share, lines = 0, refused = 0 } = this.#progress ?? {};
    const text =
      share === undefined
        ? 'Sending and reading the file …'
        : `${counted(lines, 'line')}, ${number(refused)} refused`;
    return html`<p role="status" class="progress">
      <progress aria-label=${this.#doing === 'importing' ? 'Import' : 'Preview'} max="1" value=${share ?? nothing}></progress> ${text}
    </p>`;
  }

  #result() {
    const { readings, lines, devices, registered, refused, conflicts, repeated, late, whole, dryRun, notes } =
      this.#report;
    const { earliest, latest, first } = this.#sample;
    const counts = [
      refused > 0 && `${counted(refused, 'line')} refused`,
      conflicts > 0 && `${number(conflicts)} of them for contradicting a line before`,
      repeated > 0 && `${counted(repeated, 'line')} as before`,
      late > 0 && `${counted(late, 'reading')} older than what is kept`,
    ].filter(Boolean);
    return html`<section>
      <div class="head">
        <h2>${dryRun ? 'Preview' : whole ? 'Imported' : 'Imported in part'}</h2>
        ${
          dryRun && !this.#doing
            ? html`<button type="button" class="primary" ?disabled=${readings === 0} @click=${() => this.#run('importing')}>Import ${counted(readings, 'reading')}</button>`
            : nothing
        }
      </div>
      <p role="status">${counted(readings, 'reading')} of ${counted(devices, 'device')} from ${counted(lines, 'line')}${
        dryRun ? '' : `, ${number(registered)} newly registered`
      }${counts.map((one) => `; ${one}`)}.</p>
      ${notes.map((note) => html`<p class="muted">${inLabels(note)}</p>`)}
      ${earliest ? html`<p>From ${time(earliest)} to ${time(latest)}.</p>` : nothing}
      ${dryRun || first.length === 0 ? nothing : html`<p><a href=${chartOf(this.#sample)}>Chart of ${first[0].deviceId}</a></p>`}
      ${this.#refusals()} ${columnTable(this.#report.columns)} ${dryRun && first.length > 0 ? readingTable(first) : nothing}
    </section>`;
  }

  #refusals() {
    const { refusals, refused } = this.#report;
    if (refused === 0) return nothing;
    const more = refused - Math.min(refusals.length, listedRejects);
    return html`<h3>Refused lines</h3>
      <ul>${refusals.slice(0, listedRejects).map(({ line, column, reason }) => html`<li>line ${number(line)}${column ? `, ${column}` : ''}: ${inLabels(reason)}</li>`)}</ul>
      ${more > 0 ? html`<p>and ${number(more)} more.</p>` : nothing}
      ${
        this.#rejects.length > 0
          ? html`<p class="buttons"><button type="button" class="quiet" @click=${() => this.#download()}>Download refused lines</button></p>
            <p class="muted"><code>fieldlog import --from-rejects</code> imports them once they are mended.</p>`
          : nothing
      }`;
  }

  #download() {
    save(new Blob(this.#rejects, { type: 'application/x-ndjson' }), `${this.#file?.name}.rejects.ndjson`);
  }
}

/**
 * The events of the answer.
 * @param {File} file @param {Record<string, any>} query @param {AbortSignal} signal
 */
async function* imported(file, query, signal) {
  const answer = await fetch(address('/api/v1/import', query), {
    method: 'POST',
    headers: headers({ 'Content-Type': 'application/octet-stream' }),
    body: file,
    cache: 'no-store',
    signal,
  });
  if (!answer.ok) throw new Problem(answer.status, await answer.json().catch(() => ({})));
  if (answer.body) for await (const line of lines(answer.body)) yield JSON.parse(line);
}

/** Where a device's chart shows what was imported, or the newest of it. */
function chartOf(/** @type {any} */ { first: [{ deviceId }], earliest, latest }) {
  const seconds = (Date.parse(latest) - Date.parse(earliest)) / 1000;
  const query = { range: rangeOf(seconds), to: new Date(Date.parse(latest) + 1).toISOString() };
  return `#${address(`/devices/${encodeURIComponent(deviceId)}`, query)}`;
}

const columnTable = (/** @type {readonly any[]} */ columns) =>
  columns.length === 0
    ? nothing
    : html`<h3>Columns</h3>
      ${table(
        'Columns',
        columnColumns,
        columns.map(({ column, is, metric, type, cells, nulls, reason }) => [
          column,
          html`${is}${reason ? html`<br><small>${inLabels(reason)}</small>` : nothing}`,
          metric ?? '',
          type ?? '',
          number(cells),
          number(nulls),
        ]),
      )}`;

const readingTable = (/** @type {readonly any[]} */ readings) => html`<h3>The first readings</h3>
  ${table(
    'First readings',
    readingColumns,
    readings.map(({ deviceId, timestamp, metrics }) => [
      deviceId,
      time(timestamp),
      Object.entries(metrics).map(
        ([metric, value]) => html`<span class="value">${metric} ${shown(value)}</span> `,
      ),
    ]),
  )}`;
