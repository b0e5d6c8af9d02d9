import { HttpProblem } from './problems.ts';

/** What a body is expected to be: one value, an array of items, or items in lines. */
type JsonShape = 'one' | 'array' | 'lines';

type JsonLimits = {
  readonly items: number;
  /** Members, elements and nested values of one item. */
  readonly values: number;
};

const deepest = 64;
const sliceBytes = 65_536;

const newline = 0x0a;
const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const openBracket = 0x5b;
const backslash = 0x5c;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const isSpace = (byte: number) => byte === 0x20 || byte === 0x09 || byte === newline || byte === 0x0d;
const byteOrderMark = [0xef, 0xbb, 0xbf];

/**
 * Counts what parsing would make of JSON, chunk by chunk, so that a body which is too much is refused before the rest
 * of it is inflated. It does not check the syntax: what is not JSON is counted somehow, and refused by the parser.
 */
export class JsonScan {
  /** Offsets of commas between items, about every 64 KiB: where an array may be cut to be parsed in parts. */
  readonly cuts: number[] = [];
  readonly #isLines: boolean;
  readonly #limits: JsonLimits;
  #isArray: boolean | undefined;
  #offset = 0;
  #depth = 0;
  #items = 0;
  #values = 0;
  #isInString = false;
  #isEscaped = false;

  constructor(shape: JsonShape, limits: JsonLimits) {
    this.#isLines = shape === 'lines';
    if (shape !== 'array') this.#isArray = false;
    this.#limits = limits;
  }

  /** Throws a problem once a limit is passed. */
  feed(chunk: Buffer): void {
    let i = 0;
    while (i < chunk.length) i = this.#isInString ? this.#string(chunk, i) : this.#token(chunk, i);
    this.#offset += chunk.length;
  }

  /** Reads to the end of the string, or of the chunk. */
  #string(chunk: Buffer, from: number): number {
    let i = from;
    for (; i < chunk.length; i += 1) {
      const byte = chunk[i];
      if (byte === newline && this.#isLines) break;
      if (this.#isEscaped) this.#isEscaped = false;
      else if (byte === backslash) this.#isEscaped = true;
      else if (byte === quote) {
        this.#isInString = false;
        return i + 1;
      }
    }
    if (i === chunk.length) return i;
    this.#isInString = false;
    this.#isEscaped = false;
    return i;
  }

  #token(chunk: Buffer, at: number): number {
    const byte = chunk[at] as number;
    if (byte === newline && this.#isLines) this.#endLine();
    if (isSpace(byte)) return at + 1;
    if (this.#isArray === undefined && !byteOrderMark.includes(byte)) this.#isArray = byte === openBracket;
    if (this.#values === 0) this.#count();
    if (byte === quote) this.#isInString = true;
    else if (byte === openBrace || byte === openBracket) {
      this.#depth += 1;
      this.#count();
      if (this.#depth > deepest) throw new HttpProblem('malformed-json', 'The body nests too deep');
    } else if (byte === closeBrace || byte === closeBracket) this.#depth -= 1;
    else if (byte === comma && this.#depth === 1 && this.#isArray) this.#endItem(at);
    else if (byte === comma || byte === colon) this.#count();
    return at + 1;
  }

  #count(): void {
    this.#values += 1;
    if (this.#values <= this.#limits.values) return;
    const limit = this.#limits.values;
    throw new HttpProblem('body-too-large', `Nothing sent may have more than ${limit} members and elements`, {
      members: { limit },
    });
  }

  #endItem(at: number): void {
    this.#next();
    const offset = this.#offset + at;
    if (offset - (this.cuts.at(-1) ?? 0) >= sliceBytes) this.cuts.push(offset);
  }

  #endLine(): void {
    if (this.#values > 0) this.#next();
    this.#depth = 0;
  }

  #next(): void {
    this.#values = 0;
    this.#items += 1;
    if (this.#items < this.#limits.items + (this.#isLines ? 1 : 0)) return;
    throw tooManyItems(this.#limits.items);
  }
}

export const tooManyItems = (limit: number): HttpProblem =>
  new HttpProblem('too-many-items', `The body must have at most ${limit} items`, { members: { limit } });
