import { parseExactJson } from '../exact-json.ts';
import { type BrokenRow, greatestRecord, isBroken, type Row, type RowChunks } from './cells.ts';

/**
 * One JSON object a line, or several that follow each other in it. Blank lines are no records. Records are cut out by
 * their brackets and read by `JSON.parse`, here and below, so that each has its line and a broken one is lost alone.
 */
export async function* ndjsonRows(text: AsyncIterable<string>): RowChunks {
  let line = 1;
  let record = '';
  for await (const chunk of text) yield rowsOf(chunk);
  yield rowsOfLine(record, line);

  function* rowsOf(chunk: string): Generator<Row | BrokenRow> {
    const parts = chunk.split('\n');
    const last = parts.pop() ?? '';
    for (const part of parts) {
      yield* rowsOfLine(joined(record, part), line);
      record = '';
      line += 1;
    }
    record = joined(record, last);
  }
}

function* rowsOfLine(text: string, line: number): Generator<Row | BrokenRow> {
  if (text.trim() === '') return;
  const row = rowOf(text, line);
  const several = isBroken(row) && /\}\s*\{/.test(text) ? [...rowsWithin(text, line)] : [];
  if (several.length > 1 && !several.some(isBroken)) yield* several;
  else yield row;
}

function* rowsWithin(text: string, line: number): Generator<Row | BrokenRow> {
  const records = new RecordSplitter([], line);
  yield* records.add(text);
  yield* records.end();
}

/**
 * JSON values that follow each other, on one line or many: objects, and the elements of arrays. With `path`, the
 * elements of the array that these member names lead to in each value. Each record is read as soon as it is whole.
 */
export async function* jsonRows(text: AsyncIterable<string>, path: readonly string[] = []): RowChunks {
  const records = new RecordSplitter(path, 1);
  for await (const chunk of text) yield records.add(chunk);
  yield records.end();
}

const mark = /["\\[\]{},:\n]/g;

/** Cuts a text, chunk by chunk, into the records it has. */
class RecordSplitter {
  readonly #path: readonly string[];
  #line: number;
  /** Brackets that are open, and how many of them stand around a record. */
  #depth = 0;
  #around = 0;
  /** Names of the path that lead to where the text is now, and whether the value that comes is that of the next. */
  #followed = 0;
  #isNext = false;
  #isFound: boolean;
  #inText = false;
  /** Characters of the next chunk that belong to an escape of this one. */
  #escaped = 0;
  /** What was read of a record, of what stands between two, or of a member's name. */
  #text = '';
  #name = '';
  /** Where the record begins that the text is in. */
  #recordLine: number | undefined;
  #hasRecord = false;

  constructor(path: readonly string[], line: number) {
    this.#path = path;
    this.#line = line;
    this.#isFound = path.length === 0;
  }

  *add(chunk: string): Generator<Row | BrokenRow> {
    let start = 0;
    let next = this.#escaped;
    this.#escaped = 0;
    for (;;) {
      mark.lastIndex = next;
      const found = mark.exec(chunk);
      if (!found) break;
      const [char] = found;
      next = found.index + 1;
      if (char === '\n') this.#line += 1;
      else if (this.#inText) {
        if (char === '"') this.#inText = false;
        if (char === '\\') next += 1;
        if (next > chunk.length) {
          this.#escaped = 1;
          break;
        }
        if (char === '"' && !this.#isAmongRecords) {
          this.#name = joined(this.#text, chunk.slice(start, next));
          this.#text = '';
          start = next;
        }
      } else if (char === '"') {
        this.#inText = true;
        if (!this.#isAmongRecords) start = found.index;
      } else if (this.#recordLine !== undefined) {
        if (char === '{' || char === '[') this.#depth += 1;
        if (char !== '}' && char !== ']') continue;
        this.#depth -= 1;
        if (this.#depth > this.#around) continue;
        yield this.#row(joined(this.#text, chunk.slice(start, next)), this.#recordLine);
        start = next;
        this.#endRecord();
      } else if (this.#isAmongRecords) {
        if (char === ':') continue;
        yield* this.#between(char, joined(this.#text, chunk.slice(start, found.index)));
        this.#text = '';
        start = this.#recordLine === undefined ? next : found.index;
      } else {
        this.#follow(char);
        start = this.#recordLine === undefined ? next : found.index;
      }
    }
    this.#text = this.#isAmongRecords || this.#inText ? joined(this.#text, chunk.slice(start)) : '';
  }

  *end(): Generator<Row | BrokenRow> {
    const line = this.#line;
    if (this.#recordLine !== undefined)
      yield { line: this.#recordLine, fault: 'ends the file before it is whole' };
    else if (this.#isAmongRecords && this.#text.trim() !== '') yield this.#row(this.#text, line);
    if (this.#recordLine === undefined && this.#depth > 0)
      yield { line, fault: 'ends the file before the array ends' };
    else if (!this.#isFound)
      yield { line, fault: `ends the file without an array at "${this.#path.join('.')}"` };
  }

  get #isAmongRecords(): boolean {
    return this.#followed === this.#path.length;
  }

  #row(text: string, line: number): Row | BrokenRow {
    this.#hasRecord = true;
    return rowOf(text, line);
  }

  /** Of an object that the path leads to: what follows it is on the way again. */
  #endRecord(): void {
    this.#recordLine = undefined;
    this.#text = '';
    if (this.#path.length > 0 && this.#around === this.#path.length) this.#leave();
  }

  /** A bracket or a comma where records may stand, after `text`. */
  *#between(char: string, text: string): Generator<Row | BrokenRow> {
    const isArray = this.#depth === this.#around && this.#around > this.#path.length;
    if (text.trim() !== '') yield this.#row(text, this.#line);
    if (char === ',') {
      if (!this.#hasRecord) yield { line: this.#line, fault: 'has a comma with nothing before it' };
      this.#hasRecord = false;
    } else if (char === '[' && this.#depth === 0) {
      this.#depth = 1;
      this.#around = 1;
      this.#hasRecord = false;
    } else if (char === '{' || char === '[') {
      this.#depth += 1;
      this.#recordLine = this.#line;
    } else if (char === ']' && isArray) {
      this.#depth -= 1;
      this.#around = this.#path.length;
      if (this.#path.length > 0) this.#leave();
    } else yield { line: this.#line, fault: `has a "${char}" that closes nothing` };
  }

  /** A bracket, colon or comma on the way to the records. */
  #follow(char: string): void {
    const isMember = this.#depth === this.#followed + 1;
    if (char === ':') this.#isNext = isMember && nameOf(this.#name) === this.#path[this.#followed];
    else if (char === ',') this.#isNext &&= !isMember;
    else if (char === '{' || char === '[') this.#open(char);
    else {
      this.#depth = Math.max(0, this.#depth - 1);
      if (this.#depth === this.#followed && this.#followed > 0) this.#followed -= 1;
    }
  }

  #open(char: string): void {
    const isWay = this.#isNext && this.#depth === this.#followed + 1;
    this.#depth += 1;
    this.#isNext = false;
    if (!isWay) return;
    const isLast = this.#followed + 1 === this.#path.length;
    if (!isLast && char === '[') return;
    this.#followed += 1;
    if (!isLast) return;
    this.#isFound = true;
    this.#hasRecord = false;
    this.#around = char === '[' ? this.#depth : this.#depth - 1;
    if (char === '{') this.#recordLine = this.#line;
  }

  #leave(): void {
    this.#followed -= 1;
    this.#around = this.#path.length;
  }
}

function nameOf(text: string): string | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What is cut off here is too long in any case, and is refused as that. */
const joined = (record: string, part: string): string =>
  record.length > greatestRecord ? record : record + part;

function rowOf(record: string, line: number): Row | BrokenRow {
  if (record.length > greatestRecord) return { line, fault: `has more than ${greatestRecord} characters` };
  try {
    const value: unknown = parseExactJson(record);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return { line, values: value as Record<string, unknown> };
    return { line, fault: 'must be a JSON object' };
  } catch (error) {
    return { line, fault: `is not JSON: ${(error as Error).message}` };
  }
}
