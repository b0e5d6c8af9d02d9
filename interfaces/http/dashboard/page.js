/** What all pages have in common: they load when opened and again every few seconds, and show faults where they are. */

import { noteRead, scopes } from './api.js';
import { every } from './elements.js';

/**
 * A page of which `Data` is what it has loaded. Those that extend it have `load` and `render`, and are opened once they
 * are made. Nothing is drawn after `close`, whatever comes in then: the place belongs to another page.
 * @template Data
 */
export class Page {
  root;
  /** Of the address, which holds what the page shows. */
  query;
  seconds;
  /** @type {Data | undefined} */
  data;
  /** Why the last load failed. @type {unknown} */
  error;
  /** The scopes of the key; none until they are known. @type {ReadonlySet<string>} */
  may = new Set();
  #isOpen = false;
  #stop = () => {};
  #loads = 0;
  /** Of the load that is shown. */
  #shown = 0;

  /** @param {HTMLElement} root @param {URLSearchParams} query @param {number} seconds from one load to the next */
  constructor(root, query, seconds) {
    this.root = root;
    this.query = query;
    this.seconds = seconds;
  }

  open() {
    this.#isOpen = true;
    this.#stop = every(this.seconds, () => this.reload());
    scopes().then(
      (known) => {
        this.may = known;
        this.show();
      },
      // Whatever is loaded says so.
      () => {},
    );
  }

  close() {
    this.#isOpen = false;
    this.#stop();
  }

  /** @param {URLSearchParams} query */
  update(query) {
    this.query = query;
    void this.reload();
  }

  /** What is there is shown on when it fails; a load that began before the one that is shown comes too late. */
  async reload() {
    const asked = this.query;
    this.#loads += 1;
    const load = this.#loads;
    const isLate = () => asked !== this.query || load < this.#shown;
    try {
      const data = await this.load(asked);
      if (isLate()) return;
      this.data = data;
      this.error = undefined;
    } catch (error) {
      if (isLate()) return;
      this.error = error;
    }
    this.#shown = load;
    this.show();
  }

  /** Shows why something that somebody asked for failed, until the next load. */
  fail(/** @type {unknown} */ error) {
    this.error = error;
    this.show();
  }

  /** The page has what these read models have now. @param {string} readModels @param {number | undefined} lag */
  noteRead(readModels, lag) {
    if (this.#isOpen) noteRead(readModels, lag);
  }

  show() {
    if (this.#isOpen) this.render();
  }

  /** @param {URLSearchParams} _query @returns {Promise<Data>} */
  load(_query) {
    throw new Error('A page has to load what it shows');
  }

  render() {}
}
