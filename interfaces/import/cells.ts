import { isMetricValue, type MetricValue, readingLimits } from '../../domain/telemetry.ts';
import { isExact } from '../exact-json.ts';
import { printable } from '../printable.ts';

declare global {
  interface JSON {
    /** Of Node, and not yet of TypeScript's library: a value that is written as it is given. */
    rawJSON(text: string): object;
  }
}

/** One record of a file. `line` is where it ends in CSV and where it begins in JSON, from 1; in Parquet its number. */
export type Row = { readonly line: number; readonly values: Readonly<Record<string, unknown>> };

/** A record that cannot be read at all, with its cells where it has some. */
export type BrokenRow = {
  readonly line: number;
  readonly fault: string;
  readonly cells?: readonly unknown[];
};

/**
 * Rows as they come out of the chunks of a file: each is to be taken before the next is asked for. Waiting for every
 * single row would take longer than reading it.
 */
export type RowChunks = AsyncGenerator<Iterable<Row | BrokenRow>, void>;

export const inputFormats = ['auto', 'csv', 'ndjson', 'json', 'parquet'] as const;
export type InputFormat = (typeof inputFormats)[number];

/** What a file holds. */
export type InputRows = {
  /** Known before the first row comes, `undefined` where rows name their own columns. */
  readonly header: readonly string[] | undefined;
  /** Numbers may have a decimal comma, since no comma separates them. */
  readonly commaIsFree: boolean;
  /** What was found out about the file and not asked for, for people. */
  readonly notes: readonly string[];
  readonly rows: RowChunks;
};

/** A record greater than this is refused, and memory stays flat over a file that is one endless line. */
export const greatestRecord = 1_048_576;

export const isBroken = (row: Row | BrokenRow): row is BrokenRow => 'fault' in row;

export type ColumnKind = 'number' | 'text';
export type Decimal = '.' | ',';

/** A cell that cannot be what its column is for; the message quotes it and says what would be right. */
export class InvalidCell extends Error {
  override readonly name = 'InvalidCell';

  constructor(value: unknown, must: string) {
    super(`${shown(value)} ${must}`);
  }
}

/** A value from a file as messages quote it: short, and unable to steer a terminal. */
export function shown(value: unknown): string {
  const text = value === undefined ? 'nothing' : JSON.stringify(value, withBigIntegers);
  return printable(text.length > 60 ? `${text.slice(0, 57)}…` : text);
}

/** For `JSON.stringify`: integers that a double cannot hold keep their digits. */
export const withBigIntegers = (_key: string, value: unknown): unknown =>
  typeof value === 'bigint' ? JSON.rawJSON(String(value)) : value;

const decimalForms = {
  '.': /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i,
  ',': /^[+-]?(\d+,?\d*|,\d+)(e[+-]?\d+)?$/i,
} as const;
const logicalForm = /^(true|false)$/i;
/** As much a number in groups of three as one with a decimal comma. */
const groupedForm = /^[+-]?[1-9]\d{0,2},\d{3}$/;

/** What stands for nothing in columns of numbers, in small letters. */
const usualWords: ReadonlySet<string> = new Set(['nan', 'na', 'n/a', 'null', '-']);

/** Cells that stand for nothing, beside empty ones: words whatever their case, numbers by their value. */
export class NullCells {
  readonly #words: ReadonlySet<string>;
  readonly #numbers = new Set<unknown>();

  constructor(given: readonly string[]) {
    const words = given.map((text) => text.trim().toLowerCase());
    this.#words = new Set(words);
    for (const word of words)
      for (const decimal of ['.', ','] as const)
        if (decimalForms[decimal].test(word)) this.#numbers.add(Number(word.replace(',', '.')));
  }

  hasWord = (text: string): boolean => this.#words.size > 0 && this.#words.has(text.toLowerCase());
  hasNumber = (number: unknown): boolean => this.#numbers.has(number);
}

/**
 * The cell of a column of numbers: `undefined` when it stands for nothing. Throws `InvalidCell` unless the whole
 * cell is a number that a reading can have, true or false: nothing is guessed or rounded.
 */
export function numberCell(value: unknown, decimal: Decimal, nulls: NullCells): MetricValue | undefined {
  switch (typeof value) {
    case 'number':
      return nulls.hasNumber(value) ? undefined : storable(value, value);
    case 'boolean':
    case 'undefined':
      return value;
    case 'bigint':
      if (BigInt(Number(value)) !== value) throw inexact(value);
      return numberCell(Number(value), decimal, nulls);
    case 'object':
      if (value === null) return undefined;
      throw new InvalidCell(value, 'must be a number, true or false');
    default:
      return numberText(String(value).trim(), decimal, nulls);
  }
}

function numberText(text: string, decimal: Decimal, nulls: NullCells): MetricValue | undefined {
  if (text === '') return undefined;
  if (decimalForms[decimal].test(text)) {
    const plain = decimal === ',' ? text.replace(',', '.') : text;
    const number = Number(plain);
    if (nulls.hasNumber(number)) return undefined;
    if (!isExact(plain, number)) throw inexact(text);
    return storable(number, text);
  }
  if (nulls.hasWord(text)) return undefined;
  if (logicalForm.test(text)) return text.toLowerCase() === 'true';
  if (usualWords.has(text.toLowerCase())) return undefined;
  throw new InvalidCell(text, `must be a number, true or false${decimalHint(text, decimal)}`);
}

function decimalHint(text: string, decimal: Decimal): string {
  const other = decimal === '.' ? ',' : '.';
  return decimalForms[other].test(text) ? `; --decimal "${other}" reads such numbers` : '';
}

/** The cell of a column of text: `undefined` when it stands for nothing. Throws `InvalidCell`. */
export function textCell(value: unknown, nulls: NullCells): string | undefined {
  if (value === null || value === undefined) return undefined;
  const isText = typeof value === 'string';
  const text = isText ? value.trim() : typeof value === 'object' ? JSON.stringify(value) : String(value);
  if (text === '' || nulls.hasWord(text)) return undefined;
  if (text.includes('\ufffd')) throw new InvalidCell(text, 'must be text in the encoding of the file');
  return storableText(text);
}

/** Throws `InvalidCell` unless a reading can have that text. */
export function storableText(text: string): string {
  if (!isMetricValue(text))
    throw new InvalidCell(text, `must be well-formed text of at most ${readingLimits.textLength} characters`);
  return text;
}

function storable(number: number, value: unknown): number {
  if (isMetricValue(number)) return number;
  throw new InvalidCell(value, `must be a number of at most ${readingLimits.magnitude} either way`);
}

const inexact = (value: unknown): InvalidCell =>
  new InvalidCell(
    typeof value === 'bigint' ? JSON.rawJSON(String(value)) : value,
    `must be an integer that a double holds exactly, as all up to ${Number.MAX_SAFE_INTEGER} are; --text keeps it as text`,
  );

export const isDecimal = (text: string): boolean => decimalForms['.'].test(text);

/** What the cells of one column are, counted over the whole file. */
export class ColumnCells {
  /** With a decimal point, or whole; true and false; what JSON calls a number. */
  numbers = 0;
  withPoint = 0;
  /** Numbers only when the comma is the decimal point. */
  withComma = 0;
  /** Of those, the ones that cannot be thousands. */
  withCertainComma = 0;
  texts = 0;
  objects = 0;
  /** Words and numbers that stand for nothing. */
  nulls = 0;

  /** All that hold something. */
  get cells(): number {
    return this.numbers + this.withComma + this.texts;
  }

  add(value: unknown, nulls: NullCells): void {
    if (typeof value === 'string') this.#addText(value.trim(), nulls);
    else if (value === null || value === undefined) return;
    else if (nulls.hasNumber(typeof value === 'bigint' ? Number(value) : value)) this.nulls += 1;
    else if (typeof value === 'object') {
      this.texts += 1;
      if (!(value instanceof Date)) this.objects += 1;
    } else this.numbers += 1;
  }

  #addText(text: string, nulls: NullCells): void {
    if (text === '') return;
    if (nulls.hasWord(text)) this.nulls += 1;
    else if (decimalForms['.'].test(text)) {
      if (nulls.hasNumber(Number(text))) this.nulls += 1;
      else {
        this.numbers += 1;
        if (text.includes('.')) this.withPoint += 1;
      }
    } else if (decimalForms[','].test(text)) {
      if (nulls.hasNumber(Number(text.replace(',', '.')))) this.nulls += 1;
      else {
        this.withComma += 1;
        if (!groupedForm.test(text)) this.withCertainComma += 1;
      }
    } else if (logicalForm.test(text)) this.numbers += 1;
    else if (usualWords.has(text.toLowerCase())) this.nulls += 1;
    else this.texts += 1;
  }

  /** A column in which at least half of what it holds are numbers is one of numbers; `undefined` when it is empty. */
  kind(decimal: Decimal): ColumnKind | undefined {
    if (this.cells === 0) return undefined;
    const numbers = this.numbers + (decimal === ',' ? this.withComma - this.withPoint : 0);
    return 2 * numbers >= this.cells ? 'number' : 'text';
  }
}
