import { isMetricValue, type MetricValue, readingLimits } from '../../../domain/telemetry.ts';

export type ColumnKind = 'number' | 'text';

const decimal = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const logical = /^(true|false)$/i;

export function isAbsent(value: unknown, nulls: ReadonlySet<string>): boolean {
  if (typeof value !== 'string') return value === null || value === undefined;
  return value === '' || value.trim() === '' || nulls.has(value.trim());
}

/** `number` stands for numbers and booleans, `text` for anything else that a cell can hold. */
export function kindOf(value: unknown): ColumnKind {
  if (typeof value === 'string')
    return decimal.test(value.trim()) || logical.test(value.trim()) ? 'number' : 'text';
  return typeof value === 'object' ? 'text' : 'number';
}

/** Throws `BadValue` unless the whole cell is a number, true or false: nothing is guessed. */
export function numericValue(value: unknown): MetricValue {
  if (typeof value === 'boolean') return value;
  if (typeof value === 'number') return finite(value, value);
  const text = typeof value === 'string' ? value.trim() : '';
  if (decimal.test(text)) return finite(Number(text), value);
  if (logical.test(text)) return text.toLowerCase() === 'true';
  throw new BadValue(value, 'must be a number, true or false');
}

export function textValue(value: unknown): MetricValue {
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value).trim();
  if (text.includes('\ufffd')) throw new BadValue(text, 'must be UTF-8');
  if (!isMetricValue(text))
    throw new BadValue(text, `must be text of at most ${readingLimits.textLength} characters`);
  return text;
}

function finite(number: number, value: unknown): number {
  if (!Number.isFinite(number)) throw new BadValue(value, 'must be a number that a double can hold');
  return number;
}

/** A cell that cannot be what its column is for; the message quotes it and says what would be right. */
export class BadValue extends Error {
  override readonly name = 'BadValue';

  constructor(value: unknown, must: string) {
    const text = (typeof value === 'string' ? JSON.stringify(value) : String(value)) ?? 'nothing';
    super(`${text.length > 60 ? `${text.slice(0, 57)}…` : text} ${must}`);
  }
}

/** One record of a file. `line` is where it ends in CSV and where it begins in JSON, from 1. */
export type Row = { readonly line: number; readonly values: Readonly<Record<string, unknown>> };

/** A record that cannot be read at all. */
export type BrokenRow = { readonly line: number; readonly fault: string };

/** What a file holds. `header` is told before the first row comes, `undefined` where rows name their own fields. */
export type Rows = {
  readonly header: readonly string[] | undefined;
  readonly rows: AsyncIterable<Row | BrokenRow>;
};

/** A record greater than this is refused, and memory stays flat over a file that is one endless line. */
export const greatestRecord = 1_048_576;

export const isBroken = (row: Row | BrokenRow): row is BrokenRow => 'fault' in row;
