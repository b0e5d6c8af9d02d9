import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { bodyBytes } from './body-bytes.ts';
import { nestsTooDeep } from './nesting.ts';
import { HttpProblem } from './problems.ts';

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

export type Items = {
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
    return JSON.parse(text);
  } catch (error) {
    const detail = (error as SyntaxError).message;
    throw new HttpProblem('malformed-json', detail, {
      members: { errors: [{ in: 'body', path: '', detail }] },
    });
  }
}

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
    return JSON.parse(line);
  } catch (error) {
    return new MalformedLine((error as SyntaxError).message);
  }
}
