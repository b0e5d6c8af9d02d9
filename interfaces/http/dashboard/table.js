/** Tables: rows of cells where there is room for them, and on a phone a card for each row, with a label beside each cell. */
import { html } from '/dashboard/lit-html.js';

/**
 * @typedef {object} Column
 * @property {string} name Stands above it, or beside each of its cells on a card; empty above buttons.
 * @property {'title' | 'state' | 'number' | 'values' | 'seen' | 'buttons'} [is] How it looks. A `title` names its row, and is
 *   the head of a card with the `state` beside it.
 */

/**
 * Its parts have roles: some browsers forget what a table is once its rows are shown in another way.
 * @param {string} label @param {readonly Column[]} columns @param {readonly (readonly unknown[])[]} rows a cell for each column
 */
export const table = (
  label,
  columns,
  rows,
) => html`<div class="scroll" tabindex="0" role="region" aria-label=${label}>
  <table class="cards" role="table">
    <thead role="rowgroup"><tr role="row">${columns.map(head)}</tr></thead>
    <tbody role="rowgroup">${rows.map((cells) => html`<tr role="row">${columns.map((column, i) => cell(column, cells[i]))}</tr>`)}</tbody>
  </table>
</div>`;

const head = (/** @type {Column} */ { name, is = '' }) =>
  name === ''
    ? html`<td role="cell"></td>`
    : html`<th role="columnheader" scope="col" class=${is}>${name}</th>`;

/** An empty one is left out on a card: there must be no space in it. @param {Column} column @param {unknown} content */
const cell = ({ name, is = '' }, content) =>
  is === 'title'
    ? html`<th role="rowheader" scope="row" class="title">${content}</th>`
    : html`<td role="cell" class=${is} data-label=${name}>${content}</td>`;
