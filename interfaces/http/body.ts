import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { parseExactJson } from '../exact-json.ts';
import { HttpProblem } from './problems.ts';
import { RequestAborted } from './request-context.ts';

/** One line of NDJSON that is not JSON. */
export class MalformedLine {
  readonly detail: string;

  constructor(detail: string) {
    this.detail = detail;
  }
}

export type BodyType = 'application/json' | 'application/x-ndjson';

/** The body as JSON; `undefined` when there is none and `optional` says that is well. */
export async function readJson(req: IncomingMessage, limit: number, optional: boolean): Promise<unknown> {
  if (optional && !hasBody(req)) return undefined;
  bodyType(req, ['application/json']);
  return parseJson(decoded(await bodyBytes(req, limit)));
}

type Items = {
  readonly items: readonly unknown[];
  /** Whether it was one item by itself, in no array. */
  readonly alone: boolean;
  /** The items as a JSON array, where they came as JSON. */
  readonly json?: string;
};

/** The items of a JSON array or of NDJSON lines; a JSON body that is no array is one item by itself. */
export async function readItems(
  req: IncomingMessage,
  { bytes, items: most }: { readonly bytes: number; readonly items: number },
): Promise<Items> {
  const type = bodyType(req, ['application/json', 'application/x-ndjson']);
  const text = decoded(await bodyBytes(req, bytes));
  const value = type === 'application/json' ? parseJson(text) : parseLines(text, most);
  if (!Array.isArray(value)) return { items: [value], alone: true, json: `[${text}]` };
  if (value.length > most)
    throw new HttpProblem('too-many-items', `The body must have at most ${most} items`, {
      members: { limit: most },
    });
  return type === 'application/json'
    ? { items: value, alone: false, json: text }
    : { items: value, alone: false };
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
  if (nestsTooDeep(bytes)) throw new HttpProblem('malformed-json', 'The body nests too deep');
  const text = bytes.toString();
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

function parseJson(text: string): unknown {
  try {
    return parseExactJson(text);
  } catch (error) {
    const detail = syntaxDetail(error as SyntaxError);
    throw new HttpProblem('malformed-json', detail, {
      members: { errors: [{ in: 'body', path: '', detail }] },
    });
  }
}

const syntaxDetail = ({ message }: SyntaxError): string =>
  /^Unexpected token '?[NI]/.test(message)
    ? `${message}; JSON has no NaN or Infinity: send null, or leave the metric out`
    : message;

/** Blank lines are no items and count for no index. Stops soon after `most` items. */
function parseLines(text: string, most: number): readonly unknown[] {
  const items: unknown[] = [];
  for (let start = 0; start < text.length && items.length <= most; ) {
    const newline = text.indexOf('\n', start);
    const end = newline === -1 ? text.length : newline;
    const line = text.slice(start, end).trim();
    if (line !== '') items.push(parseLine(line));
    start = end + 1;
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

const inflate = promisify(gunzip);

/** The whole body, inflated when it came as gzip; at most `limit` bytes before and after. */
async function bodyBytes(req: IncomingMessage, limit: number): Promise<Buffer> {
  const coding = req.headers['content-encoding'];
  if (coding === undefined || coding === 'identity') return sentBytes(req, limit);
  if (coding.toLowerCase() !== 'gzip')
    throw new HttpProblem('unsupported-media-type', 'Content-Encoding must be gzip or absent', {
      headers: { 'Accept-Encoding': 'gzip' },
    });
  const compressed = await sentBytes(req, limit);
  try {
    return await inflate(compressed, { maxOutputLength: limit });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(limit);
    throw new HttpProblem('malformed-encoding', 'The body is not gzip as Content-Encoding says');
  }
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

const deepest = 64;
const small = 65_536;
const large = 1_048_576;

const quote = 0x22;
const backslash = 0x5c;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/**
 * Whether JSON nests too deep to be worth parsing: a megabyte of `[` keeps `JSON.parse` busy for a quarter of a
 * second, a hundred times as long as honest text. What can do no harm is not looked through byte by byte: a small
 * body, and one of middling size with no more arrays than that.
 */
export function nestsTooDeep(bytes: Buffer): boolean {
  if (bytes.length < small || (bytes.length < large && !hasManyArrays(bytes))) return false;
  let depth = 0;
  for (let i = 0; i < bytes.length; i += 1) {
    const byte = bytes[i];
    if (byte === quote) i = endOfString(bytes, i);
    else if (byte === openBrace || byte === openBracket) {
      depth += 1;
      if (depth > deepest) return true;
    } else if (byte === closeBrace || byte === closeBracket) depth -= 1;
  }
  return false;
}

function hasManyArrays(bytes: Buffer): boolean {
  let at = -1;
  for (let count = 0; count <= deepest; count += 1) {
    at = bytes.indexOf(openBracket, at + 1);
    if (at === -1) return false;
  }
  return true;
}

/** Where the string that starts at `start` ends. */
function endOfString(bytes: Buffer, start: number): number {
  let at = start + 1;
  while (at < bytes.length && bytes[at] !== quote) at += bytes[at] === backslash ? 2 : 1;
  return at;
}
