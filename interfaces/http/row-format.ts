import type { Request } from 'express';
import type { MetricValue } from '../../domain/telemetry.ts';
import { HttpProblem } from './problems.ts';

/** How one kind of row is told, in each form an answer can have. */
export type RowShape<Row> = {
  /** The member of a JSON answer that holds the rows. */
  readonly name: string;
  /** The header of a CSV answer. */
  readonly columns: readonly string[];
  json(row: Row): string;
  csv(row: Row): string;
};

/** An answer of many rows, written piece by piece. */
export type RowFormat = {
  readonly type: string;
  /** Where the cursor of the next page goes: the body, or a trailer of the answer when the body has no place for it. */
  readonly nextIn: 'body' | 'trailer';
  begin<Row>(shape: RowShape<Row>): string;
  row<Row>(shape: RowShape<Row>, row: Row, first: boolean): string;
  end(next: string | null): string;
};

const json: RowFormat = {
  type: 'application/json',
  nextIn: 'body',
  begin: ({ name }) => `{"${name}":[`,
  row: (shape, row, first) => (first ? shape.json(row) : `,${shape.json(row)}`),
  end: (next) => `],"next":${JSON.stringify(next)}}`,
};

const ndjson: RowFormat = {
  type: 'application/x-ndjson',
  nextIn: 'trailer',
  begin: () => '',
  row: (shape, row) => `${shape.json(row)}\n`,
  end: () => '',
};

/** RFC 4180, values exactly as they are: a text that a spreadsheet would take for a formula is not changed. */
const csv: RowFormat = {
  type: 'text/csv',
  nextIn: 'trailer',
  begin: ({ columns }) => `${columns.join(',')}\r\n`,
  row: (shape, row) => `${shape.csv(row)}\r\n`,
  end: () => '',
};

const formats = [json, ndjson, csv] as const;
const rowTypes = formats.map(({ type }) => type);

/** The form the caller likes best; throws a problem when it likes none. */
export function formatFor(req: Request): RowFormat {
  const type = req.accepts(rowTypes);
  const format = formats.find((one) => one.type === type);
  if (!format) throw new HttpProblem('not-acceptable', `Accept must allow ${rowTypes.join(' or ')}`);
  return format;
}

/** `null` for what JSON has no number for. */
export const jsonValue = (value: MetricValue | null): string =>
  typeof value === 'number' && Number.isFinite(value) ? String(value) : JSON.stringify(value);

export const csvValue = (value: MetricValue | null): string => {
  if (typeof value === 'string') return /[",\r\n]/.test(value) || value === '' ? quoted(value) : value;
  return value === null || !Number.isFinite(Number(value)) ? '' : String(value);
};

const quoted = (value: string): string => `"${value.replaceAll('"', '""')}"`;
