import { isUtf8 } from 'node:buffer';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createGunzip } from 'node:zlib';
import pLimit from 'p-limit';
import { parseExactJson } from '../exact-json.ts';
import { JsonScan, tooManyItems } from './json-scan.ts';
import { HttpProblem } from './problems.ts';
import { RequestAborted } from './request-context.ts';

/** One line of NDJSON that is not JSON. */
export class MalformedLine {
  readonly detail: string;

  constructor(detail: string) {
    this.detail = detail;
  }
}

type BodyType = 'application/json' | 'application/x-ndjson';

/** Of a body that is one value: more than any that is expected has. */
const valuesOfOne = 10_000;
/** Of one item of many. */
const valuesOfItem = 1_000;

/** The body as JSON; `undefined` when there is none and `optional` says that is well. */
export async function readJson({ req, res }: Exchanged, limit: number, optional: boolean): Promise<unknown> {
  if (optional && !hasBody(req)) return undefined;
  bodyType(req, ['application/json']);
  const scan = new JsonScan('one', { items: 1, values: valuesOfOne });
  return parseJson(decoded(await bodyBytes({ req, res }, limit, scan)));
}

/** Whether the body is said to be of the media type, with whatever parameters. */
export function hasType(req: IncomingMessage, type: string): boolean {
  const sent = req.headers['content-type'];
  return sent !== undefined && (sent.split(';', 1)[0] ?? '').trim().toLowerCase() === type;
}

/** The whole body as it was sent, but inflated from gzip; the codec of its form bounds what becomes of it, and inflates it where it says so. */
export const readBytes = (exchange: Exchanged, limit: number, inflatedBy?: 'snappy'): Promise<Buffer> =>
  inflatedBy === undefined ? bodyBytes(exchange, limit) : sentBytes(exchange.req, limit);

type Exchanged = { readonly req: IncomingMessage; readonly res: ServerResponse };

type Items = {
  readonly items: readonly unknown[];
  /** Whether it was one item by itself, in no array. */
  readonly alone: boolean;
  /** The items as a JSON array, where they came as JSON. */
  readonly json?: () => string;
};

/** The items of a JSON array or of NDJSON lines; a JSON body that is no array is one item by itself. */
export async function readItems(
  { req, res }: Exchanged,
  { bytes: limit, items: most }: { readonly bytes: number; readonly items: number },
): Promise<Items> {
  const type = bodyType(req, ['application/json', 'application/x-ndjson']);
  const isLines = type === 'application/x-ndjson';
  const scan = new JsonScan(isLines ? 'lines' : 'array', { items: most, values: valuesOfItem });
  const bytes = await bodyBytes({ req, res }, limit, scan);
  const value = isLines ? await parseLines(decoded(bytes), most) : await parseParts(bytes, scan.cuts);
  if (!Array.isArray(value)) return { items: [value], alone: true, json: () => `[${decoded(bytes)}]` };
  if (value.length > most) throw tooManyItems(most);
  return isLines
    ? { items: value, alone: false }
    : { items: value, alone: false, json: () => decoded(bytes) };
}

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

/**
 * A missing type is refused as well: a web page can send such a body to a server on the same machine without the
 * browser asking that server first.
 */
function bodyType(req: IncomingMessage, allowed: readonly BodyType[]): BodyType {
  const sent = req.headers['content-type'] ?? '';
  if (sent === 'application/json') return sent;
  const [essence = '', ...parameters] = sent.toLowerCase().split(';');
  const type = allowed.find((one) => one === essence.trim());
  const utf8 = parameters.every((one) => !/^\s*charset=/.test(one) || /^\s*charset="?utf-8"?\s*$/.test(one));
  if (type !== undefined && utf8) return type;
  throw new HttpProblem('unsupported-media-type', `Content-Type must be ${allowed.join(' or ')}, in UTF-8`, {
    headers: { Accept: allowed.join(', ') },
  });
}

function decoded(bytes: Buffer): string {
  if (!isUtf8(bytes)) throw new HttpProblem('malformed-encoding', 'The body must be UTF-8');
  const text = bytes.toString();
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

/** A large array is parsed in parts of some 64 KiB, cut between its items, and other requests have turns between. */
async function parseParts(bytes: Buffer, cuts: readonly number[]): Promise<unknown> {
  if (cuts.length === 0) return parseJson(decoded(bytes));
  const items: unknown[] = [];
  const turns = new Turns();
  for (const [index, to] of [...cuts, bytes.length].entries()) {
    const part = decoded(bytes.subarray(index === 0 ? 0 : (cuts[index - 1] as number) + 1, to));
    const isLast = index === cuts.length;
    const parsed = parseJson(`${index === 0 ? '' : '['}${part}${isLast ? '' : ']'}`);
    // A comma with nothing before or behind it leaves an empty part.
    if (!Array.isArray(parsed) || parsed.length === 0)
      throw malformedJson('There is a comma without an item');
    for (const item of parsed) items.push(item);
    await turns.rest();
  }
  return items;
}

function parseJson(text: string): unknown {
  try {
    return parseExactJson(text);
  } catch (error) {
    throw malformedJson(syntaxDetail(error as SyntaxError));
  }
}

const malformedJson = (detail: string): HttpProblem =>
  new HttpProblem('malformed-json', detail, { members: { errors: [{ in: 'body', path: '', detail }] } });

const syntaxDetail = ({ message }: SyntaxError): string =>
  /^Unexpected token '?[NI]/.test(message)
    ? `${message}; JSON has no NaN or Infinity: send null, or leave the metric out`
    : message;

/** Blank lines are no items and count for no index. Stops soon after `most` items. */
async function parseLines(text: string, most: number): Promise<readonly unknown[]> {
  const items: unknown[] = [];
  const turns = new Turns();
  for (let start = 0; start < text.length && items.length <= most; ) {
    const newline = text.indexOf('\n', start);
    const end = newline === -1 ? text.length : newline;
    const line = text.slice(start, end).trim();
    if (line !== '') items.push(parseLine(line));
    start = end + 1;
    if (turns.isDue(items.length)) await turns.rest();
  }
  return items;
}

function parseLine(line: string): unknown {
  try {
    return parseExactJson(line);
  } catch (error) {
    return new MalformedLine(syntaxDetail(error as SyntaxError));
  }
}

/** Of a body in progress; what is larger is taken in two at a time, whatever it becomes in memory. */
const largeBytes = 1_048_576;
const largeAtOnce = pLimit(2);
const chunkBytes = 65_536;

/**
 * The whole body, inflated when it came as gzip; at most `limit` bytes before and after. What is small can hold
 * nothing that is too much; of the rest each chunk is scanned as soon as it is there.
 */
async function bodyBytes({ req, res }: Exchanged, limit: number, scan?: JsonScan): Promise<Buffer> {
  const coding = req.headers['content-encoding'];
  const isPlain = coding === undefined || coding === 'identity';
  if (!isPlain && coding.toLowerCase() !== 'gzip')
    throw new HttpProblem('unsupported-media-type', 'Content-Encoding must be gzip or absent', {
      headers: { 'Accept-Encoding': 'gzip' },
    });
  const sent = await sentBytes(req, limit);
  if (isPlain && sent.length <= chunkBytes) return sent;
  const chunks: Buffer[] = [];
  let size = 0;
  let isLarge = false;
  for await (const chunk of isPlain ? chunksOf(sent) : inflatedChunks(sent)) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > limit) throw tooLarge(limit);
    if (size > chunkBytes || chunks.length > 1) for (const one of unscanned()) scan?.feed(one);
    if (size <= largeBytes || isLarge) continue;
    isLarge = true;
    await largeTurn(res);
  }
  return isPlain ? sent : Buffer.concat(chunks);

  /** Those that have not been fed yet: all of them when the body turns out not to be small. */
  function unscanned(): readonly Buffer[] {
    return chunks.length === 2 ? chunks : chunks.slice(-1);
  }
}

async function* chunksOf(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let from = 0; from < bytes.length; from += chunkBytes) {
    yield bytes.subarray(from, from + chunkBytes);
    await nextTurn();
  }
}

async function* inflatedChunks(compressed: Buffer): AsyncGenerator<Buffer> {
  const gunzip = createGunzip({ chunkSize: chunkBytes });
  gunzip.end(compressed);
  try {
    yield* gunzip;
  } catch (error) {
    if (String((error as NodeJS.ErrnoException).code).startsWith('Z_'))
      throw new HttpProblem('malformed-encoding', 'The body is not gzip as Content-Encoding says');
    throw error;
  }
}

/** Resolves when this is one of the large bodies in progress, which it is until it has been answered. */
function largeTurn(res: ServerResponse): Promise<void> {
  return new Promise((begun) => {
    const answered = new Promise((done) => (res.closed ? done(undefined) : res.once('close', done)));
    void largeAtOnce(() => {
      begun();
      return answered;
    });
  });
}

/**
 * Most bodies arrive in one chunk, which is returned as it is. Of a body that is too large, as much again is
 * read and dropped before the refusal: most clients read a response only once they have sent everything.
 */
function sentBytes(req: IncomingMessage, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    req.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= limit) chunks.push(chunk);
      else {
        chunks.length = 0;
        if (size > 2 * limit) reject(tooLarge(limit, { Connection: 'close' }));
      }
    });
    req.on('end', () => {
      if (size > limit) reject(tooLarge(limit));
      else resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks));
    });
    req.on('error', (cause) => reject(new RequestAborted('The caller went away', { cause })));
  });
}

const tooLarge = (limit: number, headers = {}): HttpProblem =>
  new HttpProblem('body-too-large', `The body must have at most ${limit} bytes, inflated`, {
    members: { limit },
    headers,
  });

const turnMilliseconds = 8;
const itemsBetween = 32;

/** Has long work of one request give way to others every few milliseconds. */
export class Turns {
  #began = performance.now();

  /** Whether it is time to look at the time, after so many items. */
  isDue(items: number): boolean {
    return items % itemsBetween === 0;
  }

  async rest(): Promise<void> {
    if (performance.now() - this.#began < turnMilliseconds) return;
    await nextTurn();
    this.#began = performance.now();
  }
}
