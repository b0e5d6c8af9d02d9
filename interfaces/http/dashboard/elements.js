/** What several pages show: times, states, faults, dialogs. */
import { html, nothing, render } from '/dashboard/lit-html.js';
import { Problem } from './api.js';

const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const count = new Intl.NumberFormat();

export const number = (/** @type {number} */ value) => count.format(value);

/** `1 line`, `2,000 lines`. */
export const counted = (/** @type {number} */ value, /** @type {string} */ noun) =>
  `${number(value)} ${noun}${value === 1 ? '' : 's'}`;

export const time = (/** @type {string | null | undefined} */ iso) =>
  iso
    ? html`<time datetime=${iso} title=${iso}>${full.format(new Date(iso))}</time>`
    : html`<span class="muted">–</span>`;

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' });
/** Seconds of each, the longest first. */
const units = /** @type {const} */ ([
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
]);

/** How long ago, with the time when one points at it. */
export function ago(/** @type {string} */ iso) {
  const seconds = Math.round((Date.parse(iso) - Date.now()) / 1000);
  const [unit, length] = units.find(([, length]) => Math.abs(seconds) >= length) ?? ['second', 1];
  return html`<time datetime=${iso} title=${full.format(new Date(iso))}>${relative.format(Math.trunc(seconds / length), unit)}</time>`;
}

/** A state in words and colour: never in colour alone. */
export const chip = (/** @type {string} */ state) => html`<span class="chip ${state}">${state}</span>`;

export const faults = (/** @type {unknown} */ error) =>
  error
    ? html`<div class="fault" role="alert">
        ${(error instanceof Problem ? error.lines : [String(error)]).map((line) => html`<p>${line}</p>`)}
      </div>`
    : nothing;

/** JSON for people: a text without quotes, everything else as it is. */
export const shown = (/** @type {unknown} */ value) =>
  typeof value === 'string' ? value : value === null || value === undefined ? '–' : JSON.stringify(value);

/** The same, of a number six digits. */
export const brief = (/** @type {unknown} */ value) =>
  shown(typeof value === 'number' ? Number(value.toPrecision(6)) : value);

/** `site=north, floor=2` to `{ site: 'north', floor: '2' }`. Throws for what has no `=`. */
export function labelsOf(/** @type {string} */ text) {
  const parts = text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean);
  return Object.fromEntries(
    parts.map((part) => {
      const at = part.indexOf('=');
      if (at < 1) throw new Error(`${part} must be a label such as site=north`);
      return [part.slice(0, at).trim(), part.slice(at + 1).trim()];
    }),
  );
}

export const labelsText = (/** @type {Record<string, string>} */ labels) =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(', ');

/** @template T @typedef {(fields: Record<string, string>) => Promise<T>} Act Runs with the fields of a form, by name. */

const fieldsOf = (/** @type {HTMLFormElement} */ form) =>
  Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value).trim()]));

/**
 * Asks in a dialog and runs `act` with the fields; it stays open with the faults when `act` throws. Resolves to what
 * `act` answered, or `undefined` when the dialog was closed. With `look` it has a further button, which shows what that
 * answers and leaves the dialog open.
 * @template T
 * @param {{ title: string, fields?: unknown, submit: string, isDangerous?: boolean, act: Act<T>, look?: { submit: string, act: Act<unknown> } }} options
 * @returns {Promise<T | undefined>}
 */
export function ask({ title, fields = nothing, submit, isDangerous = false, act, look }) {
  const dialog = document.createElement('dialog');
  dialog.setAttribute('aria-label', title);
  document.body.append(dialog);
  const before = document.activeElement;
  return new Promise((resolve) => {
    /** @type {T | undefined} */
    let answer;
    let isBusy = false;
    const show = (/** @type {unknown} */ error, /** @type {unknown} */ seen = nothing) =>
      render(
        html`<form method="dialog" @submit=${send}>
          <h2>${title}</h2>
          ${fields} ${faults(error)}
          ${look ? html`<div role="status">${seen}</div>` : nothing}
          <p class="buttons">
            <button type="button" class="quiet" @click=${() => dialog.close()}>Cancel</button>
            ${look ? html`<button type="button" class="quiet" ?disabled=${isBusy} @click=${glance}>${look.submit}</button>` : nothing}
            <button class=${isDangerous ? 'danger' : 'primary'} ?disabled=${isBusy}>${submit}</button>
          </p>
        </form>`,
        dialog,
      );
    const run = async (/** @type {() => Promise<unknown>} */ work) => {
      isBusy = true;
      show(undefined);
      try {
        const seen = await work();
        isBusy = false;
        show(undefined, seen);
      } catch (error) {
        isBusy = false;
        show(error instanceof Problem ? error : /** @type {Error} */ (error).message);
      }
    };
    function send(/** @type {SubmitEvent} */ event) {
      event.preventDefault();
      const given = fieldsOf(/** @type {HTMLFormElement} */ (event.target));
      void run(async () => {
        answer = await act(given);
        dialog.close();
      });
    }
    function glance(/** @type {any} */ { target: { form } }) {
      if (look && form.reportValidity()) void run(() => look.act(fieldsOf(form)));
    }
    dialog.addEventListener('close', () => {
      dialog.remove();
      if (before instanceof HTMLElement) before.focus();
      resolve(answer);
    });
    show(undefined);
    dialog.showModal();
  });
}

/** Tells something that has to be read, such as a token that is shown once. */
export const tell = (/** @type {string} */ title, /** @type {unknown} */ content) =>
  ask({ title, fields: content, submit: 'Close', act: async () => true });

/** Gives the browser a file to keep. */
export function save(/** @type {Blob} */ content, /** @type {string} */ name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** An id for `Idempotency-Key`; `crypto.randomUUID` is there over HTTPS and on this machine only. */
export const requestId = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');

/**
 * Runs `work` now and every `seconds` while the page is visible.
 * @param {() => Promise<void>} work @param {number} seconds
 */
export function every(seconds, work) {
  let isOver = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const turn = async () => {
    if (document.visibilityState === 'visible') await work();
    if (!isOver) timer = setTimeout(turn, seconds * 1000);
  };
  void turn();
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}
