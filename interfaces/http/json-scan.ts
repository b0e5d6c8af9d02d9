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
const byteOrderMark = [0xef, 0xbb, 0xbf];

const [part, space, token] = [0, 1, 2];
/** What a byte outside strings is: part of a number or word, space, or one that has to be looked at. */
const kinds = new Uint8Array(256).fill(part);
for (const byte of [0x20, 0x09, 0x0d]) kinds[byte] = space;
for (const byte of [newline, quote, comma, colon, openBracket, closeBracket, openBrace, closeBrace])
  kinds[byte] = token;
for (const byte of byteOrderMark) kinds[byte] = token;

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

  /**
   * Throws a problem once a limit is passed. One loop over local variables: with a call, or fields, for each byte it took
   * three times as long as parsing.
   */
  feed(chunk: Buffer): void {
    const most = this.#limits.values;
    const isLines = this.#isLines;
    let [depth, values] = [this.#depth, this.#values];
    let [isInString, isEscaped] = [this.#isInString, this.#isEscaped];
    for (let i = 0; i < chunk.length; i += 1) {
      const byte = chunk[i] as number;
      if (isInString && !(isLines && byte === newline)) {
        if (byte === quote && !isEscaped) isInString = false;
        isEscaped = byte === backslash && !isEscaped;
        continue;
      }
      const kind = kinds[byte];
      if (kind === space || (kind === part && values > 0)) continue;
      if (byte === newline) {
        if (!isLines) continue;
        if (values > 0) this.#next();
        [depth, values, isInString, isEscaped] = [0, 0, false, false];
        continue;
      }
      if (this.#isArray === undefined && !byteOrderMark.includes(byte)) this.#isArray = byte === openBracket;
      if (values === 0) values = 1;
      if (byte === quote) isInString = true;
      else if (byte === openBrace || byte === openBracket) {
        depth += 1;
        values += 1;
        if (values > most) throw tooManyValues(most);
        if (depth > deepest) throw new HttpProblem('malformed-json', 'The body nests too deep');
      } else if (byte === closeBrace || byte === closeBracket) depth -= 1;
      else if (byte === comma && depth === 1 && this.#isArray) {
        values = 0;
        this.#endItem(this.#offset + i);
      } else if (byte === comma || byte === colon) {
        values += 1;
        if (values > most) throw tooManyValues(most);
      }
    }
    [this.#depth, this.#values] = [depth, values];
    [this.#isInString, this.#isEscaped] = [isInString, isEscaped];
    this.#offset += chunk.length;
  }

  #endItem(offset: number): void {
    this.#next();
    if (offset - (this.cuts.at(-1) ?? 0) >= sliceBytes) this.cuts.push(offset);
  }

  #next(): void {
    this.#items += 1;
    if (this.#items < this.#limits.items + (this.#isLines ? 1 : 0)) return;
    throw tooManyItems(this.#limits.items);
  }
}

const tooManyValues = (limit: number): HttpProblem =>
  new HttpProblem('body-too-large', `Nothing sent may have more than ${limit} members and elements`, {
    members: { limit },
  });

export const tooManyItems = (limit: number): HttpProblem =>
  new HttpProblem('too-many-items', `The body must have at most ${limit} items`, { members: { limit } });
